"""All glimpses of an image on one canvas, blended by depth."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.geometry import kernels
from dlp_dyn.geometry.blending import blend
from dlp_dyn.geometry.placing import across_glimpse
from dlp_dyn.nn.chunks import n_chunks, works_in_chunks
from dlp_dyn.nn.uncompiled import uncompiled


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


@uncompiled  # the size of windows depends on what is drawn
def _windowed(
    fields: tuple[Tensor, ...], canvas: int, window: int | None, alpha_noise: float, align_corners: bool
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 1 H W"]]:
    """The first five arguments of `composite`, in chunks where they pay."""
    glimpses, position, size = fields[:3]
    if alpha_noise > 0:
        window = canvas
    elif window is None:
        window = covering_window(size, glimpses.shape[-1], canvas, align_corners)
    elements = 4 * position.shape[1] * window**2
    count = n_chunks(len(position), elements) if works_in_chunks(position.device) else 1
    chunks = zip(*(field.tensor_split(count) for field in fields), strict=True)
    drawn = [
        _composite(g, p, s, t, d, canvas, window, alpha_noise, align_corners) for g, p, s, t, d in chunks
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
    from dlp_dyn.geometry.kernels import composite as kernel  # needs Triton

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
    u = across_glimpse(pixel, position, size, canvas, align_corners)
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
