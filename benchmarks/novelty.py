"""How well novelty tells pictures of unseen things from held-out ones: AUROC, on Balls.

python -m benchmarks.novelty RUN...     runs of image models of Balls; prints a table for each
"""

import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dlp_dyn.checkpoint import load_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.balls import COLOURS, render
from dlp_dyn.image.model import DLP
from dlp_dyn.observation.novelty import novelty

_N, _AT_ONCE = 300, 50
_RADIUS, _BALLS = 8.0, 3
Frames = UInt8[np.ndarray, "N S S 3"]


def frames(
    n: int,
    side: int,
    rng: np.random.Generator,
    n_balls: int = _BALLS,
    radius: float = _RADIUS,
    new_colour: bool = False,
    square: bool = False,
) -> Frames:
    """Balls apart from each other, of colours that models have seen; or the first of them is a stranger."""
    pixels = np.stack([_apart(rng, n_balls, side, radius) for _ in range(n)])
    colour = COLOURS[rng.integers(len(COLOURS), size=(n, n_balls))]
    if new_colour:
        colour[:, 0] = np.array([[0, 1, 0], [1, 1, 1]], np.float32)[rng.integers(2, size=n)]
    pictures, _ = render(pixels, colour, radius, side)
    if square:
        half = radius * np.sqrt(np.pi) / 2  # of the same area
        grid = np.arange(side) + 0.5
        for picture, at, rgb in zip(pictures, pixels[:, 0], colour[:, 0], strict=True):
            disc = (np.abs(grid - at[0]) <= radius + 1)[None] & (np.abs(grid - at[1]) <= radius + 1)[:, None]
            picture[disc] = 0
            inside = (np.abs(grid - at[0]) <= half)[None] & (np.abs(grid - at[1]) <= half)[:, None]
            picture[inside] = (255 * rgb).astype(np.uint8)
    return pictures


def _apart(rng: np.random.Generator, n: int, side: int, radius: float) -> Float[np.ndarray, "n 2"]:
    while True:
        at = rng.uniform(radius + 1, side - radius - 1, (n, 2))
        distance = np.linalg.norm(at[:, None] - at, axis=-1) + 1e9 * np.eye(n)
        if distance.min() > 2 * radius + 3:
            return at


def scores(model: DLP, pictures: Frames) -> dict[str, Float[np.ndarray, " N"]]:
    found = [novelty(model, part) for part in to_images(pictures).split(_AT_ONCE)]
    parts = {
        "error": [f.error for f in found],
        "KL": [f.kl for f in found],
        "both": [f.picture for f in found],
        "largest particle": [f.particles.amax(1) for f in found],
    }
    return {name: torch.cat(values).numpy() for name, values in parts.items()}


def auroc(usual: Float[np.ndarray, " N"], strange: Float[np.ndarray, " M"]) -> float:
    """Probability that a strange picture scores higher than a usual one."""
    higher = (strange[:, None] > usual).mean()
    return float(higher + (strange[:, None] == usual).mean() / 2)


def main(runs: list[str]) -> None:
    for run in runs:
        model = load_model(run)
        side = model.cfg.image_size
        rng = np.random.default_rng(0)
        usual = scores(model, frames(_N, side, rng))
        strangers = {
            "colour": frames(_N, side, rng, new_colour=True),
            "square": frames(_N, side, rng, square=True),
            "5 balls": frames(_N, side, rng, n_balls=5, radius=7.0),
            "larger": frames(_N, side, rng, n_balls=2, radius=12.0),
        }
        print(f"\n{Path(run).name}\n\n| unseen | {' | '.join(usual)} |\n| --- |{' --- |' * len(usual)}")
        for name, pictures in strangers.items():
            row = [auroc(usual[kind], values) for kind, values in scores(model, pictures).items()]
            print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
