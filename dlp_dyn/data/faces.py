"""Faces: simple drawn faces with five landmarks, a stand-in for photographs that need a download.

A head of any skin colour before a two-coloured background, turned, tilted, near or far; eyes that look around, a nose,
a mouth that opens and smiles. Frames hold a margin around what a model sees, for warps.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter

LANDMARKS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
_AT_ONCE = 250
_HEAD = (0.42, 0.56)  # half axes at distance 1, half the frame being 1
_EYES, _NOSE, _MOUTH = (0.17, -0.14), (0.0, 0.08), (0.15, 0.28)  # on the head, of a face that looks ahead


def draw_faces(
    rng: np.random.Generator, n: int, side: int = 80
) -> tuple[UInt8[np.ndarray, "N H W 3"], Float[np.ndarray, "N 5 2"]]:
    """Pictures, and their landmarks as (x, y) in [-1, 1], where those are the centres of the first and last pixel."""
    steps = np.linspace(-1, 1, side, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1)[None]
    turn, smile = rng.uniform(-0.12, 0.12, n), rng.uniform(-0.06, 0.06, n)
    gap, opened = rng.uniform(0.85, 1.15, n), rng.uniform(0.02, 0.08, n)
    landmarks = _landmarks(turn, smile, gap)
    centre, scale = rng.uniform(-0.12, 0.12, (n, 2)), rng.uniform(0.85, 1.15, n)
    tilt = rng.uniform(-0.35, 0.35, n)
    rotation = np.stack([np.cos(tilt), -np.sin(tilt), np.sin(tilt), np.cos(tilt)], -1).reshape(n, 2, 2)
    rotation = (scale[:, None, None] * rotation).astype(np.float32)
    local = (grid - centre[:, None, None].astype(np.float32)) @ np.linalg.inv(rotation).transpose(0, 2, 1)[
        :, None
    ]
    soft = 0.7 * side * scale[:, None, None].astype(np.float32)
    picture = _background(rng, n, grid)

    def paint(at: np.ndarray, axes: Sequence[np.ndarray | float], colour: np.ndarray) -> None:
        half = np.stack([np.broadcast_to(a, n) for a in axes], -1)[:, None, None].astype(np.float32)
        r = np.linalg.norm((local - at[:, None, None].astype(np.float32)) / half, axis=-1)
        share = np.clip(0.5 + (1 - r) * half.min(-1) * soft, 0, 1)[..., None]
        picture[:] = picture * (1 - share) + share * colour[:, None, None]

    skin = _skin(rng, n)
    middle = np.zeros((n, 2))
    paint(
        middle + np.array([0, -0.12]), (_HEAD[0] * 1.1, _HEAD[1] * 1.02), rng.uniform(0.05, 0.6, (n, 3))
    )  # hair
    paint(middle + np.array([0, 0.03]), _HEAD, skin)
    look = rng.uniform(-0.03, 0.03, (n, 2))
    iris = rng.uniform(0.05, 0.5, (n, 3))
    for eye in (0, 1):
        paint(landmarks[:, eye], (0.085, 0.055), np.full((n, 3), 0.95))
        paint(landmarks[:, eye] + look * (1, 0.5), (0.04, 0.045), iris)
    paint(landmarks[:, 2], (0.045, 0.09), 0.75 * skin)
    lips = np.stack([rng.uniform(0.5, 0.9, n), *rng.uniform(0.1, 0.35, (2, n))], -1)
    mouth = landmarks[:, 3:].mean(1)
    width = (landmarks[:, 4, 0] - landmarks[:, 3, 0]) / 2
    paint(mouth + np.stack([0 * smile, 0.5 * smile], -1), (width, 0.03 + opened), lips)
    paint(mouth + np.stack([0 * smile, 0.5 * smile], -1), (0.7 * width, opened), np.full((n, 3), 0.15))
    noisy = picture + rng.normal(0, 0.01, picture.shape)
    placed = landmarks @ rotation.transpose(0, 2, 1) + centre[:, None]
    return (255 * np.clip(noisy, 0, 1)).astype(np.uint8), placed.astype(np.float32)


def _landmarks(turn: np.ndarray, smile: np.ndarray, gap: np.ndarray) -> Float[np.ndarray, "N 5 2"]:
    """On the head: a turned head moves all of them sideways, the nose farthest."""
    zero = np.zeros_like(turn)
    return np.stack(
        [
            np.stack([turn - gap * _EYES[0], zero + _EYES[1]], -1),
            np.stack([turn + gap * _EYES[0], zero + _EYES[1]], -1),
            np.stack([1.6 * turn + _NOSE[0], zero + _NOSE[1]], -1),
            np.stack([turn - gap * _MOUTH[0], _MOUTH[1] - smile], -1),
            np.stack([turn + gap * _MOUTH[0], _MOUTH[1] - smile], -1),
        ],
        1,
    )


def _skin(rng: np.random.Generator, n: int) -> Float[np.ndarray, "N 3"]:
    light = rng.uniform(0.35, 0.95, n)
    return np.stack([light, light * rng.uniform(0.68, 0.85, n), light * rng.uniform(0.5, 0.75, n)], -1)


def _background(rng: np.random.Generator, n: int, grid: np.ndarray) -> Float[np.ndarray, "N H W 3"]:
    """From one colour to another in any direction."""
    angle = rng.uniform(0, 2 * np.pi, n)
    direction = np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
    share = 0.5 + 0.35 * np.einsum("nhwc,nc->nhw", np.broadcast_to(grid, (n, *grid.shape[1:])), direction)
    first, second = rng.uniform(0, 1, (2, n, 1, 1, 3)).astype(np.float32)
    return (1 - share[..., None]) * first + share[..., None] * second


def write_faces(
    path: str | Path,
    n_images: Sequence[int] = (10_000, 500, 1_000),
    *,
    image_size: int = 80,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes a rollout file of (train, validation, test) pictures, each an episode of one frame.

    Landmarks are `states/position`, in the order of `LANDMARKS`. `progress` is told how many pictures are done.
    """
    done = 0
    with RolloutWriter(path, seed=seed, attributes={"env_id": "faces", "seed": seed}) as writer:
        for number, (part, n) in enumerate(zip(PARTS, n_images, strict=True)):
            rng = np.random.default_rng([seed, number])
            for start in range(0, n, _AT_ONCE):
                images, landmarks = draw_faces(rng, min(_AT_ONCE, n - start), image_size)
                for image, points in zip(images, landmarks, strict=True):
                    writer.append(Episode(image[None], states={"position": points[None]}), part)
                done += len(images)
                if progress:
                    progress(done)
