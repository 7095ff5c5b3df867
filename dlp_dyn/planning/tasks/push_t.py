"""PushT of stable-worldmodel: a T and the disc that pushes it, to where a picture shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from dlp_dyn.planning.costs import Prices
from dlp_dyn.planning.stage import Stage
from dlp_dyn.planning.tasks.base import NO_SETTINGS, Aim, Places, Problem, Staged, World
from dlp_dyn.planning.tasks.pairs import recorded_pairs

ENV, POLICY = "envs:SWM-PushT-v0", "envs.swm_push_t:Weak"
_THERE = 20.0  # pixels of 512 from a place by hand
_FARTHEST = 130.0  # of such a place from the block
_EDGE = 110.0  # and, at least, from the table's


@dataclass(frozen=True)
class PushT:
    """envs:SWM-PushT-v0: start and goal are 25 steps of the wheel's weak policy apart; 50 steps.

    moderate: agent and block within 20 pixels of 512 and 20 degrees. strict: the block alone within 10 and 10 degrees,
    for 3 steps. aim: "all" plans for both, "moved" for the block alone, and strict comes first; "places" brings the
    block's centre within 20 pixels of a place up to 130 away, whatever its angle, in 100 steps.
    """

    aim: Aim = "all"

    prices = Prices()
    pushed = True

    @property
    def name(self) -> str:
        return {"all": "pusht", "moved": "pusht-block", "places": "pusht-place"}[self.aim]

    @property
    def budget(self) -> int:
        return 100 if self.aim == "places" else 50

    @property
    def holds(self) -> Mapping[str, int]:
        known = {"all": ("moderate", "strict"), "moved": ("strict", "moderate"), "places": ("there",)}
        return {mode: {"moderate": 1, "strict": 3, "there": 1}[mode] for mode in known[self.aim]}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        pairs = recorded_pairs(ENV, POLICY, n, seed, _inside)
        if self.aim != "places":
            return pairs
        return [
            replace(p, goal=_elsewhere(p.start, np.random.default_rng(p.seed)), actions=None) for p in pairs
        ]

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> World:
        return _PushTWorld(self, image_size, settings)


def _inside(start: Float[np.ndarray, " 7"], goal: Float[np.ndarray, " 7"]) -> bool:
    """Nothing is outside the picture."""
    places = np.concatenate([start[:4], goal[:4]])
    return bool((places > 0).all() and (places < 512).all())


def _elsewhere(state: Float[np.ndarray, " 7"], rng: np.random.Generator) -> Float[np.ndarray, " 7"]:
    """The state with the block, as it is turned, at another place."""
    far, least = np.zeros(2), 2 * _THERE
    low, high = np.minimum(_EDGE, state[2:4]), np.maximum(512 - _EDGE, state[2:4])
    while np.linalg.norm(far) < least or not ((state[2:4] + far > low) & (state[2:4] + far < high)).all():
        angle = rng.uniform(0, 2 * np.pi)
        far = rng.uniform(least, _FARTHEST) * np.array([np.cos(angle), np.sin(angle)])
    return np.concatenate([state[:2], state[2:4] + far, state[4:]])


class _PushTWorld(Staged):
    def __init__(self, task: PushT, image_size: int, settings: Mapping[str, Any]) -> None:
        super().__init__(Stage(ENV, image_size, {"image_size": image_size, **settings}))
        self.aim = task.aim

    def solved(self) -> Mapping[str, bool]:
        info = self.stage.info
        if self.aim == "places":
            far = np.linalg.norm(self.places() - self.goal_places()) * 256
            return {"there": bool(far < _THERE)}
        return {"moderate": info["is_success"], "strict": info["is_near"]}

    def places(self) -> Places:
        return self._of(self.stage.info["places"])

    def goal_places(self) -> Places:
        return self._of(self.stage.info["goal_places"])

    def straight(self) -> Float[np.ndarray, " A"]:
        """Who goes to its own place, or to the block's."""
        info = self.stage.info
        place = info["goal_places"][0 if self.aim == "all" else 1]
        return np.clip((place - info["places"][0]) * 2.56, -1, 1).astype(np.float32)

    def _of(self, both: Float[np.ndarray, "2 2"]) -> Places:
        return both if self.aim == "all" else both[1:]
