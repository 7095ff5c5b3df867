"""Thin-plate-spline warps of images: pairs of views of one face (DLPv1 on CelebA, after Jakab et al. 2018)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_GRID = 10  # control points along a side
_EPS = 1e-5  # inside the logarithm
_SMALL, _LARGE = 0.001, 0.01  # standard deviations of a weight, each as likely as the other


def random_warps(
    n: int, strength: float, affine: float, generator: torch.Generator | None = None
) -> Float[Tensor, "B K 2"]:
    """Weights of random warps: a row for every control point, then shift and the two rows of an affine map.

    strength: of the bending. affine: of shift and scale (a tenth of it each) and rotation (five degrees of it).
    """

    def draw(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator)

    often = torch.rand(n, _GRID**2, 2, generator=generator) < 0.5
    bending = strength * torch.where(often, _LARGE * draw(_GRID**2, 2), _SMALL * draw(_GRID**2, 2))
    shift = 0.1 * affine * draw(1, 2)
    scale, angle = 1 + 0.1 * affine * draw(1), torch.deg2rad(5 * affine * draw(1))
    rows = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(n, 2, 2)
    return torch.cat([bending, shift, scale[..., None] * rows], 1)


def warp_grid(weights: Float[Tensor, "*B K 2"], side: int) -> Float[Tensor, "*B H W 2"]:
    """Where each pixel of a square image looks, as (x, y) in [-1, 1]."""
    pixels, controls = _lattice(side, weights), _lattice(_GRID, weights)
    squared = (pixels[:, None] - controls).square().sum(-1)
    bending = squared * (squared + _EPS).log()
    basis = torch.cat([bending, torch.ones_like(pixels[:, :1]), pixels], 1)
    return (basis @ weights).unflatten(-2, (side, side))


def _lattice(n: int, like: Tensor) -> Float[Tensor, "K 2"]:
    steps = torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)


def warp(images: Float[Tensor, "B C H W"], weights: Float[Tensor, "B K 2"]) -> Float[Tensor, "B C H W"]:
    """Square images, each seen through its own warp; black outside."""
    grid = warp_grid(weights, images.shape[-1])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
