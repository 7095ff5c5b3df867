"""The same search with the true simulator in the place of eyes and dynamics: what a perfect model would reach."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Arrival, Behind, Cost
from dlp_dyn.planning.goals import BEHIND, BEHIND_WEIGHT
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.solvers import Solver
from dlp_dyn.planning.tasks.base import Problem, Simulable, World


@dataclass(frozen=True)
class Simulator:
    """Candidates (1, S, H, W) -> the scenes (1, S, H, ...) that the world itself has after each block."""

    world: Simulable
    space: ActionSpace
    samples = 0

    def __call__(self, context: Context, candidates: Float[Tensor, "B S H W"]) -> Scene:  # noqa: ARG002 - the world knows
        single = self.space.single(candidates[0]).flatten(1, 2).numpy()
        return true_scene(self.world.trial(single)[:, self.space.block - 1 :: self.space.block])[None]


def true_scene(things: Float[np.ndarray, "*B N 2"]) -> Scene:
    """A scene of true places: no size, no looks."""
    position = torch.from_numpy(np.asarray(things, np.float32))
    nothing, one = torch.zeros_like(position), torch.ones_like(position[..., :1])
    particles = Particles(position, nothing, nothing[..., :1], one, nothing[..., :0])
    return Scene(particles, torch.zeros(*position.shape[:-2], 0))


class Simulated:
    """Plans as `Planned` does, goals included, with the true places of things and the true simulator.

    space: blocks of actions. pushed: what acts is drawn behind what it shall move. replan: blocks that are done of a
    plan. seconds: of CPU that its actions took. plans: that it made.
    """

    name = "simulator"

    def __init__(
        self, space: ActionSpace, solver: Solver, horizon: int = 5, replan: int = 1, pushed: bool = False
    ) -> None:
        self.space, self.solver, self.horizon, self.replan, self.pushed = (
            space,
            solver,
            horizon,
            replan,
            pushed,
        )
        self.seconds, self.plans = 0.0, 0

    def begin(
        self,
        worlds: Sequence[World],
        problems: Sequence[Problem],
        frames: UInt8[np.ndarray, "B H W 3"],  # noqa: ARG002 - it sees the truth
    ) -> None:
        """Raises InputError for worlds that cannot be tried out."""
        self.worlds = [simulable(world) for world in worlds]
        self.generators = [torch.Generator().manual_seed(problem.seed) for problem in problems]
        self.queues: list[deque[Tensor]] = [deque() for _ in worlds]
        self.guesses: list[Tensor | None] = [None] * len(worlds)

    def act(
        self,
        frames: UInt8[np.ndarray, "B H W 3"],  # noqa: ARG002
        rows: Sequence[int],
    ) -> Float[np.ndarray, "B A"]:
        start = time.process_time()
        for row in rows:
            if not self.queues[row]:
                self._plan(row)
        self.seconds += time.process_time() - start
        return np.stack([self.queues[row].popleft().numpy() for row in rows])

    def _plan(self, row: int) -> None:
        world = self.worlds[row]
        planner = Planner(Simulator(world, self.space), self.space, self.solver, self.horizon)
        things = world.things()
        slots = torch.arange(len(things))[None]
        context = Context(
            true_scene(things)[None, None], None, slots, torch.ones_like(slots, dtype=torch.bool)
        )
        idle, before = planner.idle(1), self.guesses[row]
        guess = idle if before is None else torch.cat([before[:, self.replan :], idle[:, : self.replan]], 1)
        plan = planner.plan(context, self._costs(world), [self.generators[row]], guess).actions
        self.guesses[row] = plan
        self.queues[row].extend(self.space.single(plan[0, : self.replan]).flatten(0, 1))
        self.plans += 1

    def _costs(self, world: Simulable) -> list[Cost]:
        """Things that count come first among all things, and what acts comes last."""
        goals = torch.from_numpy(world.goal_places())[None]
        arrival = Arrival(torch.arange(goals.shape[1])[None], goals, None, torch.ones(goals.shape[:2]))
        if not self.pushed:
            return [arrival]
        last = torch.tensor([[len(world.things()) - 1]])
        actor = Arrival(last, torch.zeros(1, 1, 2), None, torch.ones(1, 1))
        return [arrival, Behind(arrival, actor, BEHIND_WEIGHT, BEHIND)]


def simulable(world: World) -> Simulable:
    """Raises InputError for a world that cannot be tried out."""
    if not isinstance(world, Simulable):
        raise InputError(
            f"{type(world).__name__.strip('_')}: cannot be tried out: evaluate it without the simulator"
        )
    return world
