"""Prices that rise by a target (a Lagrangian, as in GECO: Rezende & Viola, arXiv 1810.00597)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dlp_dyn.objectives.config import PriceConfig

PRICED = ("kl_transparency", "kl_features", "opacity", "spill", "particles")
_LEAST, _FIRST, _MEMORY, _WIDTH = 1e-3, 0.02, 0.02, 0.05


class Prices(nn.Module):
    """What particles cost: nothing while they draw little of what moves, all of it once they draw the target's share.

    share: running mean of the drawn share. price: factor of the `PRICED` terms. reached: whether the share was ever
    above the target; until then a background does not learn to draw what moves, and appearances are not exchanged.
    """

    share: Tensor
    price: Tensor
    reached: Tensor

    def __init__(self, cfg: PriceConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("price", torch.tensor(_FIRST if cfg.target_share else 1.0))
        self.register_buffer("reached", torch.tensor(not cfg.target_share))

    def forward(self, terms: dict[str, Float[Tensor, " B"]]) -> dict[str, Float[Tensor, " B"]]:
        """The terms at their present price."""
        price = self.price.clone()  # `watch` changes it before the backward pass
        return {name: term * price if name in PRICED else term for name, term in terms.items()}

    @torch.no_grad()
    def watch(self, share: Float[Tensor, ""]) -> None:
        """Take the share that a batch drew into account."""
        if not self.cfg.target_share:
            return
        self.share += _MEMORY * (share - self.share)
        step = ((self.share - self.cfg.target_share) / _WIDTH).clamp(-1, 1) * self.cfg.rate
        self.price.mul_(step.exp()).clamp_(_LEAST, 1.0)
        self.reached |= self.share > self.cfg.target_share


def drawn_share(
    images: Float[Tensor, "B 3 H W"],
    drawn: Float[Tensor, "B 3 H W"],
    difference: Float[Tensor, "B 3 H W"],
    threshold: float,
) -> Float[Tensor, ""]:
    """Share of the energy of moving pixels that a picture gets right: 1 for all, 0 for what stands still alone.

    difference: of the images from what stands still. threshold: of its largest colour, for pixels that move.
    """
    moving = moving_pixels(difference, threshold)
    energy = (difference.square() * moving).sum().clamp_min(1e-6)
    return 1 - ((images - drawn).square() * moving).sum() / energy


def moving_pixels(difference: Float[Tensor, "B 3 H W"], threshold: float) -> Bool[Tensor, "B 1 H W"]:
    return difference.abs().amax(1, keepdim=True) > threshold
