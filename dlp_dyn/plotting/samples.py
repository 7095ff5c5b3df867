"""Pictures of what Soft-IntroVAE draws: densities of the plane, point clouds, images."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn.plotting import pictures

Picture = UInt8[np.ndarray, "_ _ 3"]
_SIDE = 240  # pixels
_DARK = np.array([68, 1, 84]), np.array([33, 145, 140]), np.array([253, 231, 37])  # low, middle, high


def points_picture(points: Float[np.ndarray, "n 2"], limit: float) -> Picture:
    """How many points there are in each of 120 x 120 cells, the root of it as colour; y points up."""
    counts = np.histogram2d(points[:, 0], points[:, 1], _SIDE // 2, [[-limit, limit]] * 2)[0]
    return _coloured(
        np.sqrt(np.minimum(counts, np.quantile(counts[counts > 0], 0.98) if counts.any() else 1))
    )


def likelihood_picture(negative_elbo: Float[np.ndarray, "side side"]) -> Picture:
    """exp(-negative ELBO) as colour; the first axis is x."""
    return _coloured(np.exp(negative_elbo.min() - negative_elbo))


def _coloured(values: Float[np.ndarray, "side side"]) -> Picture:
    share = values / max(values.max(), 1e-12)
    low, middle, high = _DARK
    first, second = np.clip(2 * share, 0, 1)[..., None], np.clip(2 * share - 1, 0, 1)[..., None]
    picture = low + first * (middle - low) + second * (high - middle)
    upright = picture.transpose(1, 0, 2)[::-1].astype(np.uint8)
    times = _SIDE // len(upright)
    return np.ascontiguousarray(upright.repeat(times, 0).repeat(times, 1))


def cloud_picture(cloud: Float[np.ndarray, "n 3"]) -> Picture:
    """Dots seen from above at an angle; nearer ones are darker."""
    turn, lift = np.deg2rad(30), np.deg2rad(25)
    x = cloud[:, 0] * np.cos(turn) - cloud[:, 1] * np.sin(turn)
    away = cloud[:, 0] * np.sin(turn) + cloud[:, 1] * np.cos(turn)
    y = cloud[:, 2] * np.cos(lift) + away * np.sin(lift)
    near = cloud[:, 2] * np.sin(lift) - away * np.cos(lift)
    picture = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    shade = np.clip(200 - 360 * (near + 0.25), 0, 225).astype(np.uint8)
    row, column = ((0.5 + 0.9 * v) * _SIDE for v in (-y, x))
    for i in np.argsort(near):
        r, c = int(row[i]), int(column[i])
        if 0 < r < _SIDE - 1 and 0 < c < _SIDE - 1:
            picture[r : r + 2, c : c + 2] = (shade[i] // 2, shade[i] // 2, 80 + shade[i] // 2)
    return picture


def image_picture(image: Float[np.ndarray, "C H W"]) -> Picture:
    """Enlarged; grey ones become RGB."""
    rgb = torch.from_numpy(image).expand(3, -1, -1)
    return pictures.enlarge(pictures.to_uint8(rgb))


def sample_picture(one: Callable[[np.ndarray], Picture], columns: Mapping[str, Tensor]) -> Picture:
    """A column for each set of drawings, under its name; `one` makes a picture of one of them."""
    arrays = {name: values.detach().float().cpu().numpy() for name, values in columns.items()}
    n = min(len(values) for values in arrays.values())
    rows: Sequence[Mapping[str, Picture]] = [
        {name: one(values[i]) for name, values in arrays.items()} for i in range(n)
    ]
    return pictures.label_grid([dict(row) for row in rows])
