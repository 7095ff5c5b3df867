"""What an evaluation needs of a task: problems, worlds that pose them, and predicates of success."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.planning.costs import Prices
from dlp_dyn.planning.stage import Stage

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
Places = Float[np.ndarray, "N 2"]
Aim = Literal["all", "moved", "places"]
"""What a plan brings about: all that the goal picture shows, all but what acts, or things at places by hand."""


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
class Simulable(World, Protocol):
    """A world in which actions can be tried out, with nothing done to it."""

    def things(self) -> Places:
        """All that moves: first what counts, and last what acts, where that is another thing."""
        ...

    def trial(self, actions: Float[np.ndarray, "S T A"]) -> Float[np.ndarray, "S T N 2"]:
        """Where all things would be after each action of each of S attempts."""
        ...


@runtime_checkable
class Task(Protocol):
    """Problems of one kind. holds: for how many moments in a row each predicate has to be true. prices: of its cost.
    pushed: what counts is moved by something else that acts, which is drawn behind it (see `goals.Approach`)."""

    prices: Prices
    pushed: bool

    @property
    def aim(self) -> Aim: ...

    @property
    def name(self) -> str: ...

    @property
    def budget(self) -> int: ...

    @property
    def holds(self) -> Mapping[str, int]: ...

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        """Not solved at the start, and of no data that a model was trained on."""
        ...

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> World:
        """settings: arguments of the environment, beside those of the task."""
        ...


class Staged:
    """The part of a world that its stage plays; problems are seeds, with states where they have some."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.space = stage, stage.env.action_space

    def begin(self, problem: Problem) -> UInt8[np.ndarray, "H W 3"]:
        states = {"state": problem.start, "goal_state": problem.goal}
        return self.stage.reset(problem.seed, {name: x for name, x in states.items() if x is not None})

    def step(self, action: Float[np.ndarray, " A"]) -> UInt8[np.ndarray, "H W 3"]:
        return self.stage.step(action)

    def goal_picture(self) -> UInt8[np.ndarray, "H W 3"]:
        return self.stage.goal()

    def close(self) -> None:
        self.stage.close()


def seeded(n: int, seed: int) -> Sequence[Problem]:
    """Problems of seeds that no rollout file begins with."""
    rng = np.random.default_rng([seed, 7_919])
    return [Problem(int(s)) for s in rng.integers(2**31, size=n)]
