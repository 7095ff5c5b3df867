"""What particles tell of true angles: a linear probe of the features of the particle that lies on an object.

    python -m benchmarks.probe runs/pusht pusht.h5 --object 1

The file has the true `states/angle` (radians, one for each object) beside `states/position`. The probe is ridge
regression to sine and cosine, fitted on frames of the training part and judged on the test part.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from dlp_dyn import checkpoint
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Particles

_NEAR_PX = 4.0
_RIDGE = 1e-3
_BATCH = 64


class Seen(NamedTuple):
    """Of frames: the particle on the object, and how far the nearest particles are from all objects, in pixels."""

    looks: Float[np.ndarray, "K D"]
    angle: Float[np.ndarray, " K"]
    found: float
    distance: Float[np.ndarray, "N O"]
    between: Float[np.ndarray, "N O"]


def look(model: DLP, rollouts: Rollouts, part: Part, n_frames: int, k: int) -> Seen:
    """Encode frames that are spread over a part."""
    episodes = rollouts.part(part)
    starts, ends = rollouts.episode_starts[episodes], rollouts.episode_ends[episodes]
    rows = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, n_frames).round().astype(int))]
    if "angle" not in rollouts.state_names:
        raise InputError(f"{rollouts.path}: no states/angle in it; give a file that has true angles")
    truth, half = rollouts.states_at(rows), (rollouts.image_size[0] - 1) / 2
    looks, distances = [], []
    for i in range(0, len(rows), _BATCH):
        frames = torch.from_numpy(rollouts.frames(rows[i : i + _BATCH])).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            p = model.encode(frames).mean.particles
        place = torch.from_numpy(truth["position"][i : i + _BATCH])
        distance = half * torch.cdist(place, p.position)
        distance = distance.masked_fill(~p.visible[:, None], torch.inf)
        nearest = distance.min(-1)
        distances.append(nearest.values.numpy())
        looks.append(_columns(p, nearest.indices[:, k]))
    distance = np.concatenate(distances)
    on = distance[:, k] < _NEAR_PX
    position = half * truth["position"]
    between = np.linalg.norm(position[:, [k]] - position, axis=-1)
    return Seen(np.concatenate(looks)[on], truth["angle"][on, k], float(on.mean()), distance, between)


def _columns(p: Particles, index: torch.Tensor) -> np.ndarray:
    """Features and sizes of the chosen particles."""
    every = torch.cat([p.features, p.scale], -1)
    return every.gather(1, index[:, None, None].expand(-1, 1, every.shape[-1]))[:, 0].numpy()


def probe(train: Seen, test: Seen, quadratic: bool) -> Float[np.ndarray, " K"]:
    """Errors of the angle in degrees."""
    mean, std = train.looks.mean(0), train.looks.std(0) + 1e-6

    def design(x: np.ndarray) -> np.ndarray:
        z = (x - mean) / std
        one = np.ones((len(z), 1))
        if not quadratic:
            return np.concatenate([one, z], 1)
        i, j = np.triu_indices(z.shape[1])
        return np.concatenate([one, z, z[:, i] * z[:, j]], 1)

    x, y = design(train.looks), np.stack([np.cos(train.angle), np.sin(train.angle)], -1)
    weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    cosine, sine = (design(test.looks) @ weights).T
    error = np.angle(np.exp(1j * (np.arctan2(sine, cosine) - test.angle)))
    return np.degrees(np.abs(error))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder of an image model")
    parser.add_argument("file", help="rollout file")
    parser.add_argument("--object", type=int, default=0, help="whose angle (default: 0)")
    parser.add_argument("--frames", type=int, default=2000, help="of each part, at most (default: 2000)")
    parser.add_argument("--contact", type=float, default=14.0, help="pixels between middles (default: 14)")
    args = parser.parse_args(words)
    model, rollouts = checkpoint.load_model(args.run).eval(), Rollouts(args.file)
    train, test = (
        look(model, rollouts, "train", args.frames, args.object),
        look(model, rollouts, "test", args.frames, args.object),
    )
    print("| probe | frames | found | mean error, degrees | median | 90 % |\n|---|---|---|---|---|---|")
    for name, quadratic in (("linear", False), ("linear on squares and products", True)):
        e = probe(train, test, quadratic)
        shown = " | ".join(f"{v:.1f}" for v in (e.mean(), np.median(e), np.quantile(e, 0.9)))
        print(f"| {name} | {len(e)} | {test.found:.3f} | {shown} |")
    others = [i for i in range(test.distance.shape[1]) if i != args.object]
    for i in others:
        touch = test.between[:, i] < args.contact
        d = test.distance[touch, i]
        print(
            f"object {i} in contact ({touch.sum()} frames): median {np.median(d):.2f} px, within 1 px "
            f"{(d < 1).mean():.3f}, within 2 px {(d < 2).mean():.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
