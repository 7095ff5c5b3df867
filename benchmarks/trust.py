"""Whether imagined rollouts are stopped where they are wrong: how often, and how far things are from the truth there.

python -m benchmarks.trust push --data held_out.h5 [--blocks 25]
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.strided import read_strided
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.imagination import Trust
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel

WRONG = 0.1  # image sides that a rollout is off on average, from which on it is called wrong
STARTS = 3  # rollouts of an episode begin at so many of its moments


@dataclass(frozen=True)
class Rolled:
    """Rollouts (R) of T steps. errors: mean distance of what is on from where it really was, in image sides.
    lost: at this step, by each sign."""

    errors: Float[np.ndarray, "R T"]
    lost: dict[str, Bool[np.ndarray, "R T"]]


@torch.no_grad()
def roll(model: VideoModel, rollouts: Rollouts, blocks: int, trust: Trust) -> Rolled:
    """Of all episodes of the file that are long enough, with their own actions, from one frame on."""
    starts, actions, truth = [], [], []
    stride = model.cfg.stride
    for i in range(rollouts.n_episodes):
        n = (int(rollouts.episode_lengths[i]) - 1) // stride + 1
        if n <= blocks + STARTS:
            continue
        episode = read_strided(rollouts, i, n, stride)
        scene = model.follow(to_images(episode.frames)[None].split(64, 1))
        for first in np.linspace(0, n - blocks - 2, STARTS).astype(int):
            starts.append(scene[:, first : first + 1])
            truth.append(scene[:, first + 1 : first + 1 + blocks])
            assert episode.actions is not None
            actions.append(torch.from_numpy(episode.actions[first : first + blocks])[None])
    start, real, done = cat(starts, 0), cat(truth, 0), torch.cat(actions)
    signs = {
        "spread": Trust(trust.spread, 1e9, 10**6),
        "motion": Trust(1e9, trust.motion, 10**6),
        "objects": Trust(1e9, 1e9, trust.objects),
    }
    errors, lost = [], {name: [] for name in signs}
    before, on = start[:, 0], start.particles.visible[:, 0]
    for t, step in enumerate(unroll(model.dynamics, start, blocks, Conditions(done.float()))):
        far = (step.drawn.particles.position - real.particles.position[:, t]).norm(dim=-1) / 2
        errors.append((far * on).sum(1) / on.sum(1))
        for name, sign in signs.items():
            lost[name].append(sign.lost(start[:, 0], before, step.scenes))
        before = step.drawn
    return Rolled(_rows(errors), {name: _rows(values) for name, values in lost.items()})


def _rows(values: Sequence[Tensor]) -> np.ndarray:
    return torch.stack(list(values), 1).numpy()


def table(rolled: Rolled) -> str:
    """By sign, and by any of them: rollouts that it stops, and the errors of those and of the others at those steps."""
    r, t = rolled.errors.shape
    any_of = np.logical_or.reduce(list(rolled.lost.values()))
    lines = [
        f"{r} rollouts of {t} steps; mean error {rolled.errors.mean():.3f} image sides, "
        f"{100 * (rolled.errors > WRONG).mean():.1f} % of all steps wrong (more than {WRONG})",
        f"{'sign':8} {'stopped':>8} {'error there':>12} {'others then':>12} {'wrong there':>12} {'others then':>12} "
        f"{'kept: wrong':>12}",
    ]
    for name, lost in {**rolled.lost, "any": any_of}.items():
        stopped = lost.any(1)
        first = np.where(stopped, lost.argmax(1), t)
        there = rolled.errors[stopped, first[stopped]]
        alive = np.arange(t) < first[:, None]  # steps that an agent would have seen
        others = np.concatenate([rolled.errors[alive[:, k], k] for k in first[stopped]] or [np.zeros(0)])

        def share(x: np.ndarray) -> str:
            return f"{100 * (x > WRONG).mean():.1f} %" if x.size else "-"

        def average(x: np.ndarray) -> str:
            return f"{x.mean():.3f}" if x.size else "-"

        lines.append(
            f"{name:8} {100 * stopped.mean():6.1f} % {average(there):>12} {average(others):>12} {share(there):>12} "
            f"{share(others):>12} {share(rolled.errors[alive]):>12}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("run", help="a run with dynamics, or a model that comes along")
    parser.add_argument("--data", required=True, help="a rollout file that the model was not trained on")
    parser.add_argument("--blocks", type=int, default=25, help="of a rollout (default: 25)")
    parser.add_argument("--spread", type=float, default=Trust.spread)
    parser.add_argument("--motion", type=float, default=Trust.motion)
    parser.add_argument("--objects", type=int, default=Trust.objects)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = load_video_model(args.run)
    trust = Trust(args.spread, args.motion, args.objects)
    print(table(roll(model, Rollouts(Path(args.data)), args.blocks, trust)))


if __name__ == "__main__":
    main()
