"""What an evaluation needs of a task: problems, worlds that pose them, and predicates of success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.planning.costs import DEFAULT, Prices
from dlp_dyn.planning.stage import Stage

Places = Float[np.ndarray, "N 2"]


@dataclass(frozen=True)
class Problem:
    """A start and a goal. seed: of the environment. start, goal: states to restore, for tasks that have them.
    actions: that were recorded on the way from one to the other."""

    seed: int
    start: Any = None
    goal: Any = None
    actions: Float[np.ndarray, "T A"] | None = None


@runtime_checkable
class World(Protocol):
    """An environment that poses a problem and is played.

    Places are true ones, from -1 to 1 across the picture, of the things that count; baselines and the report of what
    went wrong read them, the planner does not.
    """

    space: gym.Space

    def begin(self, problem: Problem) -> UInt8[np.ndarray, "H W 3"]: ...

    def step(self, action: Float[np.ndarray, " A"]) -> UInt8[np.ndarray, "H W 3"]: ...

    def goal_picture(self) -> UInt8[np.ndarray, "H W 3"]: ...

    def solved(self) -> Mapping[str, bool]:
        """By name of the predicate, at this moment."""
        ...

    def places(self) -> Places: ...

    def goal_places(self) -> Places: ...

    def straight(self) -> Float[np.ndarray, " A"]:
        """The action of who walks straight ahead."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Task(Protocol):
    """Problems of one kind. holds: for how many moments in a row each predicate has to be true. prices: of its cost.
    pushed: what counts is moved by something else that acts, which is drawn behind it (see `goals.Approach`)."""

    prices: Prices
    pushed: bool

    @property
    def name(self) -> str: ...

    @property
    def budget(self) -> int: ...

    @property
    def holds(self) -> Mapping[str, int]: ...

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        """Not solved at the start, and of no data that a model was trained on."""
        ...

    def world(self, image_size: int) -> World: ...


class _Staged:
    """The part of a world that its stage plays; problems are seeds."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.space = stage, stage.env.action_space

    def begin(self, problem: Problem) -> UInt8[np.ndarray, "H W 3"]:
        return self.stage.reset(problem.seed)

    def step(self, action: Float[np.ndarray, " A"]) -> UInt8[np.ndarray, "H W 3"]:
        return self.stage.step(action)

    def goal_picture(self) -> UInt8[np.ndarray, "H W 3"]:
        return self.stage.goal()

    def close(self) -> None:
        self.stage.close()


def _seeds(n: int, seed: int) -> Sequence[Problem]:
    """Problems of seeds that no rollout file begins with."""
    rng = np.random.default_rng([seed, 7_919])
    return [Problem(int(s)) for s in rng.integers(2**31, size=n)]


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

    @property
    def holds(self) -> Mapping[str, int]:
        return {"all": 1, "half": 1}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        return _seeds(n, seed)

    def world(self, image_size: int) -> World:
        return _PushWorld(self, image_size)


class _PushWorld(_Staged):
    def __init__(self, task: Push, image_size: int) -> None:
        super().__init__(
            Stage("envs:Push-v0", image_size, {"n_objects": task.n_objects, "time_limit": 10**6})
        )

    def solved(self) -> Mapping[str, bool]:
        each = self.stage.info["object_success"]
        return {"all": bool(each.all()), "half": bool(each.mean() >= 0.5)}

    def places(self) -> Places:
        return self.stage.observation["achieved_goal"][:, :2]

    def goal_places(self) -> Places:
        return self.stage.observation["desired_goal"][:, :2]

    def straight(self) -> Float[np.ndarray, " A"]:
        """Toward the goal of the object that is farthest from it: who does not know that things are pushed."""
        gaps = np.linalg.norm(self.places() - self.goal_places(), axis=1)
        pusher = self.stage.observation["observation"][0, :2]
        way = self.goal_places()[gaps.argmax()] - pusher
        return np.clip(way / 0.1, -1, 1).astype(np.float32)


@dataclass(frozen=True)
class TwoRoomFar:
    """envs:TwoRoom-v0, start and goal uniform in opposite rooms: 16 (moderate) or 8 (strict) pixels of 224."""

    prices = DEFAULT
    pushed = False
    name = "tworoom-far"
    budget = 100

    @property
    def holds(self) -> Mapping[str, int]:
        return {"moderate": 1, "strict": 1}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        return _seeds(n, seed)

    def world(self, image_size: int) -> World:
        return _TwoRoomWorld(image_size)


class _TwoRoomWorld(_Staged):
    def __init__(self, image_size: int) -> None:
        super().__init__(Stage("envs:TwoRoom-v0", image_size, {"image_size": image_size}))

    def solved(self) -> Mapping[str, bool]:
        return {"moderate": self.stage.info["is_success"], "strict": self.stage.info["is_near"]}

    def places(self) -> Places:
        return _of_224(self.stage.info["position"])

    def goal_places(self) -> Places:
        return _of_224(self.stage.info["goal_position"])

    def straight(self) -> Float[np.ndarray, " A"]:
        way = self.stage.info["goal_position"] - self.stage.info["position"]
        return (way / max(float(np.abs(way).max()), 5.0)).astype(np.float32)


def _of_224(pixels: Float[np.ndarray, "2"]) -> Places:
    return ((pixels + 0.5) / 112 - 1)[None].astype(np.float32)


TASKS: Mapping[str, Task] = {task.name: task for task in (Push(1), Push(2), Push(3), TwoRoomFar())}
