"""The plain way to crop, place and blend: the yardstick of the benchmarks and the oracle of the tests.

Images are tiled once for every crop, every glimpse gets a full canvas, all canvases are stacked, and boxes are
drawn by sampling a padded square: what the published implementations do, in PyTorch's own samplers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from unittest import mock

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import Clip
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Losses
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.objectives.schedules import NORMAL, Phase

_DEPTH_EPS, _SIZE_EPS = 1e-5, 1e-9


def _affine(scale: Float[Tensor, "B N 2"], shift: Float[Tensor, "B N 2"]) -> Float[Tensor, "BN 2 3"]:
    """Matrices of x -> scale x + shift, without rotation."""
    return torch.cat([torch.diag_embed(scale), shift[..., None]], dim=-1).flatten(0, 1)


def crop_glimpses(
    images: Float[Tensor, "B C H W"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    side: int,
    *,
    padding: Literal["zeros", "border"] = "zeros",
    align_corners: bool = True,
) -> Float[Tensor, "B N C S S"]:
    """`dlp_dyn.geometry.crop_glimpses`, with the image repeated for every crop."""
    n, channels = position.shape[1], images.shape[1]
    tiled = images.repeat_interleave(n, dim=0)
    shape = [len(tiled), channels, side, side]
    grid = F.affine_grid(_affine(size, position), shape, align_corners=align_corners)
    crops = F.grid_sample(tiled, grid, mode="bilinear", padding_mode=padding, align_corners=align_corners)
    return crops.unflatten(0, (-1, n))


def place_glimpses(
    glimpses: Float[Tensor, "B N C S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    canvas: int,
    *,
    align_corners: bool = True,
) -> Float[Tensor, "B N C H W"]:
    """`dlp_dyn.geometry.place_glimpses`, through affine grids of the whole canvas."""
    n, channels = glimpses.shape[1:3]
    zoom = 1 / (size + _SIZE_EPS)
    shape = [position.shape[0] * n, channels, canvas, canvas]
    grid = F.affine_grid(_affine(zoom, -position * zoom), shape, align_corners=align_corners)
    placed = F.grid_sample(
        glimpses.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )
    return placed.unflatten(0, (-1, n))


def composite(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    depth: Float[Tensor, "B N 1"],
    canvas: int,
    *,
    window: int | None = None,  # noqa: ARG001 - the whole canvas is always drawn
    alpha_noise: float = 0.0,
    align_corners: bool = True,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """`dlp_dyn.geometry.composite`, from a stack of N canvases (DDLP, arXiv 2306.05957, section 3)."""
    placed = place_glimpses(glimpses, position, size, canvas, align_corners=align_corners)
    rgb, alpha = placed.split([3, 1], dim=2)
    if alpha_noise > 0:
        alpha = (alpha + alpha_noise * torch.randn_like(alpha)).clamp(0, 1)
    alpha = transparency[..., None, None] * alpha
    share = alpha * torch.sigmoid(-depth)[..., None, None]
    share = share / (share.sum(dim=1, keepdim=True) + _DEPTH_EPS)
    foreground = (share * alpha * rgb).sum(dim=1)
    return foreground, 1 - (share * alpha).sum(dim=1)


def box_cover(
    position: Float[Tensor, "B N 2"],
    weight: Float[Tensor, "B N 1"],
    side: int,
    canvas: int,
    *,
    align_corners: bool = True,
) -> Float[Tensor, "B 1 H W"]:
    """`dlp_dyn.geometry.box_cover`, by moving a padded square."""
    with torch.no_grad():
        b, n = position.shape[:2]
        first = (canvas - side) // 2
        square = position.new_zeros(b * n, 1, canvas, canvas)
        square[..., first : first + side, first : first + side] = 1
        shape = list(square.shape)
        grid = F.affine_grid(
            _affine(torch.ones_like(position), -position), shape, align_corners=align_corners
        )
        boxes = F.grid_sample(square, grid, mode="nearest", padding_mode="zeros", align_corners=align_corners)
        return (boxes.unflatten(0, (b, n)) * weight[..., None, None]).sum(dim=1).clamp(0, 1)


def correlation_map(
    glimpses: Float[Tensor, "B N C S S"], templates: Float[Tensor, "B N C S S"]
) -> Float[Tensor, "B N 1 S S"]:
    """`dlp_dyn.geometry.correlation_map`, for every shift up to a whole side, of which half are kept."""
    with torch.no_grad():
        b, n, channels, side, _ = glimpses.shape
        target = F.pad(glimpses.clamp(0, 1).flatten(0, 1), (side,) * 4, mode="replicate")
        kernel = templates.clamp(0, 1).flatten(0, 1)
        fit = F.conv2d(target.flatten(0, 1)[None], kernel, groups=b * n)[0]
        energy = F.conv2d(target.square(), target.new_ones(1, channels, side, side))[:, 0]
        fit = fit / ((kernel.square().sum() * energy + 1e-10).sqrt() + 1e-5)
        kept = slice(side // 2 + 1, 2 * side + 1 - side // 2)
        fit = fit[:, kept, kept]
        low, high = fit.amin((1, 2), keepdim=True), fit.amax((1, 2), keepdim=True)
        return ((fit - low) / (high - low + 1e-5)).view(b, n, 1, side, side)


@contextmanager
def plain_geometry() -> Iterator[None]:
    """While open, `dlp_dyn.geometry` works with the functions of this module, and networks on whole batches."""
    with (
        mock.patch.multiple(
            "dlp_dyn.geometry",
            crop_glimpses=crop_glimpses,
            composite=composite,
            box_cover=box_cover,
            correlation_map=correlation_map,
        ),
        mock.patch(
            "dlp_dyn.geometry.cropping.crop_glimpses", crop_glimpses
        ),  # that of feature maps calls it there
        mock.patch("dlp_dyn.nn.layers.works_in_chunks", return_value=False),
    ):
        yield


class PlainImageElbo(ImageElbo):
    """The same objective on plain geometry."""

    def losses(self, clip: Clip, phase: Phase = NORMAL) -> Losses:
        with plain_geometry():
            return super().losses(clip, phase)


def plain_model(cfg: DLPConfig) -> DLP:
    """A DLP in PyTorch's default layout."""
    model = DLP(cfg)
    model.to(memory_format=torch.contiguous_format)
    return model
