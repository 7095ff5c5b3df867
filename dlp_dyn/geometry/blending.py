"""Glimpses drawn into windows of a canvas and blended: one differentiable function that keeps only its inputs.

Bilinear sampling on a grid without rotation is two products with matrices of tents. Only the inputs, the results and
the sum of weights are kept; the backward pass draws the windows once more.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

DEPTH_EPS = 1e-5  # of the compositing quotient (DDLP, arXiv 2306.05957, appendix; official code)


def blend(
    glimpses: Float[Tensor, "M 4 S S"],
    across: Float[Tensor, "M w"],
    down: Float[Tensor, "M w"],
    transparency: Float[Tensor, "M 1 1"],
    nearness: Float[Tensor, "M 1 1"],
    index: Int[Tensor, "M w w"],
    noise: Float[Tensor, "M w w"] | None,
    pixels: int,
) -> tuple[Float[Tensor, "3 P"], Float[Tensor, "1 P"]]:
    """Foreground and background weight of `pixels` pixels, which all canvases of a batch make up together.

    across, down: where the columns and rows of each window lie in its glimpse, in the glimpse's pixels.
    nearness: what a depth counts. index: the pixel of the canvases at every place of a window. noise: on alpha.
    """
    return _Blend.apply(glimpses, across, down, transparency, nearness, index, noise, pixels)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        glimpses: Tensor,
        across: Tensor,
        down: Tensor,
        transparency: Tensor,
        nearness: Tensor,
        index: Tensor,
        noise: Tensor | None,
        pixels: int,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(glimpses.device.type, enabled=False):
            placed = _draw(glimpses, across, down)[0]
        sums = placed.new_empty(5, *index.shape)
        alpha = _noisy(placed[:, :, 3], noise) * transparency
        torch.mul(alpha, nearness, out=sums[4])
        torch.mul(sums[4], alpha, out=sums[3])
        torch.mul(placed[:, :, :3].permute(2, 0, 1, 3), sums[3], out=sums[:3])
        total = sums.new_zeros(5, pixels).index_add_(1, index.flatten(), sums.flatten(1))
        share = (total[4] + DEPTH_EPS).reciprocal_()
        foreground, background = total[:3] * share, 1 - total[3:4] * share
        ctx.save_for_backward(
            glimpses, across, down, transparency, nearness, index, noise, share, foreground, background
        )
        return foreground, background

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return _gradients(ctx, *grad_outputs)


@once_differentiable
def _gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    to_foreground, to_background = grads
    glimpses, across, down, transparency, nearness, index, noise, share, foreground, background = (
        ctx.saved_tensors
    )
    to_total = torch.cat([to_foreground, -to_background, share[None]]).mul_(share)
    to_total[4] = to_total[3] * (background[0] - 1) - (to_total[:3] * foreground).sum(0)
    g = to_total.index_select(1, index.flatten()).view(5, *index.shape)
    with torch.autocast(glimpses.device.type, enabled=False):
        placed, lines, wide, columns, away_x, rows, away_y = _draw(glimpses, across, down)
        n, _, side, _ = glimpses.shape
        rgb, drawn = placed[:, :, :3].permute(2, 0, 1, 3), placed[:, :, 3]
        raw = _noisy(drawn, noise)
        alpha = raw * transparency
        part = torch.addcmul(g[3], rgb[0], g[0]).addcmul_(rgb[1], g[1]).addcmul_(rgb[2], g[2]).mul_(alpha)
        to_alpha = part.mul(2).add_(g[4]).mul_(nearness)
        to_nearness = part.add_(g[4]).mul_(alpha).sum((1, 2), keepdim=True)
        to_transparency = (raw * to_alpha).sum((1, 2), keepdim=True)
        torch.mul(g[:3], alpha.square_().mul_(nearness), out=rgb)
        to_alpha.mul_(transparency)
        if noise is not None:
            to_alpha.mul_((raw > 0) & (raw < 1))
        drawn.copy_(to_alpha)
        to_placed = placed.view(n, down.shape[1], -1)
        to_wide = torch.bmm(rows.mT, to_placed).view(n, side * 4, -1)
        to_glimpses = torch.bmm(to_wide, columns).view(n, side, 4, side).transpose(1, 2)
        to_down = -(torch.bmm(to_placed, wide.mT) * away_y.sign_() * rows.sign_()).sum(-1)
        to_across = -(torch.bmm(to_wide.mT, lines) * away_x.sign_() * columns.sign_()).sum(-1)
    return to_glimpses, to_across, to_down, to_transparency, to_nearness, None, None, None


def _draw(glimpses: Tensor, across: Tensor, down: Tensor) -> tuple[Tensor, ...]:
    n, _, side, _ = glimpses.shape
    steps = torch.arange(side, device=glimpses.device, dtype=glimpses.dtype)
    away_x, away_y = across[..., None] - steps, down[..., None] - steps
    columns, rows = (1 - away_x.abs()).clamp_min_(0), (1 - away_y.abs()).clamp_min_(0)
    lines = glimpses.transpose(1, 2).reshape(n, side * 4, side)
    wide = torch.bmm(lines, columns.mT).view(n, side, -1)
    placed = torch.bmm(rows, wide).view(n, down.shape[1], 4, across.shape[1])
    return placed, lines, wide, columns, away_x, rows, away_y


def _noisy(alpha: Tensor, noise: Tensor | None) -> Tensor:
    return alpha if noise is None else (alpha + noise).clamp_(0, 1)
