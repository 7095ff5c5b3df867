"""TwoRoom: a dot to its place in the other room, near by or far away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from dlp_dyn.planning.costs import DEFAULT
from dlp_dyn.planning.stage import Stage
from dlp_dyn.planning.tasks.base import NO_SETTINGS, Aim, Places, Problem, Staged, World, seeded
from dlp_dyn.planning.tasks.pairs import any_pair, recorded_pairs

ENV = "envs:TwoRoom-v0"
_WALL = (107.0, 117.0)  # its sides, in pixels of 224
_RADIUS = 7.0  # of the dot


@dataclass(frozen=True)
class TwoRoom:
    """envs:TwoRoom-v0: 16 (moderate) or 8 (strict) pixels of 224 from the goal.

    pairs: "near" are 25 steps of the wheel's noisy expert apart, 50 steps, as the published protocol has them; "door"
    are 25 steps of `envs.two_room:Wanderer` apart, in opposite rooms and clear of the wall, 50 steps; "far" are uniform
    in opposite rooms, 100 steps.
    """

    pairs: Literal["near", "door", "far"] = "near"

    prices = DEFAULT
    pushed = False
    aim: Aim = "all"

    @property
    def name(self) -> str:
        return "tworoom" if self.pairs == "near" else f"tworoom-{self.pairs}"

    @property
    def budget(self) -> int:
        return 100 if self.pairs == "far" else 50

    @property
    def holds(self) -> Mapping[str, int]:
        return {"moderate": 1, "strict": 1}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        if self.pairs == "far":
            return seeded(n, seed)
        if self.pairs == "door":
            return recorded_pairs(ENV, "envs.two_room:Wanderer", n, seed, _through_the_door)
        return recorded_pairs(ENV, "envs.two_room:Expert", n, seed, any_pair)

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> World:
        return _TwoRoomWorld(image_size, settings)


def _through_the_door(start: Float[np.ndarray, " 2"], goal: Float[np.ndarray, " 2"]) -> bool:
    left, right = sorted((start[0], goal[0]))
    return bool(left < _WALL[0] - _RADIUS and right > _WALL[1] + _RADIUS)


class _TwoRoomWorld(Staged):
    def __init__(self, image_size: int, settings: Mapping[str, Any]) -> None:
        super().__init__(Stage(ENV, image_size, {"image_size": image_size, **settings}))

    def solved(self) -> Mapping[str, bool]:
        return {"moderate": self.stage.info["is_success"], "strict": self.stage.info["is_near"]}

    def places(self) -> Places:
        return _of_224(self.stage.info["state"])[None]

    def things(self) -> Places:
        return self.places()

    def trial(self, actions: Float[np.ndarray, "S T A"]) -> Float[np.ndarray, "S T 1 2"]:
        env: Any = self.stage.env.unwrapped
        return _of_224(env.trial(actions))[..., None, :]

    def goal_places(self) -> Places:
        return _of_224(self.stage.info["goal_state"])[None]

    def straight(self) -> Float[np.ndarray, " A"]:
        way = self.stage.info["goal_state"] - self.stage.info["state"]
        return (way / max(float(np.abs(way).max()), 5.0)).astype(np.float32)


def _of_224(pixels: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 2"]:
    return ((pixels + 0.5) / 112 - 1).astype(np.float32)
