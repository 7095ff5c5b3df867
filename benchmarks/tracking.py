"""Which strategy keeps an object in its slot: tracker, grid and match on the same image model and the same clips.

python -m benchmarks.tracking RUN --data F
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from dlp_dyn import checkpoint
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.evaluation import trajectories
from dlp_dyn.evaluation.trajectories import Trajectories
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import ON
from dlp_dyn.tracking.build import build_tracking
from dlp_dyn.tracking.config import TrackingConfig

KINDS = ("match", "tracker", "grid")
_NEAR = 2.0  # pixels within which an object counts as found


@dataclass(frozen=True)
class Kept:
    """Figures of one strategy.

    switches: share of the steps of an object at which it is found in another slot than a frame before. lost: share of
    objects that the slot of the first frame no longer follows, all frames together. error: distance of that slot from
    the object while it follows, pixels. on: particles that are on. found: share of objects with a particle within 2
    pixels. slots: particles that dynamics have to carry. ms: a frame, one episode at a time.
    """

    switches: float
    lost: float
    error: float
    found: float
    on: float
    slots: int
    ms: float


@torch.inference_mode()
def measure(kind: Any, model: DLP, rollouts: Rollouts, episodes: int) -> Kept:
    strategy, side = build_tracking(TrackingConfig(kind), model.cfg), model.cfg.image_size
    rows = []
    for number in rollouts.part("test")[:episodes]:
        episode = rollouts.episode(int(number))
        assert episode.states is not None
        video = torch.from_numpy(episode.frames).movedim(-1, -3).float()[None] / 255
        begun = time.perf_counter()
        encoding, _ = strategy.encode(model.encoder, video)
        ms = 1e3 * (time.perf_counter() - begun) / len(episode)
        found = trajectories.of_particles(encoding.scene.particles, side)
        truth = trajectories.of_states([episode.states], side)
        rows.append((*_follow(found, truth, side), found.visible.sum(-1).mean(), found.visible.shape[-1], ms))
    switches, lost, error, seen, on, slots, _ = np.nanmean(np.array(rows, float), 0).tolist()
    return Kept(switches, lost, error, seen, on, int(slots), float(np.median([row[-1] for row in rows])))


def _follow(found: Trajectories, truth: Trajectories, side: int) -> tuple[float, float, float, float]:
    slot = trajectories.match_first(found, truth)[0]
    gap = np.linalg.norm(found.position[0][:, slot] - truth.position[0], axis=-1)
    kept = found.visible[0][:, slot] & (gap < trajectories.LOST) & (slot >= 0)
    nearest = np.stack([_nearest(found, truth, t, side) for t in range(truth.position.shape[1])])
    seen = (nearest[1:] >= 0) & (nearest[:-1] >= 0)
    switches = (nearest[1:] != nearest[:-1])[seen].mean() if seen.any() else np.nan
    error = side * gap[kept].mean() if kept.any() else np.nan
    return float(switches), float(1 - kept.mean()), float(error), float((nearest >= 0).mean())


def _nearest(found: Trajectories, truth: Trajectories, t: int, side: int) -> np.ndarray:
    """The slot of the particle that each object is seen by in a frame, or -1."""
    on = np.flatnonzero(found.visible[0, t])
    slot = np.full(truth.position.shape[2], -1)
    gap = side * np.linalg.norm(truth.position[0, t][:, None] - found.position[0, t, on], axis=-1)
    rows, columns = linear_sum_assignment(gap)
    near = gap[rows, columns] < _NEAR
    slot[rows[near]] = on[columns[near]]
    return slot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder of an image model or a video model")
    parser.add_argument("--data", required=True, help="rollout file with ground truth")
    parser.add_argument("--episodes", type=int, default=20, help="(default: 20)")
    args = parser.parse_args()
    model, rollouts = checkpoint.load_model(args.run), Rollouts(args.data)
    table = Table(title=f"{args.run} on {args.episodes} test episodes of {args.data}")
    for name in ("strategy", *Kept.__dataclass_fields__):
        table.add_column(name, no_wrap=True)
    for kind in KINDS:
        kept = measure(kind, model, rollouts, args.episodes)
        table.add_row(kind, *(f"{getattr(kept, name):.4g}" for name in Kept.__dataclass_fields__))
    Console(width=120).print(table)
    print(f"a particle is on above {ON}; {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
