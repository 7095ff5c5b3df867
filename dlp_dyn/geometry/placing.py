"""Glimpses on canvases of their own, and the pixels that each particle draws."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.geometry.blending import DEPTH_EPS

_SIZE_EPS = 1e-9  # of the quotient by a glimpse's size


def across_glimpse(pixel: Tensor, position: Tensor, size: Tensor, canvas: int, align_corners: bool) -> Tensor:
    """Where pixels of the canvas lie in a glimpse, in [-1, 1] across it; one row of pixels for every number."""
    scale, shift = (2 / (canvas - 1), -1.0) if align_corners else (2 / canvas, 1 / canvas - 1)
    return ((pixel * scale + shift) - position[..., None]) / (size[..., None] + _SIZE_EPS)


def place_glimpses(
    glimpses: Float[Tensor, "B N C S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    canvas: int,
    *,
    align_corners: bool = True,
) -> Float[Tensor, "B N C H W"]:
    """Each glimpse on a full canvas of its own, zero elsewhere: the oracle, and the source of masks."""
    b, n = position.shape[:2]
    pixel = torch.arange(canvas, device=position.device)
    u = across_glimpse(pixel, position, size, canvas, align_corners).to(glimpses.dtype).flatten(0, 1)
    grid = torch.stack(
        [u[:, 0, None, :].expand(-1, canvas, -1), u[:, 1, :, None].expand(-1, -1, canvas)], dim=-1
    )
    placed = F.grid_sample(
        glimpses.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )
    return placed.unflatten(0, (b, n))


def particle_masks(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    depth: Float[Tensor, "B N 1"],
    canvas: int,
    *,
    align_corners: bool = True,
) -> Float[Tensor, "B N H W"]:
    """The share of every pixel that each particle draws; 1 minus their sum is the background's."""
    alpha = place_glimpses(glimpses[:, :, 3:], position, size, canvas, align_corners=align_corners)[:, :, 0]
    alpha = alpha * transparency[..., None]
    weight = alpha * (-depth).sigmoid()[..., None]
    return weight * alpha / (weight.sum(1, keepdim=True) + DEPTH_EPS)


def boxes(
    position: Float[Tensor, "B N 2"], side: int, canvas: int, *, align_corners: bool = True
) -> Float[Tensor, "B N H W"]:
    """A box of `side` x `side` pixels around each position, 1 inside; without gradient."""
    columns, rows = _box_axes(position, side, canvas, align_corners)
    return rows[..., None] * columns[..., None, :]


def box_cover(
    position: Float[Tensor, "B N 2"],
    weight: Float[Tensor, "B N 1"],
    side: int,
    canvas: int,
    *,
    align_corners: bool = True,
) -> Float[Tensor, "B 1 H W"]:
    """Sum of weighted `side` x `side` pixel boxes around each position, clamped to [0, 1]; without gradient."""
    with torch.no_grad():
        columns, rows = _box_axes(position, side, canvas, align_corners)
        return torch.einsum("bnh,bnw->bhw", rows * weight, columns).clamp(0, 1)[:, None]


@torch.no_grad()
def _box_axes(
    position: Tensor, side: int, canvas: int, align_corners: bool
) -> tuple[Float[Tensor, "B N W"], Float[Tensor, "B N H"]]:
    """Which columns and which rows each box covers."""
    pixel = torch.arange(canvas, device=position.device)
    centred = pixel - position[..., None] * (0.5 * (canvas - 1 if align_corners else canvas))
    first = (canvas - side) // 2
    nearest = centred.round()
    inside = ((nearest >= first) & (nearest < first + side)).float()
    return inside[:, :, 0], inside[:, :, 1]
