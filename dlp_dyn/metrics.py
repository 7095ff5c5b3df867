"""How good pictures and particles are: PSNR, SSIM, LPIPS, and particles matched to objects whose place is known."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dlp_dyn.nn import pretrained

RADIUS_PX = 2.0  # a particle this near to an object's centre has found it
MOVED = 0.05  # of the range of pixels: more than the noise of compressed video


@dataclass(frozen=True)
class Match:
    """What each object was matched to: a slot, or -1, and how far off that is in pixels (NaN without a slot)."""

    slot: Int[np.ndarray, " O"]
    distance: Float[np.ndarray, " O"]


def match(
    particles: Float[np.ndarray, "N 2"],
    on: Bool[np.ndarray, " N"],
    objects: Float[np.ndarray, "O 2"],
    visible: Bool[np.ndarray, " O"],
    radius: float = RADIUS_PX,
) -> Match:
    """One-to-one matching of visible objects to particles that are on, positions in pixels.

    As many pairs as possible are within `radius`; among such matchings the sum of distances is smallest
    (Hungarian algorithm). What is left over is paired too, so a far particle shows in the mean distance.
    """
    slot = np.full(len(objects), -1)
    distance = np.full(len(objects), np.nan)
    slots, present = np.flatnonzero(on), np.flatnonzero(visible)
    gap = np.linalg.norm(objects[present, None] - particles[None, slots], axis=-1)
    if gap.size:
        # A pair outside costs more than all the pairs inside could together.
        outside = radius * (1 + len(present)) + gap.max()
        rows, columns = linear_sum_assignment(np.where(gap <= radius, gap, gap + outside))
        slot[present[rows]] = slots[columns]
        distance[present[rows]] = gap[rows, columns]
    return Match(slot, distance)


def slot_changes(
    slot: Int[np.ndarray, "T O"], distance: Float[np.ndarray, "T O"], radius: float = RADIUS_PX
) -> tuple[int, int]:
    """How often an object changes its slot between consecutive frames, out of how many times it could have.

    Only pairs of frames count in which the object was found (within `radius` pixels) both times.
    """
    found = (slot >= 0) & (np.nan_to_num(distance, nan=np.inf) <= radius)
    both = found[1:] & found[:-1]
    return int((both & (slot[1:] != slot[:-1])).sum()), int(both.sum())


def psnr_moving(
    target: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"], before: Float[Tensor, "B C H W"]
) -> Float[Tensor, " B"]:
    """PSNR in dB over the pixels that have changed, capped at 100 dB; NaN where none has.

    before: the frame that the change is from. A pixel has changed where target and before differ by more than
    `MOVED` in a channel; the mean squared error is over these pixels and all their channels.
    """
    moved = ((target - before).abs().amax(1, keepdim=True) > MOVED).expand_as(target)
    error = ((target - image).square() * moved).sum((1, 2, 3)) / moved.sum((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()


def psnr(target: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Peak signal-to-noise ratio in dB of images in [0, 1], capped at 100 dB."""
    return -10 * (target - image).square().mean((1, 2, 3)).clamp_min(1e-10).log10()


def ssim(target: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Structural similarity of images in [0, 1]: Gaussian window of 11 pixels, sigma 1.5 (Wang et al. 2004)."""
    # torchmetrics takes seconds to import, and training has no use for it.
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(image, target, data_range=1.0, reduction="none")
    assert isinstance(values, Tensor)
    return values.reshape(len(target))


class Lpips(nn.Module):
    """Perceptual distance of images in [0, 1] (Zhang et al. 2018, AlexNet); fetches its backbone on first use.

    Raises InputError when the weights are neither cached nor to be had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = pretrained.lpips("alex", "leave LPIPS out")

    @torch.no_grad()
    def forward(
        self, target: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]
    ) -> Float[Tensor, " B"]:
        return self.net(image.clamp(0, 1), target, normalize=True).reshape(len(target))


def auroc(usual: Float[np.ndarray, " N"], strange: Float[np.ndarray, " M"]) -> float:
    """Probability that a strange one scores higher than a usual one."""
    higher = (strange[:, None] > usual).mean()
    return float(higher + (strange[:, None] == usual).mean() / 2)
