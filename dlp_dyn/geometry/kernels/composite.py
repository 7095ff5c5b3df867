"""Glimpses placed, weighted and summed by one Triton kernel; the gradients of all inputs by another.

The same function as `dlp_dyn.geometry.blending.blend` on whole canvases. Forward: a program draws a tile of the canvas
and walks through the particles, leaving out those that do not touch it. Backward: a program draws a particle once more
where a tile of its glimpse shows, and gathers from the canvas. Nothing of the size of particles times canvas is kept or
made, and nothing is added atomically, so that results repeat to the bit.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.geometry.blending import DEPTH_EPS

_TILE = 16  # side of a tile, of the canvas and of a glimpse: the least that tl.dot takes
_DEPTH_EPS: tl.constexpr = tl.constexpr(DEPTH_EPS)
_SIZE_EPS: tl.constexpr = tl.constexpr(1e-9)


def composite(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    nearness: Float[Tensor, "B N 1"],
    canvas: int,
    align_corners: bool = True,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """Foreground and background weight, as `dlp_dyn.geometry.composite`. All inputs of one floating type."""
    places = [x.contiguous() for x in (position, size, transparency, nearness)]
    foreground, background, _ = _forward(glimpses.flatten(0, 1), *places, canvas, align_corners)
    return foreground, background


# Operators of their own, so that a compiler takes the kernels as they are instead of looking into them.
@torch.library.custom_op("dlp_dyn::composite", mutates_args=())
def _forward(
    glimpses: Tensor,
    position: Tensor,
    size: Tensor,
    transparency: Tensor,
    nearness: Tensor,
    canvas: int,
    align_corners: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Foreground, background weight, and the inverse of the sum of weights. Glimpses of any layout."""
    b, n = position.shape[:2]
    drawn = _empty_canvases(glimpses, position, size, transparency, nearness, canvas, align_corners)
    tiles = triton.cdiv(canvas, _TILE)
    _launch(
        _draw, (b, tiles, tiles), glimpses, position, size, transparency, nearness, *drawn, n, *glimpses.stride(),
        canvas, glimpses.shape[-1], align_corners, _TILE,
    )  # fmt: skip
    return drawn


@_forward.register_fake
def _empty_canvases(
    glimpses: Tensor,
    position: Tensor,
    size: Tensor,  # noqa: ARG001
    transparency: Tensor,  # noqa: ARG001
    nearness: Tensor,  # noqa: ARG001
    canvas: int,
    align_corners: bool,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    b = position.shape[0]
    foreground = glimpses.new_empty(b, 3, canvas, canvas)
    background, share = (glimpses.new_empty(b, 1, canvas, canvas) for _ in range(2))
    return foreground, background, share


@torch.library.custom_op("dlp_dyn::composite_backward", mutates_args=())
def _backward(
    glimpses: Tensor,
    position: Tensor,
    size: Tensor,
    transparency: Tensor,
    nearness: Tensor,
    to_total: Tensor,
    align_corners: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the glimpses, and of (position, size, transparency, nearness) by tile of a glimpse."""
    to_glimpses, to_places = _empty_gradients(
        glimpses, position, size, transparency, nearness, to_total, align_corners
    )
    side = glimpses.shape[-1]
    _launch(
        _gather, to_places.shape[:2], glimpses, position, size, transparency, nearness, to_total, to_glimpses,
        to_places, position.shape[1], *glimpses.stride(), to_total.shape[-1], side, align_corners, _TILE,
    )  # fmt: skip
    return to_glimpses, to_places


@_backward.register_fake
def _empty_gradients(
    glimpses: Tensor,
    position: Tensor,  # noqa: ARG001
    size: Tensor,  # noqa: ARG001
    transparency: Tensor,  # noqa: ARG001
    nearness: Tensor,  # noqa: ARG001
    to_total: Tensor,  # noqa: ARG001
    align_corners: bool,  # noqa: ARG001
) -> tuple[Tensor, Tensor]:
    per_side = triton.cdiv(glimpses.shape[-1], _TILE)
    to_glimpses = torch.empty_like(glimpses, memory_format=torch.contiguous_format)
    return to_glimpses, glimpses.new_empty(len(glimpses), per_side**2, 6)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, _, ctx.align_corners = inputs
    ctx.save_for_backward(*tensors, *output)


def _gradients(
    ctx: Any, to_foreground: Tensor, to_background: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    *inputs, foreground, background, share = ctx.saved_tensors
    shares = torch.cat([to_foreground, -to_background], 1) * share
    to_weight = shares[:, 3:] * (background - 1) - (shares[:, :3] * foreground).sum(1, keepdim=True)
    to_total = torch.cat([shares, to_weight], 1).contiguous()
    to_glimpses, by_tile = _backward(*inputs, to_total, ctx.align_corners)
    to_places = by_tile.sum(1).view(*inputs[1].shape[:2], 6).split([2, 2, 1, 1], -1)
    return to_glimpses, *to_places, None, None


_forward.register_autograd(_gradients, setup_context=_keep)


def _launch(kernel: Any, programs: tuple[int, ...], *arguments: Any) -> None:
    kernel[programs](*arguments)


@triton.jit
def _across(pixel, centre, size, CANVAS: tl.constexpr, ALIGN: tl.constexpr):
    """Where pixels of the canvas lie in a glimpse, in [-1, 1] across it."""
    scale: tl.constexpr = 2 / (CANVAS - 1) if ALIGN else 2 / CANVAS
    shift: tl.constexpr = tl.constexpr(-1) if ALIGN else 1 / CANVAS - 1
    return (pixel * scale + shift - centre) / (size + _SIZE_EPS)


@triton.jit
def _sample(u, SIDE: tl.constexpr, ALIGN: tl.constexpr):
    """[-1, 1] across a glimpse as an index of its pixels; what is far outside comes closer, so that it fits an int."""
    index = (u + 1) * (0.5 * (SIDE - 1)) if ALIGN else (u + 1) * (0.5 * SIDE) - 0.5
    index = tl.maximum(index, -2.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(index, SIDE + 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _canvas_pixel(index, centre, size, CANVAS: tl.constexpr, SIDE: tl.constexpr, ALIGN: tl.constexpr):
    """The inverse of `_sample` after `_across`."""
    if ALIGN:
        u = index * (2 / (SIDE - 1)) - 1
        pixel = (centre + u * (size + _SIZE_EPS) + 1) * (0.5 * (CANVAS - 1))
    else:
        u = (index + 0.5) * (2 / SIDE) - 1
        pixel = (centre + u * (size + _SIZE_EPS) + 1) * (0.5 * CANVAS) - 0.5
    return tl.minimum(tl.maximum(pixel, -1.0), CANVAS + 0.0)


@triton.jit
def _corners(channel, x, y, stride_y, stride_x, SIDE: tl.constexpr):
    """The four pixels of a channel around each place, zero outside of the glimpse."""
    left, right = (x >= 0) & (x < SIDE), (x + 1 >= 0) & (x + 1 < SIDE)
    top, bottom = (y >= 0) & (y < SIDE), (y + 1 >= 0) & (y + 1 < SIDE)
    at = channel + y[:, None] * stride_y + x[None, :] * stride_x
    a = tl.load(at, top[:, None] & left[None, :], 0.0)
    b = tl.load(at + stride_x, top[:, None] & right[None, :], 0.0)
    c = tl.load(at + stride_y, bottom[:, None] & left[None, :], 0.0)
    d = tl.load(at + stride_y + stride_x, bottom[:, None] & right[None, :], 0.0)
    return a, b, c, d


@triton.jit
def _bilinear(channel, x, y, right, below, stride_y, stride_x, SIDE: tl.constexpr):
    a, b, c, d = _corners(channel, x, y, stride_y, stride_x, SIDE)
    return (a * (1 - right) + b * right) * (1 - below) + (c * (1 - right) + d * right) * below


@triton.jit
def _draw(
    glimpses, position, size, transparency, nearness, foreground, background, share, n, stride_m, stride_c,
    stride_y, stride_x, CANVAS: tl.constexpr, SIDE: tl.constexpr, ALIGN: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A tile of a canvas: the three running sums over particles, then the quotients."""
    image, first_x, first_y = tl.program_id(0), tl.program_id(1) * TILE, tl.program_id(2) * TILE
    column, row = first_x + tl.arange(0, TILE), first_y + tl.arange(0, TILE)
    red = tl.zeros((TILE, TILE), foreground.dtype.element_ty)
    green, blue, opaque, weight = red, red, red, red
    for k in range(n):
        m = image.to(tl.int64) * n + k
        centre_x, centre_y = tl.load(position + 2 * m), tl.load(position + 2 * m + 1)
        width, height = tl.load(size + 2 * m), tl.load(size + 2 * m + 1)
        left = _sample(_across(first_x, centre_x, width, CANVAS, ALIGN), SIDE, ALIGN)
        right = _sample(_across(first_x + TILE - 1, centre_x, width, CANVAS, ALIGN), SIDE, ALIGN)
        top = _sample(_across(first_y, centre_y, height, CANVAS, ALIGN), SIDE, ALIGN)
        bottom = _sample(_across(first_y + TILE - 1, centre_y, height, CANVAS, ALIGN), SIDE, ALIGN)
        outside = (right <= -1) | (left >= SIDE) | (bottom <= -1) | (top >= SIDE)
        if not outside:  # which a place that is no number is not, and shows
            along = _sample(_across(column, centre_x, width, CANVAS, ALIGN), SIDE, ALIGN)
            down = _sample(_across(row, centre_y, height, CANVAS, ALIGN), SIDE, ALIGN)
            x, y = tl.floor(along), tl.floor(down)
            part_x, part_y = (along - x)[None, :], (down - y)[:, None]
            x, y = x.to(tl.int32), y.to(tl.int32)
            base = glimpses + m * stride_m
            alpha = _bilinear(base + 3 * stride_c, x, y, part_x, part_y, stride_y, stride_x, SIDE)
            alpha *= tl.load(transparency + m)
            w = alpha * tl.load(nearness + m)
            weight += w
            w *= alpha
            opaque += w
            red += w * _bilinear(base, x, y, part_x, part_y, stride_y, stride_x, SIDE)
            green += w * _bilinear(base + stride_c, x, y, part_x, part_y, stride_y, stride_x, SIDE)
            blue += w * _bilinear(base + 2 * stride_c, x, y, part_x, part_y, stride_y, stride_x, SIDE)
    inverse = 1 / (weight + _DEPTH_EPS)
    inside = (row < CANVAS)[:, None] & (column < CANVAS)[None, :]
    at = row[:, None] * CANVAS + column[None, :]
    area = CANVAS * CANVAS
    at_image = image.to(tl.int64) * area + at
    at_colour = image.to(tl.int64) * 3 * area + at
    tl.store(share + at_image, inverse, inside)
    tl.store(background + at_image, 1 - opaque * inverse, inside)
    tl.store(foreground + at_colour, red * inverse, inside)
    tl.store(foreground + at_colour + area, green * inverse, inside)
    tl.store(foreground + at_colour + 2 * area, blue * inverse, inside)


@triton.jit
def _gather(
    glimpses, position, size, transparency, nearness, to_total, to_glimpses, to_places, n, stride_m, stride_c,
    stride_y, stride_x, CANVAS: tl.constexpr, SIDE: tl.constexpr, ALIGN: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Gradients of a tile of a glimpse, and its share of those of the particle's place, transparency and nearness.

    A pixel of the canvas counts for the place in the tile that holds its upper left corner.
    """
    m, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    per_side = tl.cdiv(SIDE, TILE)
    tile_x, tile_y = tile % per_side, tile // per_side
    centre_x, centre_y = tl.load(position + 2 * m), tl.load(position + 2 * m + 1)
    width, height = tl.load(size + 2 * m), tl.load(size + 2 * m + 1)
    visible, near = tl.load(transparency + m), tl.load(nearness + m)
    base = glimpses + m * stride_m
    area = CANVAS * CANVAS
    grads = to_total + (m // n) * 5 * area
    steps_x, steps_y = tile_x * TILE + tl.arange(0, TILE), tile_y * TILE + tl.arange(0, TILE)

    # Pixels whose tents reach the tile; one more on each side, in case of rounding.
    x_begin = _canvas_pixel(tile_x * TILE - 1, centre_x, width, CANVAS, SIDE, ALIGN).to(tl.int32) - 1
    x_end = _canvas_pixel(tile_x * TILE + TILE, centre_x, width, CANVAS, SIDE, ALIGN).to(tl.int32) + 2
    y_begin = _canvas_pixel(tile_y * TILE - 1, centre_y, height, CANVAS, SIDE, ALIGN).to(tl.int32) - 1
    y_end = _canvas_pixel(tile_y * TILE + TILE, centre_y, height, CANVAS, SIDE, ALIGN).to(tl.int32) + 2
    x_begin, x_end = tl.maximum(x_begin, 0), tl.minimum(x_end, CANVAS)
    y_begin, y_end = tl.maximum(y_begin, 0), tl.minimum(y_end, CANVAS)

    nothing = tl.zeros((TILE, TILE), to_glimpses.dtype.element_ty)
    to_red, to_green, to_blue, to_opacity = nothing, nothing, nothing, nothing
    to_x, to_y, to_width, to_height, to_visible, to_near = (
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
        nothing,
    )
    for y_first in range(y_begin, y_end, TILE):
        row = y_first + tl.arange(0, TILE)
        v = _across(row, centre_y, height, CANVAS, ALIGN)
        down = _sample(v, SIDE, ALIGN)
        y_floor = tl.floor(down)
        part_y, y = (down - y_floor)[:, None], y_floor.to(tl.int32)
        tents_y = tl.maximum(1 - tl.abs(down[None, :] - steps_y[:, None]), 0.0)
        for x_first in range(x_begin, x_end, TILE):
            column = x_first + tl.arange(0, TILE)
            u = _across(column, centre_x, width, CANVAS, ALIGN)
            along = _sample(u, SIDE, ALIGN)
            x_floor = tl.floor(along)
            part_x, x = (along - x_floor)[None, :], x_floor.to(tl.int32)
            tents_x = tl.maximum(1 - tl.abs(along[:, None] - steps_x[None, :]), 0.0)

            inside = (row < CANVAS)[:, None] & (column < CANVAS)[None, :]
            at = grads + row[:, None] * CANVAS + column[None, :]
            g_red, g_green = tl.load(at, inside, 0.0), tl.load(at + area, inside, 0.0)
            g_blue, g_opaque = tl.load(at + 2 * area, inside, 0.0), tl.load(at + 3 * area, inside, 0.0)
            g_weight = tl.load(at + 4 * area, inside, 0.0)

            ra, rb, rc, rd = _corners(base, x, y, stride_y, stride_x, SIDE)
            ga, gb, gc, gd = _corners(base + stride_c, x, y, stride_y, stride_x, SIDE)
            ba, bb, bc, bd = _corners(base + 2 * stride_c, x, y, stride_y, stride_x, SIDE)
            aa, ab, ac, ad = _corners(base + 3 * stride_c, x, y, stride_y, stride_x, SIDE)
            # The gradient of all channels together, at each corner: what they have in common comes first.
            wa, wb = (1 - part_x) * (1 - part_y), part_x * (1 - part_y)
            wc, wd = (1 - part_x) * part_y, part_x * part_y
            drawn = aa * wa + ab * wb + ac * wc + ad * wd
            alpha = drawn * visible
            colour = (ra * wa + rb * wb + rc * wc + rd * wd) * g_red
            colour += (ga * wa + gb * wb + gc * wc + gd * wd) * g_green
            colour += (ba * wa + bb * wb + bc * wc + bd * wd) * g_blue
            part = (g_opaque + colour) * alpha
            g_alpha = (2 * part + g_weight) * near
            g_colour = alpha * alpha * near
            g_red, g_green, g_blue = g_red * g_colour, g_green * g_colour, g_blue * g_colour
            g_drawn = g_alpha * visible

            owner_x = (tl.maximum(x, 0) // TILE == tile_x) & (along > -1) & (along < SIDE)
            owner_y = (tl.maximum(y, 0) // TILE == tile_y) & (down > -1) & (down < SIDE)
            mine = owner_y[:, None] & owner_x[None, :]
            to_visible += tl.where(mine, drawn * g_alpha, 0.0)
            to_near += tl.where(mine, (part + g_weight) * alpha, 0.0)
            at_a = ra * g_red + ga * g_green + ba * g_blue + aa * g_drawn
            at_b = rb * g_red + gb * g_green + bb * g_blue + ab * g_drawn
            at_c = rc * g_red + gc * g_green + bc * g_blue + ac * g_drawn
            at_d = rd * g_red + gd * g_green + bd * g_blue + ad * g_drawn
            # On the tip of a tent there is no slope, as in `blend`.
            slope_x = (at_b - at_a) * (1 - part_y) + (at_d - at_c) * part_y
            slope_y = (at_c - at_a) * (1 - part_x) + (at_d - at_b) * part_x
            slope_x = tl.where(mine & (part_x > 0), slope_x, 0.0)
            slope_y = tl.where(mine & (part_y > 0), slope_y, 0.0)
            to_x += slope_x
            to_width += slope_x * u[None, :]
            to_y += slope_y
            to_height += slope_y * v[:, None]

            to_red += _tents(tents_y, g_red, tents_x)
            to_green += _tents(tents_y, g_green, tents_x)
            to_blue += _tents(tents_y, g_blue, tents_x)
            to_opacity += _tents(tents_y, g_drawn, tents_x)

    at = m * 4 * SIDE * SIDE + steps_y[:, None] * SIDE + steps_x[None, :]
    inside = (steps_y < SIDE)[:, None] & (steps_x < SIDE)[None, :]
    tl.store(to_glimpses + at, to_red, inside)
    tl.store(to_glimpses + at + SIDE * SIDE, to_green, inside)
    tl.store(to_glimpses + at + 2 * SIDE * SIDE, to_blue, inside)
    tl.store(to_glimpses + at + 3 * SIDE * SIDE, to_opacity, inside)
    half: tl.constexpr = 0.5 * (SIDE - 1) if ALIGN else 0.5 * SIDE
    place = to_places + (m * per_side * per_side + tile) * 6
    tl.store(place, -half * tl.sum(to_x) / (width + _SIZE_EPS))
    tl.store(place + 1, -half * tl.sum(to_y) / (height + _SIZE_EPS))
    tl.store(place + 2, -half * tl.sum(to_width) / (width + _SIZE_EPS))
    tl.store(place + 3, -half * tl.sum(to_height) / (height + _SIZE_EPS))
    tl.store(place + 4, tl.sum(to_visible))
    tl.store(place + 5, tl.sum(to_near))


@triton.jit
def _tents(tents_y, grad, tents_x):
    """Rows times gradient times columns, in full precision."""
    rows = tl.dot(tents_y, grad, input_precision="ieee", out_dtype=grad.dtype)
    return tl.dot(rows, tents_x, input_precision="ieee", out_dtype=grad.dtype)
