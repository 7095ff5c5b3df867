"""Where objects start and where they should go: one function for each kind of goal."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from dlp_dyn.errors import InputError
from envs.table import (
    CORRIDOR_END,
    CORRIDOR_WALLS,
    PUSHER_RADIUS,
    PUSHER_REACH,
    SMALL_HALF_WIDTH,
    TABLE_HALF_WIDTH,
    Footprint,
    Layout,
)

Task = Literal["free", "adjacent", "ordered", "sort"]

GAP = 0.03  # between any two things at the start
SHORTEST_WAY = 0.3  # between the start of an object and its goal
NEAR = 0.15  # how much farther than the least a way or the pusher is in an easy episode
SORT_RADIUS = 0.25  # of the spot of a colour: two objects find room in it
ORDERED_AT_MOST = 3  # objects in the corridor
ATTEMPTS = 1000
CANDIDATES = 64

# Named here, since in a function within a function they would be made anew at each call, and stay for a while.
Places = Float[np.ndarray, "K 2"]
Fits = Bool[np.ndarray, " K"]
Allowed = Callable[[int, Places], Fits]


@dataclass(frozen=True)
class Setting:
    """An episode's beginning. `poses` and `goals` are (x, y, angle); `groups` says which objects look alike."""

    poses: Float[np.ndarray, "N 3"]
    goals: Float[np.ndarray, "N 3"]
    pusher: Float[np.ndarray, " 2"]
    groups: Int[np.ndarray, " N"]


def layout_of(task: Task, small_table: bool) -> Layout:
    walls = CORRIDOR_WALLS if task == "ordered" else ()
    return Layout(SMALL_HALF_WIDTH if small_table else TABLE_HALF_WIDTH, not small_table, walls)


def draw_setting(
    rng: np.random.Generator,
    task: Task,
    n_objects: int,
    footprint: Footprint,
    layout: Layout,
    easy: bool = False,
) -> Setting:
    """A start without overlaps, and goals that can be reached, each a way off its object's start.

    easy: no goal is far from its object, nor the pusher from the nearest object.
    """
    farther = NEAR if easy else math.inf
    groups = np.arange(n_objects)
    inside = layout.half_width - footprint.radius
    separation = 2 * footprint.radius + GAP
    upright = np.zeros((n_objects, 1))
    if task == "free":
        places = scatter(rng, n_objects, separation, inside)
        goals = np.hstack([places, _angles(rng, n_objects)])
    elif task == "adjacent":
        goals = np.hstack([_cluster(rng, n_objects, footprint, layout.half_width), upright])
    elif task == "ordered":
        depth = -TABLE_HALF_WIDTH + 0.13 + 0.25 * rng.permutation(n_objects)
        goals = np.stack([depth, np.zeros(n_objects), np.zeros(n_objects)], axis=1)
    else:
        groups = groups % math.ceil(n_objects / 2)
        spots = scatter(rng, int(groups.max()) + 1, 2 * SORT_RADIUS + GAP, layout.half_width - SORT_RADIUS)
        goals = np.hstack([spots[groups], upright])

    outside = CORRIDOR_END + footprint.radius + 0.1 if layout.walls else -1.0

    def may_start(i: int, at: Places) -> Fits:
        way = _distances(at, goals[i, :2])
        return (way > SHORTEST_WAY) & (way < SHORTEST_WAY + farther) & (at[:, 0] > outside)

    starts = scatter(rng, n_objects, separation, inside, may_start)
    clear = footprint.radius + PUSHER_RADIUS + GAP

    def may_stand(_: int, at: Places) -> Fits:
        nearest = _distances(at[:, None], starts).min(1)
        return (nearest > clear) & (nearest < clear + farther) & (at[:, 0] > outside)

    pusher = scatter(rng, 1, 0.0, PUSHER_REACH, may_stand)[0]
    return Setting(np.hstack([starts, _angles(rng, n_objects)]), goals, pusher, groups)


def scatter(
    rng: np.random.Generator,
    n: int,
    separation: float,
    half_width: float,
    allowed: Allowed = lambda _, at: np.ones(len(at), bool),
) -> Float[np.ndarray, "n 2"]:
    """`n` random points of a square around the origin, no two nearer than `separation`.

    `allowed(i, candidates)` says where point `i` may lie. Raises InputError when they hardly ever fit.
    """
    for _ in range(ATTEMPTS):
        points = np.zeros((0, 2))
        for i in range(n):
            candidates = rng.uniform(-half_width, half_width, (CANDIDATES, 2))
            free = allowed(i, candidates) & (_distances(candidates[:, None], points) >= separation).all(1)
            if not free.any():
                break
            points = np.vstack([points, candidates[free.argmax()]])
        else:
            return points
    raise InputError(f"n_objects {n}: no room on the table for that many of this shape; use fewer")


def _cluster(
    rng: np.random.Generator, n: int, footprint: Footprint, half_width: float
) -> Float[np.ndarray, "n 2"]:
    """Places side by side on a square grid, grown one by one, somewhere on the table."""
    spacing = footprint.width + GAP
    inside = half_width - footprint.radius
    steps = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
    for _ in range(ATTEMPTS):
        cells = np.zeros((1, 2), int)
        while len(cells) < n:
            cell = cells[rng.integers(len(cells))] + steps[rng.integers(4)]
            if not (cells == cell).all(1).any():
                cells = np.vstack([cells, cell])
        places = (cells - cells.min(0)) * spacing
        room = 2 * inside - places.max(0)
        if (room >= 0).all():
            return places[rng.permutation(n)] - inside + rng.uniform(0, 1, 2) * room
    raise InputError(f"n_objects {n}: no room on the table for that many of this shape; use fewer")


def _angles(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n 1"]:
    return rng.uniform(-np.pi, np.pi, (n, 1))


def _distances(a: Float[np.ndarray, "*n 2"], b: Float[np.ndarray, "*m 2"]) -> Float[np.ndarray, "*k"]:
    return np.linalg.norm(a - b, axis=-1)
