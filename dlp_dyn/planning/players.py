"""Who is evaluated: a planner, and what to hold beside it."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from dlp_dyn.clip import to_images
from dlp_dyn.particles import Particles
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.costs import DEFAULT, Prices
from dlp_dyn.planning.goals import Approach, Match, goal_scene
from dlp_dyn.planning.reach import time_to_reach
from dlp_dyn.planning.tasks import Places, Problem, World

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

    make: a controller for so many environments. approach: what acts is drawn behind what it shall move. visited:
    episodes of particles, which tell how far a goal is (see `reach`); none measures it in the picture.
    seconds: of CPU that its actions took. plans: that it made.
    """

    name = "planned"

    def __init__(
        self,
        make: Callable[[int], Controller],
        prices: Prices = DEFAULT,
        match: Match = "now",
        approach: bool = False,
        visited: Sequence[Particles] = (),
    ) -> None:
        self.make, self.prices, self.approach = make, prices, approach
        self.match: Match = match
        self.visited = visited
        self.seconds, self.plans = 0.0, 0

    def begin(self, worlds: Sequence[World], problems: Sequence[Problem], frames: Frames) -> None:
        self.worlds, self.control = worlds, self.make(len(worlds))
        start = time.process_time()
        for row, (world, problem, frame) in enumerate(zip(worlds, problems, frames, strict=True)):
            goal = goal_scene(self.control.model, world.goal_picture(), self.match, self.prices)
            far = [time_to_reach(goal, self.visited)] if self.visited else [goal]
            more = [Approach(goal, self.control.actor(frame))] if self.approach else []
            self.control.reset([*far, *more], row, problem.seed)
        self.seconds += time.process_time() - start
        seen = [world.places() for world in worlds]
        goals = [world.goal_places() for world in worlds]
        self.found = [
            _all_near(here, self._particles(frame))
            and _all_near(there, self._particles(world.goal_picture()))
            for here, there, frame, world in zip(seen, goals, frames, worlds, strict=True)
        ]

    def act(self, frames: Frames, rows: Sequence[int]) -> Actions:
        start = time.process_time()
        before = self._made()
        actions = self.control(frames, rows)
        self.seconds += time.process_time() - start
        self.plans += self._made() - before
        return actions

    def _made(self) -> int:
        return sum(len(self.control.moments(row)) for row in range(len(self.worlds)))

    def lost(self, row: int) -> str:
        """The first stage that failed, of an episode that did not succeed.

        found: something that counts had no particle near it at the start or in the goal. tracked: it had none at the
        last plan. predicted: targets were not where they were expected, on average. planned: the search, then.
        """
        moments = self.control.moments(row)
        if not self.found[row]:
            return "found"
        if not _all_near(self.worlds[row].places(), self._particles(moments[-1].frame)):
            return "tracked"
        wrong = [abs(t.expected - t.now) for m in moments for t in m.targets if t.expected is not None]
        return "predicted" if wrong and np.mean(wrong) > FORESEEN else "planned"

    def _particles(self, frame: UInt8[np.ndarray, "H W 3"]) -> Places:
        model = self.control.model
        with torch.no_grad():
            p = model.encode(to_images(frame[None])[None])[0].scene.particles[0, 0]
        return p.position[p.visible].numpy()


def _all_near(things: Places, particles: Places) -> bool:
    if not len(particles):
        return False
    gaps = np.linalg.norm(things[:, None] - particles[None], axis=-1)
    return bool((gaps.min(1) < FOUND).all())
