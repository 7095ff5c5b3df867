"""Whether a style model learns two sides, and what its coarse and fine styles stand for: pictures of 8 pixels.

    python -m benchmarks.styles write halves.h5
    dlp-dyn train soft_intro_style data.path=halves.h5 soft_intro.style.image_size=8
    python -m benchmarks.styles halves.h5 RUN...

One half of a picture, left, right, upper or lower, has one of six colours and one of three patterns: none, stripes
upright or level, each a pixel wide, so that of 4 pixels' pictures no one can tell the pattern. What is drawn counts as
the nearest of these 72 pictures. Pairs are of test frames that differ in all three.
"""

import sys
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter
from dlp_dyn.evaluation.images import spread_frames
from dlp_dyn.metrics import psnr
from dlp_dyn.soft_intro.families import load
from dlp_dyn.soft_intro.style import StyleVAE

SIDE = 8
_EPISODES, _LENGTH = (300, 40, 40), 20
_COLOURS = np.array([[6, 1, 1], [1, 6, 1], [1, 1, 6], [6, 6, 1], [6, 1, 6], [1, 6, 6]]) / 10
_BACKGROUND, _STRIPE = 0.1, 0.6  # share of the colour by which stripes are lighter and darker than it
_FACTORS = ("half", "colour", "pattern")
_N = 2000  # samples
_NEAR = 20.0  # dB from the nearest picture, for a sample to count as one


def all_pictures() -> tuple[UInt8[np.ndarray, "72 8 8 3"], Int[np.ndarray, "72 3"]]:
    """Every picture there is, and its half, colour and pattern."""
    at = np.arange(SIDE)
    first, odd = at < SIDE // 2, np.where(at % 2, _STRIPE, -_STRIPE)
    halves = [np.broadcast_to(side, (SIDE, SIDE)) for side in (first, ~first)]
    halves += [half.T for half in halves]
    light = [np.zeros((SIDE, SIDE)), np.broadcast_to(odd, (SIDE, SIDE))]
    light += [light[1].T]
    kinds = np.array(list(product(range(len(halves)), range(len(_COLOURS)), range(len(light)))))
    shown = [
        np.where(halves[half][..., None], _COLOURS[colour] * (1 + light[pattern][..., None]), _BACKGROUND)
        for half, colour, pattern in kinds
    ]
    return np.rint(255 * np.stack(shown)).astype(np.uint8), kinds


def write(path: str) -> None:
    pictures, _ = all_pictures()
    rng = np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for part, n in zip(PARTS, _EPISODES, strict=True):
            for _ in range(n):
                writer.append(Episode(pictures[rng.integers(len(pictures), size=_LENGTH)]), part)


def nearest(drawn: Float[Tensor, "B 3 S S"]) -> tuple[Int[np.ndarray, "B 3"], Float[np.ndarray, " B"]]:
    """Half, colour and pattern of the picture that is nearest, and how near, in dB."""
    pictures, kinds = all_pictures()
    true = to_images(pictures).flatten(1)
    gap = torch.cdist(drawn.clamp(0, 1).flatten(1), true) ** 2 / true.shape[1]
    found = gap.min(1)
    return kinds[found.indices.numpy()], (-10 * found.values.clamp_min(1e-10).log10()).numpy()


def figures(model: StyleVAE, frames: UInt8[np.ndarray, "F 8 8 3"]) -> str:
    x = to_images(frames)
    own, again = nearest(x)[0], model.reconstruct(x).clamp(0, 1)
    right = (nearest(again)[0] == own).mean(0)
    sampled, gap = nearest(model.sample(_N, torch.Generator().manual_seed(1)))
    seen = len(np.unique(sampled[gap > _NEAR], axis=0))
    lines = [
        f"reconstructions: {float(psnr(x, again).mean()):.1f} dB, "
        + ", ".join(f"{name} {share:.2f}" for name, share in zip(_FACTORS, right, strict=True)),
        f"samples: {(gap > _NEAR).mean():.2f} within {_NEAR:g} dB of a picture, {seen} of 72 among them",
        "| finer styles from | " + " | ".join(f"{f} of coarse, fine" for f in _FACTORS) + " |",
    ]
    other = np.roll(np.arange(len(x)), len(x) // 2)
    differ = (own != own[other]).all(1)
    coarse, fine = x[differ], x[other][differ]
    for first in range(1, 2 * model.own.n_levels):
        mixed = nearest(model.mix(coarse, fine, first))[0]
        shares = [(mixed == kinds).mean(0) for kinds in (own[differ], own[other][differ])]
        cells = [f"{a:.2f}, {b:.2f}" for a, b in zip(*shares, strict=True)]
        lines.append(f"| {first} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(data: str, runs: list[str]) -> None:
    frames = spread_frames(Rollouts(data), "test", 400).frames
    for run in runs:
        model = load(run)
        assert isinstance(model, StyleVAE)
        print(f"{run}\n{figures(model, frames)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2:])
