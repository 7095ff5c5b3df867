"""The Chamfer reward: how far the particles of now are from those of the goal, without ground truth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dlp_dyn.settings import Positive, check

LOST = 1.0  # what a particle without a match costs


@dataclass(frozen=True)
class Things:
    """Foreground particles in image coordinates. `present` is false for those that are off or not of interest."""

    position: Float[np.ndarray, "*B N 2"]
    features: Float[np.ndarray, "*B N F"]
    present: Bool[np.ndarray, "*B N"]


@dataclass(frozen=True)
class ChamferConfig:
    """Distances are those of image coordinates, where the picture's side is 2.

    plain: each particle is matched to the nearest one of the other set that can be the same thing; means both ways.
    Unmatched ones cost 1.
    density: ECRL's (arXiv 2404.01220): matched to the one most alike, those that share a match count once, all the
    unmatched ones of a side together cost 1.
    capped: as plain, but distances end at `cap`, which a particle that is missing costs too. So taking particles
    away from the state never raises the reward, and it lies in [-1, 0].
    """

    kind: Literal["plain", "density", "capped"] = "capped"
    """How matches and missing particles count."""
    match: Positive = 6.0
    """Features that differ by no more (squared, summed) can be the same thing. They come normalised, of
    variance 1 each; 6 is ECRL's."""
    norm: Literal["l1", "l2"] = "l2"
    """Of the distance; ECRL measures positions in L1."""
    cap: Positive = 2.0
    """The largest distance, and the price of a missing particle; of the capped kind."""

    def __post_init__(self) -> None:
        check(self, "reward.chamfer")


class ChamferReward:
    """`reward(achieved, desired)` of packed particles; `things` unpacks them and picks those of interest.

    float64, and the reward of many pairs equals those of single ones to the last bit. ECRL's factor of 2 is left out.
    """

    def __init__(self, cfg: ChamferConfig, things: Callable[[np.ndarray], Things]) -> None:
        self.cfg, self.things = cfg, things

    def __call__(
        self, achieved: Float[np.ndarray, "*B N D"], desired: Float[np.ndarray, "*B M D"]
    ) -> Float[np.ndarray, "*B"]:
        batch = achieved.shape[:-2]
        pairs = [self.things(x.reshape(-1, *x.shape[-2:])) for x in (achieved, desired)]
        return chamfer(self.cfg, *pairs).reshape(batch)


def chamfer(cfg: ChamferConfig, state: Things, goal: Things) -> Float[np.ndarray, " B"]:
    """Minus the distance between two sets; -1 where one of them is empty."""
    distance = _distances(state.position, goal.position, cfg.norm)
    unlike = _square_distances(state.features, goal.features)
    fits = (unlike <= cfg.match) & state.present[..., :, None] & goal.present[..., None, :]
    if cfg.kind == "density":
        one_way = _density(distance, unlike, fits, goal.present)
        distance, unlike, fits = (x.swapaxes(-1, -2) for x in (distance, unlike, fits))
        other_way = _density(distance, unlike, fits, state.present)
    else:
        if cfg.kind == "capped":
            distance = np.minimum(distance, cfg.cap) / cfg.cap
        cost = np.where(fits, distance, np.inf)
        n_goal = _count(goal.present)
        one_way = _mean(_nearest(cost, -2), goal.present, n_goal)
        of_state = _nearest(cost, -1)
        if cfg.kind == "capped":
            # As many as there should be: the best ones, and the rest is missing. With a mean over those that are
            # there, losing the farthest would pay.
            other_way = _mean_of_best(np.where(state.present, of_state, LOST), n_goal)
        else:
            other_way = _mean(of_state, state.present, _count(state.present))
    empty = ~(state.present.any(-1) & goal.present.any(-1))
    return np.where(empty, -1.0, -(one_way + other_way) / 2)


def _density(
    distance: Float[np.ndarray, "B N M"],
    unlike: Float[np.ndarray, "B N M"],
    fits: Bool[np.ndarray, "B N M"],
    present: Bool[np.ndarray, "B M"],
) -> Float[np.ndarray, " B"]:
    """ECRL's term from the second set to the first: the mean over groups that share a match of their means."""
    match = np.where(fits, unlike, np.inf).argmin(-2)
    matched = fits.any(-2)
    cost = np.take_along_axis(distance, match[..., None, :], -2)[..., 0, :]
    total, n_groups = np.zeros(match.shape[:-1]), np.zeros(match.shape[:-1])
    for i in range(distance.shape[-2]):
        group = matched & (match == i)
        size = _count(group)
        total = total + _sum(np.where(group, cost, 0.0)) / np.maximum(size, 1)
        n_groups = n_groups + (size > 0)
    lost = (present & ~matched).any(-1)
    return (total + lost) / np.maximum(n_groups + lost, 1)


def _nearest(cost: Float[np.ndarray, "B N M"], axis: int) -> Float[np.ndarray, "B K"]:
    nearest = cost.min(axis)
    return np.where(np.isfinite(nearest), nearest, LOST)


def _mean(
    x: Float[np.ndarray, "B N"], present: Bool[np.ndarray, "B N"], count: Int[np.ndarray, " B"]
) -> Float[np.ndarray, " B"]:
    return _sum(np.where(present, x, 0.0)) / np.maximum(count, 1)


def _mean_of_best(x: Float[np.ndarray, "B N"], count: Int[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """Of the `count` smallest; those that there are too few of count as lost."""
    n = x.shape[-1]
    kept = np.arange(n) < count[..., None]
    total = _sum(np.where(kept, np.sort(x, -1), 0.0)) + LOST * np.maximum(count - n, 0)
    return total / np.maximum(count, 1)


def _distances(
    a: Float[np.ndarray, "B N 2"], b: Float[np.ndarray, "B M 2"], norm: str
) -> Float[np.ndarray, "B N M"]:
    if norm == "l2":
        return np.sqrt(_square_distances(a, b))
    gap = np.abs(a[..., :, None, :].astype(np.float64) - b[..., None, :, :])
    return gap[..., 0] + gap[..., 1]


# Sums go column by column: the order in which NumPy sums an axis depends on the shape of the whole array.


def _square_distances(
    a: Float[np.ndarray, "B N F"], b: Float[np.ndarray, "B M F"]
) -> Float[np.ndarray, "B N M"]:
    total = np.zeros((*a.shape[:-1], b.shape[-2]))
    for i in range(a.shape[-1]):
        gap = a[..., :, None, i].astype(np.float64) - b[..., None, :, i]
        total = total + gap * gap
    return total


def _sum(x: Float[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
    total = np.zeros(x.shape[:-1])
    for i in range(x.shape[-1]):
        total = total + x[..., i]
    return total


def _count(x: Bool[np.ndarray, "B N"]) -> Int[np.ndarray, " B"]:
    return x.sum(-1)
