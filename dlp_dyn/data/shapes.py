"""Shapes: pictures of a few flat coloured shapes on cyan, with ground truth.

The pictures on which DLPv2 and DLPv3 are compared, drawn anew from their description (there: scikit-image's
`random_shapes` with red 255 replaced by 0): 2 to 5 rectangles, circles, triangles and ellipses of 11 to 13
pixels that do not touch the same pixel.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dlp_dyn.data.balls import to_position
from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter
from dlp_dyn.errors import InputError

BACKGROUND = (0, 255, 255)
MAX_INTENSITY = 200
SIDES = (11, 12, 13)
MIN_SHAPES, MAX_SHAPES = 2, 5
TRIALS = 100


def _stencils() -> tuple[Bool[np.ndarray, "K S S"], Float[np.ndarray, "K 2"]]:
    """Every shape in every size at the top left of a window, and its (width, height) in pixels."""
    y, x = np.mgrid[: SIDES[-1], : SIDES[-1]] + 0.5
    masks, boxes = [], []
    for width in SIDES:
        for height in SIDES:
            for kind in ("rectangle", "ellipse", "circle", "triangle"):
                w, h = width, height
                if kind == "circle":
                    h = w
                elif kind == "triangle":  # equal sides, the base below
                    h = int(np.ceil(w * np.sqrt(3) / 2))
                if kind == "rectangle":
                    mask = (x < w) & (y < h)
                elif kind == "triangle":
                    mask = (abs(x - w / 2) <= (y + 0.5) / h * w / 2) & (y < h)
                else:
                    mask = (2 * x / w - 1) ** 2 + (2 * y / h - 1) ** 2 <= 1
                masks.append(mask)
                boxes.append((w, h))
    return np.array(masks), np.array(boxes, np.float32)


def draw_shapes(
    rng: np.random.Generator, n_images: int, image_size: int = 64
) -> tuple[UInt8[np.ndarray, "N H W 3"], dict[str, np.ndarray]]:
    """Pictures and their ground truth (see `writer.Episode`); slots without a shape are not `visible`."""
    if image_size < 2 * SIDES[-1]:
        raise InputError(f"image_size {image_size}: shapes need {2 * SIDES[-1]} pixels or more")
    stencils, boxes = _stencils()
    window = np.arange(SIDES[-1])
    side = image_size + SIDES[-1]  # a window may reach over the edge where its shape does not
    images = np.empty((n_images, side, side, 3), np.uint8)
    images[:] = BACKGROUND
    masks = np.zeros((n_images, side, side), np.uint8)
    n_shapes = rng.integers(MIN_SHAPES, MAX_SHAPES + 1, n_images)
    centre = np.zeros((n_images, MAX_SHAPES, 2), np.float32)
    size = np.zeros((n_images, MAX_SHAPES, 2), np.float32)
    visible = np.zeros((n_images, MAX_SHAPES), bool)
    colour = rng.integers(0, MAX_INTENSITY + 1, (n_images, MAX_SHAPES, 3))
    for slot in range(MAX_SHAPES):
        todo = np.flatnonzero(n_shapes > slot)
        for _ in range(TRIALS):
            if not len(todo):
                break
            kind = rng.integers(len(stencils), size=len(todo))
            corner = rng.integers(0, image_size - boxes[kind].astype(int) + 1)
            at = (
                todo[:, None, None],
                (corner[:, 1, None] + window)[:, :, None],
                (corner[:, 0, None] + window)[:, None, :],
            )
            mask = stencils[kind]
            free = ~((masks[at] > 0) & mask).any((1, 2))
            at, mask, done = tuple(i[free] for i in at), mask[free], todo[free]
            masks[at] = np.where(mask, slot + 1, masks[at])
            images[at] = np.where(mask[..., None], colour[done, slot, None, None], images[at])
            centre[done, slot] = corner[free] + boxes[kind[free]] / 2
            size[done, slot] = boxes[kind[free]]
            visible[done, slot] = True
            todo = todo[~free]
    states = {
        "position": np.where(visible[..., None], to_position(centre, image_size), 0),
        "size": size / image_size,
        "colour": np.where(visible[..., None], colour / np.float32(255), 0),
        "visible": visible,
        "masks": masks[:, :image_size, :image_size],
    }
    return images[:, :image_size, :image_size], states


def write_shapes(
    path: str | Path,
    n_images: Sequence[int] = (40_000, 2_000, 2_000),
    *,
    image_size: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes a rollout file of (train, validation, test) pictures, each an episode of one frame.

    `progress` is told how many pictures are done.
    """
    done = 0
    with RolloutWriter(path, seed=seed, attributes={"env_id": "shapes", "seed": seed}) as writer:
        for number, (part, n) in enumerate(zip(PARTS, n_images, strict=True)):
            rng = np.random.default_rng([seed, number])
            for start in range(0, n, 500):
                images, states = draw_shapes(rng, min(500, n - start), image_size)
                for i in range(len(images)):
                    one = slice(i, i + 1)
                    writer.append(Episode(images[one], states={k: v[one] for k, v in states.items()}), part)
                done += len(images)
                if progress:
                    progress(done)
