"""Coordinates, cropping, placing and compositing: the only module with sampling maths.

Positions are (x, y) in [-1, 1], where -1 and 1 are the centres of the first and last pixel (`align_corners=True`).
`align_corners=False` is offered to reproduce the official DLPv3, whose samplers use the pixel borders instead.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from dlp_dyn import kernels
from dlp_dyn.blending import DEPTH_EPS, blend
from dlp_dyn.pieces import n_pieces, works_in_pieces

_SIZE_EPS = 1e-9  # of the quotient by a glimpse's size


def to_pixel(position: Tensor, side: int) -> Tensor:
    """[-1, 1] to pixel indices in [0, side - 1]."""
    return (position + 1) * (0.5 * (side - 1))


def to_unit(pixel: Tensor, side: int) -> Tensor:
    """Pixel indices in [0, side - 1] to [-1, 1]."""
    return pixel * (2 / (side - 1)) - 1


def patches(images: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B M C P P"]:
    """Non-overlapping patches in row-major order."""
    return rearrange(images, "b c (i p) (j q) -> b (i j) c p q", p=side, q=side)


def patch_to_image(local: Float[Tensor, "B M 2"], patch_side: int, image_side: int) -> Float[Tensor, "B M 2"]:
    """Positions inside each patch ([-1, 1] across the patch) to positions in the image."""
    per_row = image_side // patch_side
    index = torch.arange(per_row, device=local.device) * patch_side
    origin = torch.stack(torch.meshgrid(index, index, indexing="xy"), -1).reshape(-1, 2)
    return to_unit(to_pixel(local, patch_side) + origin, image_side)


def spatial_softmax(
    logits: Float[Tensor, "*B h w"],
) -> tuple[Float[Tensor, "*B 2"], Float[Tensor, "*B 3"]]:
    """Mean position of a softmax over a map, and its (var_x, var_y, cov_xy), in units of half the map's side."""
    h, w = logits.shape[-2:]
    probability = logits.float().flatten(-2).softmax(-1).unflatten(-1, (h, w))
    x = torch.linspace(-1, 1, w, device=logits.device)
    y = torch.linspace(-1, 1, h, device=logits.device)
    along_x, along_y = probability.sum(-2), probability.sum(-1)
    mean_x, mean_y = along_x @ x, along_y @ y
    var_x = (along_x @ x.square() - mean_x.square()).clamp_min(1e-6)
    var_y = (along_y @ y.square() - mean_y.square()).clamp_min(1e-6)
    cov = (probability @ x) @ y - mean_x * mean_y
    return torch.stack([mean_x, mean_y], -1), torch.stack([var_x, var_y, cov], -1)


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
    u = _across_glimpse(pixel, position, size, canvas, align_corners).to(glimpses.dtype).flatten(0, 1)
    grid = torch.stack(
        [u[:, 0, None, :].expand(-1, canvas, -1), u[:, 1, :, None].expand(-1, -1, canvas)], dim=-1
    )
    placed = F.grid_sample(
        glimpses.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners
    )
    return placed.unflatten(0, (b, n))


def _across_glimpse(
    pixel: Tensor, position: Tensor, size: Tensor, canvas: int, align_corners: bool
) -> Tensor:
    """Where pixels of the canvas lie in a glimpse, in [-1, 1] across it; one row of pixels for every number."""
    scale, shift = (2 / (canvas - 1), -1.0) if align_corners else (2 / canvas, 1 / canvas - 1)
    return ((pixel * scale + shift) - position[..., None]) / (size[..., None] + _SIZE_EPS)


def covering_window(
    size: Float[Tensor, "B N 2"], glimpse_side: int, canvas: int, align_corners: bool = True
) -> int:
    """The side in pixels, in steps of 4, of a window that covers the largest glimpse wherever it lies.

    A window of w pixels that is centred to half a pixel holds every pixel of an open interval of length w.
    """
    grown = (canvas - 1) * (1 + 2 / (glimpse_side - 1)) if align_corners else canvas * (1 + 1 / glimpse_side)
    largest = float(size.detach().max()) * grown + 1e-3
    if not largest < canvas - 3:  # nor for a size that is no number
        return canvas
    return 4 * math.ceil(largest / 4)


def composite(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    depth: Float[Tensor, "B N 1"],
    canvas: int,
    *,
    window: int | None = None,
    alpha_noise: float = 0.0,
    align_corners: bool = True,
    fused: bool | None = None,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """Place RGBA glimpses and blend them by depth: (foreground, weight of the background).

    With A = transparency * alpha and w = A * sigmoid(-depth) (DDLP, arXiv 2306.05957, section 3):
    foreground = sum(w A rgb) / (sum(w) + eps), background weight = 1 - sum(w A) / (sum(w) + eps).
    Every particle touches only its own window of the canvas, and three running sums are all that is kept.
    `window` has to cover the largest glimpse (`covering_window` is used when it is None). `alpha_noise` is the
    standard deviation of noise on every canvas pixel's alpha, outside the glimpses too. fused: by one kernel, which has
    no windows and no noise; None is where kernels are usable and there is no noise.
    """
    if fused is None:
        fused = alpha_noise == 0 and kernels.usable(glimpses.device)
    if fused:
        assert alpha_noise == 0
        return _fused(glimpses, position, size, transparency, depth, canvas, align_corners)
    fields = (glimpses, position, size, transparency, depth)
    return _windowed(fields, canvas, window, alpha_noise, align_corners)


@torch.compiler.disable()  # the size of windows depends on what is drawn
def _windowed(
    fields: tuple[Tensor, ...], canvas: int, window: int | None, alpha_noise: float, align_corners: bool
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """The first five arguments of `composite`, in pieces where they pay."""
    glimpses, position, size = fields[:3]
    if alpha_noise > 0:
        window = canvas
    elif window is None:
        window = covering_window(size, glimpses.shape[-1], canvas, align_corners)
    elements = 4 * position.shape[1] * window**2
    count = n_pieces(len(position), elements) if works_in_pieces(position.device) else 1
    pieces = zip(*(field.tensor_split(count) for field in fields), strict=True)
    drawn = [
        _composite(g, p, s, t, d, canvas, window, alpha_noise, align_corners) for g, p, s, t, d in pieces
    ]
    if count == 1:
        return drawn[0]
    foregrounds, weights = zip(*drawn, strict=True)
    return torch.cat(foregrounds), torch.cat(weights)


def _fused(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    depth: Float[Tensor, "B N 1"],
    canvas: int,
    align_corners: bool,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    from dlp_dyn.kernels import composite as kernel  # needs Triton

    nearness = (-depth.float()).sigmoid()
    places = (position.float(), size.float(), transparency.float(), nearness)
    return kernel.composite(glimpses.float(), *places, canvas, align_corners)


def _composite(
    glimpses: Float[Tensor, "B N 4 S S"],
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    transparency: Float[Tensor, "B N 1"],
    depth: Float[Tensor, "B N 1"],
    canvas: int,
    window: int,
    alpha_noise: float,
    align_corners: bool,
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    b, n = position.shape[:2]
    glimpses, position, size = glimpses.float(), position.float(), size.float()
    side = glimpses.shape[-1]
    with torch.no_grad():
        reach = canvas - 1 if align_corners else canvas
        centre = (position + 1) * (0.5 * reach) - (0.0 if align_corners else 0.5)
        first = (centre - 0.5 * (window - 1)).nan_to_num(0.0).round().clamp(0, canvas - window).long()
        pixel = first[..., None] + torch.arange(window, device=first.device)
        columns, rows = pixel.unbind(2)
        image = torch.arange(b, device=first.device)[:, None, None, None] * canvas
        index = ((image + rows[..., :, None]) * canvas + columns[..., None, :]).flatten(0, 1)
        noise = None
        if alpha_noise > 0:
            noise = alpha_noise * torch.randn(b * n, window, window, device=first.device)
    u = _across_glimpse(pixel, position, size, canvas, align_corners)
    samples = (u + 1) * (0.5 * (side - 1)) if align_corners else (u + 1) * (0.5 * side) - 0.5
    across, down = samples.flatten(0, 1).unbind(1)
    foreground, background = blend(
        glimpses.flatten(0, 1),
        across,
        down,
        transparency.float().flatten(0, 1)[..., None],
        (-depth.float()).sigmoid().flatten(0, 1)[..., None],
        index,
        noise,
        b * canvas * canvas,
    )
    shape = (-1, b, canvas, canvas)
    return foreground.view(shape).transpose(0, 1), background.view(shape).transpose(0, 1)


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
        pixel = torch.arange(canvas, device=position.device)
        centred = pixel - position[..., None] * (0.5 * (canvas - 1 if align_corners else canvas))
        first = (canvas - side) // 2
        nearest = centred.round()
        inside = ((nearest >= first) & (nearest < first + side)).float()
        cover = torch.einsum("bnh,bnw->bhw", inside[:, :, 1] * weight, inside[:, :, 0])
        return cover.clamp(0, 1)[:, None]


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
