"""Glimpses cut out of images and feature maps, and how well one fits another."""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def _steps(n: int, align_corners: bool, device: torch.device) -> Float[Tensor, " n"]:
    """The coordinates of n samples across [-1, 1]."""
    end = 1.0 if align_corners else 1 - 1 / n
    return torch.linspace(-end, end, n, device=device)


def crop_glimpses(
    images: Float[Tensor, "B C H W"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    side: int,
    *,
    padding: Literal["zeros", "border"] = "zeros",
    align_corners: bool = True,
) -> Float[Tensor, "B N C S S"]:
    """Bilinear crops of `side` x `side` samples that span `size` of the image around each position.

    All N crops of an image share one sampling grid, so the image is never tiled. Half precision is sampled in float32:
    a grid of eight bits would be half a pixel off.
    """
    n = position.shape[1]
    dtype = torch.promote_types(images.dtype, torch.float32)
    images, position, size = images.to(dtype), position.to(dtype), size.to(dtype)
    steps = _steps(side, align_corners, images.device).to(dtype)
    x = position[..., :1] + size[..., :1] * steps
    y = position[..., 1:] + size[..., 1:] * steps
    grid = torch.stack(
        [x[:, :, None, :].expand(-1, -1, side, -1), y[:, :, :, None].expand(-1, -1, -1, side)], dim=-1
    )
    crops = F.grid_sample(
        images, grid.flatten(1, 2), mode="bilinear", padding_mode=padding, align_corners=align_corners
    )
    return rearrange(crops, "b c (n p) q -> b n c p q", n=n)


def crop_features(
    features: Float[Tensor, "B D h w"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    side: int,
    image_side: int,
) -> Float[Tensor, "B N D S S"]:
    """Crops of a feature map whose cells tile the image, at positions and sizes given in the image's coordinates."""
    ratio = (image_side - 1) / image_side  # from pixel centres to pixel borders
    return crop_glimpses(
        features, position * ratio, size * ratio, side, padding="border", align_corners=False
    )


def correlation_map(
    glimpses: Float[Tensor, "B N C S S"], templates: Float[Tensor, "B N C S S"]
) -> Float[Tensor, "B N 1 S S"]:
    """How well each template fits its glimpse at every shift, from 0 to 1; without gradient (DDLP, section 4.1).

    Normalised cross-correlation for shifts from -S/2 + 1 to S/2 pixels only, beyond which nothing is kept; the
    glimpse goes on beyond its edge with its edge values.
    """
    with torch.no_grad():
        b, n, _, side, _ = glimpses.shape
        before, after = side // 2 - 1, side - side // 2
        target = F.pad(glimpses.clamp(0, 1).flatten(0, 1), (before, after, before, after), mode="replicate")
        kernel = templates.clamp(0, 1).flatten(0, 1)
        fit = F.conv2d(target.flatten(0, 1)[None], kernel, groups=b * n)[0]
        energy = F.avg_pool2d(target.square().sum(1), side, stride=1) * side**2
        fit = fit / ((kernel.square().sum() * energy + 1e-10).sqrt() + 1e-5)
        low, high = fit.amin((1, 2), keepdim=True), fit.amax((1, 2), keepdim=True)
        return ((fit - low) / (high - low + 1e-5)).view(b, n, 1, side, side)
