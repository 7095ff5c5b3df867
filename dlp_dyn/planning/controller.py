"""Frames in, actions out: what has been seen, warm starts, and when to plan again. For one environment or many."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Arrival, Cost, Separate, Sum
from dlp_dyn.planning.goals import Approach, Goal, GoalScene, Places, partners
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.reach import Remaining
from dlp_dyn.tracking.state import State
from dlp_dyn.tree import stack
from dlp_dyn.video import VideoModel


@dataclass(frozen=True)
class Target:
    """How far one target is from its particle, in image sides.

    now: when the plan was made. at_end: where the plan ends, as it is imagined. expected: what the plan before this
    one imagined for now; None for the first plan.
    """

    slot: int
    now: float
    at_end: float
    expected: float | None


@dataclass(frozen=True)
class Moment:
    """A plan: the frame it was made on, what it imagines, and the particles of its targets."""

    frame: UInt8[np.ndarray, "H W 3"]
    imagined: Scene  # (1, H, K, ...)
    targets: tuple[Target, ...]
    expected: tuple[float, ...]  # after the blocks that are done before the next plan


@dataclass
class _Row:
    """What is remembered of one environment."""

    goals: Sequence[Goal]
    generator: torch.Generator
    state: State = None
    scenes: deque[Scene] = field(default_factory=deque)  # (N, ...) each, one block of actions apart
    blocks: deque[Tensor] = field(default_factory=deque)  # (W,) that led from each to the next
    queue: deque[Tensor] = field(default_factory=deque)  # single actions to be done before the next look
    rest: deque[Tensor] = field(default_factory=deque)  # blocks of the plan to be done after that
    plan: Tensor | None = None  # (H, W), the last one
    moments: list[Moment] = field(default_factory=list)


class Controller:
    """Plans for `n_envs` environments; those that need a plan at the same time are planned together.

    replan: blocks of a plan that are done before the next one is made. The rest of a plan is the guess for the next.
    Every frame is looked at, so that nothing is lost sight of; of a block the first scene is remembered: the dynamics
    know how things move from block to block.
    """

    def __init__(
        self, model: VideoModel, planner: Planner, n_envs: int = 1, replan: int = 1, seed: int = 0
    ) -> None:
        check_actions(model, planner.space)
        if not 1 <= replan <= planner.horizon:
            raise InputError(f"replan {replan}: use 1 to the horizon, which is {planner.horizon} blocks")
        self.model, self.planner, self.replan, self.seed = model.eval(), planner, replan, seed
        self.rows: list[_Row | None] = [None] * n_envs

    def reset(self, goals: Sequence[Goal], row: int = 0, seed: int | None = None) -> None:
        """An episode begins in this environment. goals: that hold at the same time, of one problem each.

        seed: of the search; None takes the controller's and the row's number.
        """
        generator = torch.Generator().manual_seed(self.seed + row if seed is None else seed)
        self.rows[row] = _Row(goals, generator)

    @torch.no_grad()
    def __call__(
        self, frames: UInt8[np.ndarray, "R H W 3"], rows: Sequence[int] | None = None
    ) -> Float[np.ndarray, "R A"]:
        """The next action of these environments (None: of all).

        Raises InputError for pictures of another size, and for goals that do not fit what they show.
        """
        acting = [self._row(i) for i in (range(len(self.rows)) if rows is None else rows)]
        self._check(frames, len(acting))
        due = []
        for row, frame in zip(acting, frames, strict=True):
            scene = self._look(row, frame)
            if row.queue:
                continue
            self._see(row, scene)
            if row.rest:
                self._do(row, row.rest.popleft())
            else:
                due.append((row, frame))
        for group in _alike(due):
            self._plan(*zip(*group, strict=True))
        return np.stack([row.queue.popleft().numpy() for row in acting])

    @torch.no_grad()
    def scene(self, frame: UInt8[np.ndarray, "H W 3"]) -> Scene:
        """The particles (1, N, ...) of one picture, which no other came before. Raises InputError for its size."""
        self._check(frame[None], 1)
        return self.model.encode(to_images(frame[None])[None])[0].scene[:, 0]

    @torch.no_grad()
    def actor(self, frame: UInt8[np.ndarray, "H W 3"]) -> GoalScene:
        """What acts in a picture, for `goals.Approach`: the particle that actions move most."""
        context, index = self._acting(frame)
        particle = context.now.map(lambda x: x.take_along_dim(index[:, None, None], 1))
        return GoalScene(particle, last=particle.position)

    def approach(self, goal: GoalScene | Places, frame: UInt8[np.ndarray, "H W 3"]) -> Approach:
        """What acts in this picture is to come behind what the goal of one problem has it move."""
        moved = self.without_actor(goal, frame) if isinstance(goal, GoalScene) else goal
        return Approach(moved, self.actor(frame))

    @torch.no_grad()
    def without_actor(self, goal: GoalScene, frame: UInt8[np.ndarray, "H W 3"]) -> GoalScene:
        """The goal of one problem, with what acts left free where the goal shows it too."""
        context, actor = self._acting(frame)
        p = goal.particles
        index, found = partners(p, p.visible, context.now, context.on)
        own = found & (index == actor[:, None])
        return replace(goal, weight=(~own[0]).to(p.position.dtype))

    def _acting(self, frame: UInt8[np.ndarray, "H W 3"]) -> tuple[Context, Int[Tensor, " 1"]]:
        scene = self.scene(frame).map(lambda x: x[:, None])
        context = Context.of(scene, None, self.model.dynamics.any_number)
        return context, self.planner.actor(context)

    def why(self, row: int = 0) -> tuple[Target, ...]:
        """The targets of the last plan, with how far they are, were expected to be, and will be.

        Empty before the first plan, and where no target has a particle of its own (match "then" and "nearest").
        """
        moments = self._row(row).moments
        return moments[-1].targets if moments else ()

    def moments(self, row: int = 0) -> list[Moment]:
        """All plans of the episode."""
        return self._row(row).moments

    def _row(self, i: int) -> _Row:
        row = self.rows[i]
        assert row is not None, f"environment {i}: reset it before it acts"
        return row

    def _check(self, frames: np.ndarray, n: int) -> None:
        side = self.model.cfg.image.image_size
        if frames.shape != (n, side, side, 3):
            raise InputError(
                f"frames of shape {frames.shape}: the controller wants {n} of {side}x{side} pixels"
            )

    def _look(self, row: _Row, frame: np.ndarray) -> Scene:
        encoding, row.state = self.model.encode(to_images(frame[None])[None], row.state)
        return encoding.scene[0, 0]

    def _see(self, row: _Row, scene: Scene) -> None:
        row.scenes.append(scene)
        if len(row.scenes) > self.model.dynamics.window:
            row.scenes.popleft()
            row.blocks.popleft()

    def _do(self, row: _Row, block: Float[Tensor, " W"]) -> None:
        row.blocks.append(block)
        row.queue.extend(self.planner.space.single(block))

    def _plan(self, rows: Sequence[_Row], frames: Sequence[np.ndarray]) -> None:
        scene = stack([stack(list(row.scenes), 0) for row in rows], 0)
        blocks = [torch.stack(list(row.blocks)) for row in rows if row.blocks]
        context = Context.of(scene, torch.stack(blocks) if blocks else None, self.model.dynamics.any_number)
        bound = [[goal.bind(context[b : b + 1]) for goal in row.goals] for b, row in enumerate(rows)]
        guess = torch.stack([self._guess(row) for row in rows])
        costs = Separate([Sum(costs) for costs in bound])
        plan = self.planner.plan(context, [costs], [row.generator for row in rows], guess)
        imagined = self.planner.imagine(context, plan.actions)
        for b, row in enumerate(rows):
            row.plan = plan.actions[b]
            now = context[b : b + 1]
            row.goals = [goal.followed(cost, now) for goal, cost in zip(row.goals, bound[b], strict=True)]
            self._remember(row, frames[b], now, imagined[b : b + 1], bound[b])
            first, *more = plan.actions[b][: self.replan]
            self._do(row, first)
            row.rest.extend(more)

    def _guess(self, row: _Row) -> Float[Tensor, "H W"]:
        idle = self.planner.idle(1)[0]
        return idle if row.plan is None else torch.cat([row.plan[self.replan :], idle[: self.replan]])

    def _remember(
        self, row: _Row, frame: np.ndarray, context: Context, imagined: Scene, costs: Sequence[Cost]
    ) -> None:
        expected = row.moments[-1].expected if row.moments else ()
        targets, ahead = [], []
        for cost in costs:
            arrival = cost.arrival if isinstance(cost, Remaining) else cost
            if isinstance(arrival, Arrival):
                now = arrival.each(context.now.map(lambda x: x[:, None, None]))[0, 0, 0].tolist()
                future = arrival.each(imagined.particles.map(lambda x: x[:, None]))[0, 0].tolist()
                for t in arrival.weight[0].nonzero()[:, 0].tolist():
                    before = expected[len(targets)] if len(targets) < len(expected) else None
                    slot = int(context.slots[0, arrival.index[0, t]])
                    targets.append(Target(slot, now[t], future[-1][t], before))
                    ahead.append(future[self.replan - 1][t])
        row.moments.append(Moment(frame, imagined, tuple(targets), tuple(ahead)))


def _alike(due: Sequence[tuple[_Row, np.ndarray]]) -> Iterator[list[tuple[_Row, np.ndarray]]]:
    """Rows that have seen as many frames: they fit into one batch."""

    def seen(pair: tuple[_Row, np.ndarray]) -> int:
        return len(pair[0].scenes)

    for _, group in groupby(sorted(due, key=seen), key=seen):
        yield list(group)


def check_actions(model: VideoModel, space: ActionSpace) -> None:
    """Raise InputError for a model without actions, and for actions that are wider or narrower than its own."""
    width = model.cfg.dynamics.action_dim
    if not width:
        raise InputError("the model was trained without actions: train it on rollouts that have them")
    if width != space.width:
        raise InputError(
            f"the model was trained with {width} numbers between frames, the environment takes {len(space.low)} an "
            f"action and {space.block} actions a frame make {space.width}: use the environment it was trained on"
        )
