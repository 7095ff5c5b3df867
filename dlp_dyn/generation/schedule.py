"""The noise of diffusion: a cosine schedule, and steps against it of any length."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_OFFSET = 0.008
_MAX_BETA = 0.999


class CosineSchedule(nn.Module):
    """How much of a clip is left after t + 1 of `n_steps` steps of noise (Nichol & Dhariwal 2021)."""

    kept: Tensor

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        u = torch.linspace(0, n_steps, n_steps + 1, dtype=torch.float64) / n_steps
        level = ((u + _OFFSET) / (1 + _OFFSET) * math.pi / 2).cos().square()
        beta = (1 - level[1:] / level[:-1]).clamp_max(_MAX_BETA)
        self.register_buffer("kept", (1 - beta).cumprod(0).float(), persistent=False)

    def add_noise(
        self, x: Float[Tensor, "B T M C"], noise: Float[Tensor, "B T M C"], t: Int[Tensor, "*S"]
    ) -> Float[Tensor, "B T M C"]:
        """What x is at step t, of clips or of each of their frames; at -1 it is itself."""
        kept = self._kept(t, x)
        return kept.sqrt() * x + (1 - kept).sqrt() * noise

    def velocity(
        self, x: Float[Tensor, "B T M C"], noise: Float[Tensor, "B T M C"], t: Int[Tensor, "*S"]
    ) -> Float[Tensor, "B T M C"]:
        """The direction in which a clip turns into noise at step t (v of Salimans & Ho 2022)."""
        kept = self._kept(t, x)
        return kept.sqrt() * noise - (1 - kept).sqrt() * x

    def against(
        self, x_t: Float[Tensor, "B T M C"], velocity: Float[Tensor, "B T M C"], t: Int[Tensor, "*S"]
    ) -> Float[Tensor, "B T M C"]:
        """The clip that is x_t at step t and turns into noise with that velocity."""
        kept = self._kept(t, x_t)
        return kept.sqrt() * x_t - (1 - kept).sqrt() * velocity

    def step(
        self,
        x_t: Float[Tensor, "B T M C"],
        x_0: Float[Tensor, "B T M C"],
        t: Int[Tensor, " B"],
        to: Int[Tensor, " B"],
        noise: Float[Tensor, "B T M C"],
        eta: float = 1.0,
    ) -> Float[Tensor, "B T M C"]:
        """From step t back to step `to`, given what the clip without noise is thought to be.

        eta: 1 draws from the posterior (DDPM, Ho et al. 2020), 0 adds no noise (DDIM, Song et al. 2021).
        """
        kept, kept_to = self._kept(t, x_t), self._kept(to, x_t)
        variance = eta**2 * (1 - kept_to) / (1 - kept) * (1 - kept / kept_to)
        direction = (x_t - kept.sqrt() * x_0) / (1 - kept).sqrt()
        mean = kept_to.sqrt() * x_0 + (1 - kept_to - variance).clamp_min(0).sqrt() * direction
        return mean + variance.sqrt() * noise

    def renoise(
        self,
        x: Float[Tensor, "B T M C"],
        noise: Float[Tensor, "B T M C"],
        t: Int[Tensor, " B"],
        to: Int[Tensor, " B"],
    ) -> Float[Tensor, "B T M C"]:
        """From step t forward to a later step."""
        share = self._kept(to, x) / self._kept(t, x)
        return share.sqrt() * x + (1 - share).sqrt() * noise

    def times(self, n: int) -> list[int]:
        """`n` steps from the last one down, evenly spread, and -1 after them."""
        spread = torch.linspace(self.n_steps - 1, 0, n).round().long().unique().flip(0).tolist()
        return [*spread, -1]

    def _kept(self, t: Int[Tensor, "*S"], like: Tensor) -> Tensor:
        kept = torch.cat([self.kept, self.kept.new_ones(1)])[t]  # index -1 is no noise
        return kept.to(like.dtype).view(*t.shape, *[1] * (like.ndim - t.ndim))
