"""Where things are over time, simple ways to go on, and how far a prediction is from what happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from dlp_dyn.particles import Particles

LOST = 0.25  # of the image side: a particle farther from its object than this has lost it


@dataclass(frozen=True)
class Trajectories:
    """N slots over T frames.

    position: (x, y) in image sides, from the centre of the image. visible: what counts; an object that can be seen, a
    particle that is on.
    """

    position: Float[np.ndarray, "B T N 2"]
    visible: Bool[np.ndarray, "B T N"]

    def frames(self, begin: int, end: int | None = None) -> "Trajectories":
        """From frame `begin` to before frame `end`."""
        return Trajectories(self.position[:, begin:end], self.visible[:, begin:end])


def image_sides(side: int) -> float:
    """Image sides in a unit of position: -1 and 1 are the centres of the first and last of `side` pixels."""
    return 0.5 * (side - 1) / side


def of_particles(particles: Particles, side: int) -> Trajectories:
    """Particles over (B, T)."""
    position = particles.position.float().cpu().numpy() * image_sides(side)
    return Trajectories(position, particles.visible.cpu().numpy())


def of_states(states: Sequence[Mapping[str, np.ndarray]], side: int) -> Trajectories:
    """The ground truth of equally long clips (see `Episode`)."""
    position = np.stack([s["position"] for s in states]) * image_sides(side)
    visible = np.stack([s.get("visible", np.ones(s["position"].shape[:2])) for s in states])
    return Trajectories(position, visible.astype(bool))


def still(seen: Trajectories, horizon: int) -> Trajectories:
    """What is seen, and then the last frame for `horizon` frames."""
    return straight(seen, horizon, np.zeros_like(seen.position[:, 0]))


def straight(
    seen: Trajectories, horizon: int, velocity: Float[np.ndarray, "B N 2"] | None = None
) -> Trajectories:
    """What is seen, and then straight lines, through walls and each other: nothing bounces and nothing vanishes.

    velocity: image sides a frame; without one, the last motion that is seen, none after a single frame.
    """
    last = seen.position[:, -1]
    if velocity is None:
        velocity = last - seen.position[:, -2] if seen.position.shape[1] > 1 else np.zeros_like(last)
    ahead = np.arange(1, horizon + 1)[:, None, None]
    position = last[:, None] + ahead * velocity[:, None]
    visible = np.repeat(seen.visible[:, -1:], horizon, 1)
    return Trajectories(
        np.concatenate([seen.position, position], 1), np.concatenate([seen.visible, visible], 1)
    )


def match_first(found: Trajectories, truth: Trajectories) -> Int[np.ndarray, "B O"]:
    """The slot of each object that is visible in the first frame, among the slots that are on there, or -1.

    One to one, with the least sum of distances (Hungarian algorithm).
    """
    slots = np.full(truth.visible[:, 0].shape, -1)
    for clip, slot in enumerate(slots):
        on, objects = np.flatnonzero(found.visible[clip, 0]), np.flatnonzero(truth.visible[clip, 0])
        gap = truth.position[clip, 0, objects][:, None] - found.position[clip, 0, on]
        rows, columns = linear_sum_assignment(np.linalg.norm(gap, axis=-1))
        slot[objects[rows]] = on[columns]
    return slots


def follow(
    found: Trajectories, truth: Trajectories, slot: Int[np.ndarray, "B O"]
) -> dict[str, Float[np.ndarray, "B T"]]:
    """How well slots follow the objects that they belong to.

    slot: of each object, for good; -1 for none (see `match_first`).
    error: mean distance, in image sides, over visible objects with a slot, whether the slot is still on or not (G-SWM's
    MED, Lin et al. 2020); NaN where there is none. lost: share of the visible objects without a slot, or whose slot is
    off or farther away than a quarter of the image side; NaN where no object is visible.
    """
    index = np.broadcast_to(np.maximum(slot, 0)[:, None], truth.visible.shape)
    gap = np.linalg.norm(np.take_along_axis(found.position, index[..., None], 2) - truth.position, axis=-1)
    matched = np.broadcast_to((slot >= 0)[:, None], index.shape)
    kept = matched & np.take_along_axis(found.visible, index, 2) & (gap < LOST)
    return {
        "error": mean_over(gap, matched & truth.visible),
        "lost": mean_over(~kept, truth.visible),
    }


def mean_over(values: np.ndarray, where: Bool[np.ndarray, "*S"]) -> np.ndarray:
    """Mean along the last axis over the places that count; NaN where there is none."""
    n = where.sum(-1)
    return np.where(n > 0, (values * where).sum(-1) / np.maximum(n, 1), np.nan)
