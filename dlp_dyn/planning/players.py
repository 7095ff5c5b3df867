"""Who is evaluated: a planner, and what to hold beside it."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dlp_dyn.particles import Particles
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.costs import DEFAULT, Prices
from dlp_dyn.planning.goals import Goal, GoalScene, Match, goal_scene
from dlp_dyn.planning.goals import Places as ByHand
from dlp_dyn.planning.reach import time_to_reach
from dlp_dyn.planning.tasks import Aim, Places, Problem, World

Picture = UInt8[np.ndarray, "H W 3"]
Frames = UInt8[np.ndarray, "B H W 3"]
Actions = Float[np.ndarray, "B A"]

FOUND = 0.1  # farthest that a particle may be from the thing that it stands for, in the units of positions
FORESEEN = (
    0.05  # how far targets may be on average from where they were expected a plan before, in image sides
)


@runtime_checkable
class Player(Protocol):
    """Acts in several worlds at once."""

    name: str

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None: ...

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:
        """frames: of these rows of the worlds."""
        ...


@runtime_checkable
class Searching(Player, Protocol):
    """Who makes plans. seconds: of CPU that its actions took. plans: that it made."""

    seconds: float
    plans: int


class Random:
    """Uniform actions within the bounds."""

    name = "random"

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:  # noqa: ARG002
        self.spaces = [world.space for world in worlds]
        for space, problem in zip(self.spaces, problems, strict=True):
            space.seed(problem.seed)

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:  # noqa: ARG002
        return np.stack([self.spaces[i].sample() for i in rows])


class Straight:
    """Walks straight ahead, whatever is in the way: what is solved without knowing how anything moves."""

    name = "straight"

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:  # noqa: ARG002
        self.worlds = worlds

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:  # noqa: ARG002
        return np.stack([self.worlds[i].straight() for i in rows])


class Replay:
    """Does what was recorded, and then rests."""

    name = "replay"

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:  # noqa: ARG002
        self.recorded = [problem.actions for problem in problems]
        self.done = [0] * len(problems)

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:  # noqa: ARG002
        return np.stack([self._next(i) for i in rows])

    def _next(self, i: int) -> Float[np.ndarray, " A"]:
        recorded, t = self.recorded[i], self.done[i]
        assert recorded is not None, "replay: the problem has no recorded actions"
        self.done[i] += 1
        return recorded[t] if t < len(recorded) else np.zeros_like(recorded[0])


class Planned:
    """A controller with goal pictures, which sees pictures alone.

    make: a controller for so many environments. aim: what of the goal counts. approach: what acts is drawn behind what
    it shall move. visited: episodes of particles, which tell how far a goal is (see `reach`); none measures it in the
    picture.
    seconds: of CPU that its actions took. plans: that it made.
    """

    name = "planned"

    def __init__(
        self,
        make: Callable[[int], Controller],
        prices: Prices = DEFAULT,
        match: Match = "now",
        aim: Aim = "all",
        approach: bool = False,
        visited: Sequence[Particles] = (),
    ) -> None:
        self.make, self.prices, self.approach = make, prices, approach
        self.aim: Aim = aim
        self.match: Match = match
        self.visited = visited
        self.seconds, self.plans = 0.0, 0

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:
        self.worlds, self.control = worlds, self.make(len(worlds))
        self.at_plan = [world.places() for world in worlds]
        start = time.process_time()
        for row, (world, problem, frame) in enumerate(zip(worlds, problems, frames, strict=True)):
            self.control.reset(self._goals(world, frame), row, problem.seed)
        self.seconds += time.process_time() - start
        self.found = [
            self._sees(world.places(), frame)
            and (self.aim == "places" or self._sees(world.goal_places(), world.goal_picture()))
            for world, frame in zip(worlds, frames, strict=True)
        ]

    def _goals(self, world: World, frame: Picture) -> list[Goal]:
        """What a plan is made for: as a user would give it, by a picture, or by pointing at things and places."""
        if self.aim == "places":
            goal = self._by_hand(world, frame)
        else:
            goal = goal_scene(self.control.model, world.goal_picture(), self.match, self.prices)
            goal = self.control.without_actor(goal, frame) if self.aim == "moved" else goal
        first = time_to_reach(goal, self.visited) if isinstance(goal, GoalScene) and self.visited else goal
        return [first, self.control.approach(goal, frame)] if self.approach else [first]

    def _by_hand(self, world: World, frame: Picture) -> ByHand:
        """Each thing's place for the particle nearest to it."""
        p = self.control.scene(frame).particles[0]
        slots = p.visible.nonzero()[:, 0]
        near = torch.cdist(torch.from_numpy(world.places()), p.position[slots]).argmin(1)
        places = world.goal_places().clip(-1, 1).tolist()
        return ByHand({int(slots[i]): (x, y) for i, (x, y) in zip(near, places, strict=True)}, self.prices)

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:
        start = time.process_time()
        made = [len(self.control.moments(row)) for row in rows]
        actions = self.control(frames, rows)
        self.seconds += time.process_time() - start
        for row, before in zip(rows, made, strict=True):
            new = len(self.control.moments(row)) - before
            self.plans += new
            if new:
                self.at_plan[row] = self.worlds[row].places()
        return actions

    def lost(self, row: int) -> str:
        """The first stage that failed, of an episode that did not succeed.

        found: something that counts had no particle near it at the start or in the goal. tracked: it had none at the
        last plan. predicted: targets were not where they were expected, on average. planned: the search, then.
        """
        moments = self.control.moments(row)
        if not self.found[row]:
            return "found"
        if not self._sees(self.at_plan[row], moments[-1].frame):
            return "tracked"
        wrong = [abs(t.expected - t.now) for m in moments for t in m.targets if t.expected is not None]
        return "predicted" if wrong and np.mean(wrong) > FORESEEN else "planned"

    def _sees(self, things: Places, frame: Picture) -> bool:
        """Whether everything has a particle near it."""
        p = self.control.scene(frame).particles[0]
        particles = p.position[p.visible].numpy()
        if not len(particles):
            return False
        gaps = np.linalg.norm(things[:, None] - particles[None], axis=-1)
        return bool((gaps.min(1) < FOUND).all())
