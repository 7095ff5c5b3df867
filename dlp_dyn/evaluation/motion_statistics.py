"""What a prediction has to keep when it can no longer be right: how many, how fast, and nothing inside each other.

Things that collide are chaotic: after some twenty frames, two exact simulations that began a tenth of a pixel apart are
in different places. Their distributions still agree.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import wasserstein_distance

from dlp_dyn.evaluation.trajectories import Trajectories, mean_over

TOLERANCE = 0.1  # of the diameter: nearer centres than that overlap


def diameters(
    states: Sequence[Mapping[str, np.ndarray]], visible: np.ndarray
) -> Float[np.ndarray, " B"] | None:
    """Of the smallest object seen in each clip, in image sides; None where sizes are unknown."""
    if not all("size" in s for s in states):
        return None
    size = np.stack([s["size"] for s in states]).mean(-1)
    smallest = np.where(visible, size, np.inf).min((1, 2))
    return np.where(np.isfinite(smallest), smallest, 0.0)


def motion_curves(
    clips: Trajectories, side: int, diameter: Float[np.ndarray, " B"] | None = None
) -> dict[str, Float[np.ndarray, "B H"]]:
    """Figures of every frame after the first, which only the first motion begins at.

    objects: how many are visible. overlaps: 1 where two visible ones have centres nearer than nine tenths of the
    diameter, else 0; without a diameter it is left out. speed: mean over what is visible now and was a frame ago, in
    pixels a frame; NaN without any. energy: half the sum of their squared speeds (mass 1), pixels^2 a frame^2.
    """
    speed, moving = _speeds(clips, side)
    curves = {
        "objects": clips.visible[:, 1:].sum(-1).astype(float),
        "speed": mean_over(speed, moving),
        "energy": 0.5 * (speed**2 * moving).sum(-1),
    }
    if diameter is not None:
        overlap = _nearest(clips.frames(1)) < (1 - TOLERANCE) * diameter[:, None]
        curves["overlaps"] = overlap.astype(float)
    return curves


def compare(
    clips: Trajectories, reference: Trajectories, side: int, diameter: Float[np.ndarray, " B"] | None = None
) -> dict[str, float]:
    """Figures of the last half of the frames after the first; what cannot be said is left out.

    objects, overlaps, energy: means of `motion_curves`. objects_right: share of the frames with as many visible ones
    as the reference has. speed, speed_std: of all motions together, pixels a frame. speed_distance: of their
    distribution from the reference's, pixels a frame (Wasserstein, order 1). energy_drift, energy_drift_std: change of
    a clip's mean energy since the first half, as a share of that: mean and standard deviation over clips.
    """
    curves = motion_curves(clips, side, diameter)
    n_frames = curves["objects"].shape[1]
    late = slice(n_frames // 2, None)
    figures = {name: values[:, late].mean() for name, values in curves.items() if name != "speed"}
    right = clips.visible.sum(-1) == reference.visible.sum(-1)
    figures["objects_right"] = right[:, 1:][:, late].mean()
    mine, others = (_flat_speeds(x, side, late) for x in (clips, reference))
    if len(mine):
        figures |= {"speed": mine.mean(), "speed_std": mine.std()}
    if len(mine) and len(others):
        figures["speed_distance"] = wasserstein_distance(mine, others)
    early = curves["energy"][:, : n_frames // 2]
    begun = early.mean(1) if early.size else np.zeros(len(clips.position))
    if (begun > 0).any():
        change = curves["energy"][:, late].mean(1)[begun > 0] / begun[begun > 0] - 1
        figures |= {"energy_drift": change.mean(), "energy_drift_std": change.std()}
    order = (
        "objects", "objects_right", "overlaps", "speed", "speed_std", "speed_distance",
        "energy", "energy_drift", "energy_drift_std",
    )  # fmt: skip
    return {name: float(figures[name]) for name in order if name in figures}


def _speeds(clips: Trajectories, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels a frame, and whose can be told."""
    speed = side * np.linalg.norm(np.diff(clips.position, axis=1), axis=-1)
    return speed, clips.visible[:, 1:] & clips.visible[:, :-1]


def _flat_speeds(clips: Trajectories, side: int, frames: slice) -> Float[np.ndarray, " n"]:
    speed, moving = _speeds(clips, side)
    return speed[:, frames][moving[:, frames]]


def _nearest(clips: Trajectories) -> Float[np.ndarray, "B T"]:
    """Distance of the two visible ones that are nearest to each other; infinite where there are fewer than two."""
    gap = np.linalg.norm(clips.position[:, :, :, None] - clips.position[:, :, None], axis=-1)
    pair = clips.visible[:, :, :, None] & clips.visible[:, :, None]
    pair &= ~np.eye(gap.shape[-1], dtype=bool)
    return np.where(pair, gap, np.inf).min((-1, -2))
