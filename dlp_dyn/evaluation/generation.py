"""Generated clips against real ones, none of which belong together: how many things, how fast, how varied."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

from dlp_dyn.evaluation.motion_statistics import motion_curves
from dlp_dyn.evaluation.trajectories import Trajectories


@dataclass(frozen=True)
class ClipStatistics:
    """Means over clips and frames after the first.

    objects: visible ones in a frame. overlaps: share of frames with two nearer than nine tenths of a diameter; NaN
    without one. speed, speed_std: of what moves, pixels a frame. energy: half the sum of squared speeds of a frame.
    energy_change: of a clip's energy from its first third to its last, as a share of the first; mean of sizes.
    """

    objects: float
    overlaps: float
    speed: float
    speed_std: float
    energy: float
    energy_change: float


def statistics(clips: Trajectories, side: int, diameter: float | None = None) -> ClipStatistics:
    """side: of the images in pixels. diameter: of objects, in image sides."""
    sizes = None if diameter is None else np.full(len(clips.position), diameter)
    curves = motion_curves(clips, side, sizes)
    third = max(curves["energy"].shape[1] // 3, 1)
    first, last = curves["energy"][:, :third].mean(1), curves["energy"][:, -third:].mean(1)
    moving = first > 0
    change = np.abs(last[moving] / first[moving] - 1)
    speeds = speed_values(clips, side)
    return ClipStatistics(
        objects=float(curves["objects"].mean()),
        overlaps=float(curves["overlaps"].mean()) if "overlaps" in curves else float("nan"),
        speed=float(speeds.mean()) if len(speeds) else float("nan"),
        speed_std=float(speeds.std()) if len(speeds) else float("nan"),
        energy=float(curves["energy"].mean()),
        energy_change=float(change.mean()) if moving.any() else float("nan"),
    )


def speed_values(clips: Trajectories, side: int) -> Float[np.ndarray, " n"]:
    """Every motion between frames of what is visible in both, in pixels a frame."""
    speed = side * np.linalg.norm(np.diff(clips.position, axis=1), axis=-1)
    return speed[clips.visible[:, 1:] & clips.visible[:, :-1]]


def speed_distance(clips: Trajectories, reference: Trajectories, side: int) -> float:
    """Of the two distributions of speeds, in pixels a frame (Wasserstein, order 1); NaN where one has none."""
    speeds = speed_values(clips, side), speed_values(reference, side)
    return float(wasserstein_distance(*speeds)) if all(map(len, speeds)) else float("nan")


def diversity(clips: Trajectories) -> float:
    """Mean distance of two clips' first frames, in image sides: of objects matched one to one (Hungarian algorithm).

    Over consecutive pairs. Near 0 where all clips begin alike; where one has an object more, it is left out.
    """
    first = clips.frames(0, 1)
    found = [p[v] for p, v in zip(first.position[:, 0], first.visible[:, 0], strict=True)]
    gaps = []
    for a, b in zip(found[:-1:2], found[1::2], strict=True):
        if len(a) and len(b):
            gap = np.linalg.norm(a[:, None] - b, axis=-1)
            gaps.append(gap[linear_sum_assignment(gap)].mean())
    return float(np.mean(gaps)) if gaps else float("nan")
