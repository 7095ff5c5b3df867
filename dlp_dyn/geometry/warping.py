"""Thin-plate-spline warps of images: pairs of views of one face (DLPv1 on CelebA, after Jakab et al. 2018)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_GRID = 10  # control points along a side
_EPS = 1e-5  # inside the logarithm
_SMALL, _LARGE = 0.001, 0.01  # standard deviations of a weight, each as likely as the other


def random_warp(
    strength: float, affine: float, generator: torch.Generator | None = None
) -> Float[Tensor, "K 2"]:
    """Weights of a random warp: a row for every control point, then shift and the two rows of an affine map.

    strength: of the bending. affine: of shifts, scale (both a tenth of it) and rotation (five degrees of it).
    """
    draws = torch.randn(2, _GRID**2, 2, generator=generator)
    often = torch.rand(_GRID**2, 2, generator=generator) < 0.5
    bending = strength * torch.where(often, _LARGE * draws[0], _SMALL * draws[1])
    shift, (size, turn) = torch.randn(2, generator=generator), torch.randn(2, generator=generator)
    s, angle = 1 + 0.1 * affine * size, torch.deg2rad(5 * affine * turn)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    return torch.cat([bending, (0.1 * affine * shift)[None], s * rotation])


def warp_grid(weights: Float[Tensor, "K 2"], side: int) -> Float[Tensor, "H W 2"]:
    """Where each pixel of a square image looks, as (x, y) in [-1, 1]."""
    like = {"dtype": weights.dtype, "device": weights.device}

    def lattice(n: int) -> Tensor:
        steps = torch.linspace(-1, 1, n, **like)
        return torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)

    pixels, controls = lattice(side), lattice(_GRID)
    squared = (pixels[:, None] - controls).square().sum(-1)
    bending = squared * (squared + _EPS).log()
    basis = torch.cat([bending, torch.ones_like(pixels[:, :1]), pixels], 1)
    return (basis @ weights).view(side, side, 2)


def warp(images: Float[Tensor, "B C H W"], weights: Float[Tensor, "K 2"]) -> Float[Tensor, "B C H W"]:
    """Images seen through one warp; black outside."""
    grid = warp_grid(weights, images.shape[-1]).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
