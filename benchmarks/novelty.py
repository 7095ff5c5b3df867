"""How well novelty tells pictures of unseen things from held-out ones, and the stranger among its particles: AUROC.

python -m benchmarks.novelty balls|push RUN...

RUN: of image models of Balls, or of Push with three squares; a table is printed for each.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dlp_dyn.checkpoint import load_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.balls import COLOURS, render, to_position
from dlp_dyn.image.model import DLP
from dlp_dyn.metrics import auroc
from dlp_dyn.observation.novelty import novelty
from envs.drawing import PALETTE, Painter
from envs.push import PushEnv
from envs.table import FOOTPRINTS, Shape

_N, _AT_ONCE = 200, 50
_RADIUS, _BALLS = 8.0, 3
_UNSEEN = np.array([[0, 1, 0], [1, 1, 1]], np.float32)
_ON = 0.5  # transparency from which a particle is one
_SQUARES = 3  # of Push: red, green and blue
Frames = UInt8[np.ndarray, "N S S 3"]
Places = Float[np.ndarray, "N O 2"]


def frames(
    n: int,
    side: int,
    rng: np.random.Generator,
    n_balls: int = _BALLS,
    radius: float = _RADIUS,
    towards_unseen: float = 0.0,
    square: bool = False,
) -> tuple[Frames, Places]:
    """Balls apart from each other, of colours that models have seen, and where they are, in pixels.

    towards_unseen: how far the first one's colour is on the way to one that no model has seen, 0 to 1. square: whether
    the first one is a square of the same area.
    """
    pixels = np.stack([_apart(rng, n_balls, side, radius) for _ in range(n)])
    colour = COLOURS[rng.integers(len(COLOURS), size=(n, n_balls))]
    unseen = _UNSEEN[rng.integers(len(_UNSEEN), size=n)]
    colour[:, 0] += towards_unseen * (unseen - colour[:, 0])
    pictures, _ = render(pixels, colour, radius, side)
    if square:
        half = radius * np.sqrt(np.pi) / 2
        grid = np.arange(side) + 0.5
        for picture, at, rgb in zip(pictures, pixels[:, 0], colour[:, 0], strict=True):
            disc = (np.abs(grid - at[0]) <= radius + 1)[None] & (np.abs(grid - at[1]) <= radius + 1)[:, None]
            picture[disc] = 0
            inside = (np.abs(grid - at[0]) <= half)[None] & (np.abs(grid - at[1]) <= half)[:, None]
            picture[inside] = (255 * rgb).astype(np.uint8)
    return pictures, pixels


def tables(
    n: int,
    side: int,
    rng: np.random.Generator,
    colours: Sequence[int] = range(_SQUARES),
    towards_unseen: float = 0.0,
    shape: Shape | None = None,
) -> tuple[Frames, Places]:
    """Beginnings of Push, and where the first object is, in pixels.

    colours: of each object, by its place in the palette, of which models have seen the first three. towards_unseen: how
    far the first one's is on the way to one of the others. shape: of the first one, where it is no square.
    """
    env = PushEnv(n_objects=len(colours), image_size=side)
    pictures, places = [], []
    for _ in range(n):
        env.reset(seed=int(rng.integers(2**31)))
        rgb = PALETTE[list(colours)].astype(float)
        rgb[0] += towards_unseen * (PALETTE[rng.integers(_SQUARES, len(PALETTE))] - rgb[0])
        env.colours = np.rint(rgb).astype(np.uint8)
        picture = env.render()
        if shape is not None:
            picture = _with_first(env, shape)
        pictures.append(picture)
        places.append((env.table.poses[:1, :2] + 1) * (side - 1) / 2 + 0.5)
    return np.stack(pictures), np.stack(places)


def _with_first(env: PushEnv, shape: Shape) -> UInt8[np.ndarray, "S S 3"]:
    """The picture with the first object in another shape."""
    table, only = env.table, np.arange(env.n_objects) == 0
    others = env.painter.draw(table.poses, env.colours, ~only, table.pusher)
    painter = Painter(env.painter.image_size, env.layout, FOOTPRINTS[shape])
    alone = painter.draw(table.poses, env.colours, only, None)
    empty = painter.draw(table.poses, env.colours, np.zeros_like(only), None)
    changed = (alone != empty).any(-1, keepdims=True)
    return np.where(changed, alone, others)


def _apart(rng: np.random.Generator, n: int, side: int, radius: float) -> Float[np.ndarray, "n 2"]:
    while True:
        at = rng.uniform(radius + 1, side - radius - 1, (n, 2))
        distance = np.linalg.norm(at[:, None] - at, axis=-1) + 1e9 * np.eye(n)
        if distance.min() > 2 * radius + 3:
            return at


def scores(model: DLP, pictures: Frames) -> dict[str, Float[np.ndarray, " N"]]:
    """Of pictures."""
    found = [novelty(model, part) for part in to_images(pictures).split(_AT_ONCE)]
    parts = {
        "error": [f.error for f in found],
        "KL": [f.kl for f in found],
        "both": [f.picture for f in found],
        "largest particle": [f.particles.amax(1) for f in found],
    }
    return {name: torch.cat(values).numpy() for name, values in parts.items()}


@torch.no_grad()
def among_particles(model: DLP, pictures: Frames, pixels: Places) -> float:
    """AUROC of the particle nearest to the first ball against all others that are on, of the same pictures."""
    stranger, others = [], []
    places = torch.from_numpy(to_position(pixels[:, 0], model.cfg.image_size)).float()
    for part, at in zip(to_images(pictures).split(_AT_ONCE), places.split(_AT_ONCE), strict=True):
        particles, found = model.encode(part).mean.particles, novelty(model, part).particles
        on = particles.transparency[..., 0] > _ON
        distance = (particles.position - at[:, None]).norm(dim=-1).masked_fill(~on, torch.inf)
        nearest = torch.zeros_like(on).scatter(1, distance.argmin(1, keepdim=True), True)
        stranger.append(found[nearest & on])
        others.append(found[~nearest & on])
    return auroc(torch.cat(others).numpy(), torch.cat(stranger).numpy())


def strange_balls(side: int, rng: np.random.Generator) -> dict[str, tuple[Frames, Places]]:
    return {
        "a green or white ball": frames(_N, side, rng, towards_unseen=1.0),
        "a ball half way to green or white": frames(_N, side, rng, towards_unseen=0.5),
        "a ball a fifth of the way": frames(_N, side, rng, towards_unseen=0.2),
        "a ball a twentieth of the way": frames(_N, side, rng, towards_unseen=0.05),
        "a square": frames(_N, side, rng, square=True),
        "four balls": frames(_N, side, rng, n_balls=4),
        "five balls, smaller": frames(_N, side, rng, n_balls=5, radius=7.0),
        "balls a twentieth larger": frames(_N, side, rng, radius=1.05 * _RADIUS),
        "balls half as large again, two": frames(_N, side, rng, n_balls=2, radius=1.5 * _RADIUS),
    }


def strange_tables(side: int, rng: np.random.Generator) -> dict[str, tuple[Frames, Places]]:
    return {
        "a yellow, magenta or cyan square": tables(_N, side, rng, towards_unseen=1.0),
        "a square half way there": tables(_N, side, rng, towards_unseen=0.5),
        "a square a fifth of the way": tables(_N, side, rng, towards_unseen=0.2),
        "a disc": tables(_N, side, rng, shape="disc"),
        "a T": tables(_N, side, rng, shape="tee"),
        "four squares": tables(_N, side, rng, [0, 1, 2, 0]),
        "five squares": tables(_N, side, rng, [0, 1, 2, 0, 1]),
        "two squares": tables(_N, side, rng, [0, 1]),
        "two red squares, one green": tables(_N, side, rng, [0, 0, 1]),
    }


def main(data: str, runs: list[str]) -> None:
    usual_pictures, strange = {"balls": (frames, strange_balls), "push": (tables, strange_tables)}[data]
    for run in runs:
        model = load_model(run)
        side = model.cfg.image_size
        rng = np.random.default_rng(0)
        usual = scores(model, usual_pictures(_N, side, rng)[0])
        columns = [*usual, "which particle"]
        print(f"\n{Path(run).name}\n\n| unseen | {' | '.join(columns)} |\n| --- |{' --- |' * len(columns)}")
        for name, (pictures, pixels) in strange(side, rng).items():
            row = [f"{auroc(usual[kind], values):.2f}" for kind, values in scores(model, pictures).items()]
            one = name.startswith("a ")
            row.append(f"{among_particles(model, pictures, pixels):.2f}" if one else "")
            print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
