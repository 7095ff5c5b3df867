"""Push: objects to a goal picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dlp_dyn.planning.costs import Prices
from dlp_dyn.planning.stage import Stage
from dlp_dyn.planning.tasks.base import NO_SETTINGS, Aim, Places, Problem, Staged, World, seeded


@dataclass(frozen=True)
class Push:
    """envs:Push-v0: all objects within 0.1 of their places in the goal picture, whatever their angles.

    Starts and goals are drawn by the environment, from seeds that no rollout file begins with.
    """

    n_objects: int = 2

    @property
    def name(self) -> str:
        return f"push{self.n_objects}"

    @property
    def budget(self) -> int:
        return 50 * self.n_objects

    prices = Prices(appearance=0.0)
    pushed = True
    aim: Aim = "all"

    @property
    def holds(self) -> Mapping[str, int]:
        return {"all": 1, "half": 1}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        return seeded(n, seed)

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> World:
        return _PushWorld(self, image_size, settings)


class _PushWorld(Staged):
    def __init__(self, task: Push, image_size: int, settings: Mapping[str, Any]) -> None:
        own = {"n_objects": task.n_objects, "time_limit": 10**6}
        super().__init__(Stage("envs:Push-v0", image_size, {**own, **settings}))

    def solved(self) -> Mapping[str, bool]:
        each = self.stage.info["object_success"]
        return {"all": bool(each.all()), "half": bool(each.mean() >= 0.5)}

    def places(self) -> Places:
        return self.stage.observation["achieved_goal"][:, :2]

    def things(self) -> Places:
        rows = self.stage.observation["observation"][:, :2]  # the pusher comes first
        return np.concatenate([rows[1:], rows[:1]])

    def trial(self, actions: Float[np.ndarray, "S T A"]) -> Float[np.ndarray, "S T N 2"]:
        env: Any = self.stage.env.unwrapped
        return env.trial(actions)

    def goal_places(self) -> Places:
        return self.stage.observation["desired_goal"][:, :2]

    def straight(self) -> Float[np.ndarray, " A"]:
        """Toward the goal of the object that is farthest from it: who does not know that things are pushed."""
        gaps = np.linalg.norm(self.places() - self.goal_places(), axis=1)
        pusher = self.stage.observation["observation"][0, :2]
        way = self.goal_places()[gaps.argmax()] - pusher
        return np.clip(way / 0.1, -1, 1).astype(np.float32)
