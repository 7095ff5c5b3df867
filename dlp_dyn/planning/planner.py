"""One search: from what is there and what shall be, to the blocks of actions that bring it about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dlp_dyn.particles import Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import ActionPrice, Cost, OverTime, Sum, over_time
from dlp_dyn.planning.solvers import ICEM, Plan, Solver


@runtime_checkable
class Foresight(Protocol):
    """Where candidates (B, S, H, W) lead: scenes (B, S, H, ...), or (B, S*samples, H, ...) where samples are not 0."""

    @property
    def samples(self) -> int: ...

    def __call__(self, context: Context, candidates: Float[Tensor, "B S H W"]) -> Scene: ...


@dataclass(frozen=True)
class Planner:
    """Searches `horizon` blocks of actions.

    over: how the moments of a rollout count; see `over_time`. price: of actions; None takes the bounds as their spread.
    risk: with samples of the future, how many standard deviations of the cost are added to its mean.
    """

    predictor: Foresight
    space: ActionSpace
    solver: Solver = field(default_factory=ICEM)
    horizon: int = 5
    over: OverTime = "running"
    price: ActionPrice | None = None
    risk: float = 0.0

    def plan(
        self,
        context: Context,
        costs: Sequence[Cost],
        generators: Sequence[torch.Generator],
        start: Float[Tensor, "B H W"] | None = None,
    ) -> Plan:
        """costs: of the goals that hold at the same time, bound to this context; see `goals`.
        start: a guess, such as what is left of the last plan; None does as little as can be."""
        price = self.price or ActionPrice(self.space.middle, self.space.half_range)
        cost = Sum((*costs, price))
        samples = max(self.predictor.samples, 1)

        def objective(candidates: Tensor) -> Tensor:
            scene = self.predictor(context, candidates)
            total = over_time(cost(scene, candidates.repeat_interleave(samples, 1)), self.over)
            total = total.unflatten(1, (-1, samples))
            risk = self.risk * total.std(-1) if samples > 1 else 0.0
            return total.mean(-1) + risk

        if start is None:
            start = self.idle(len(context.slots))
        with torch.no_grad():
            return self.solver.solve(objective, start, self.space, generators)

    def idle(self, n: int) -> Float[Tensor, "B H W"]:
        """Plans that do as little as can be; of choices, none in particular."""
        rest = torch.zeros(self.space.width) if self.space.choices else self.space.clip(self.space.middle)
        return rest.expand(n, self.horizon, -1).clone()

    def imagine(self, context: Context, actions: Float[Tensor, "B H W"]) -> Scene:
        """The scenes (B, H, ...) that a plan leads to."""
        return self.predictor(context, actions[:, None])[:, 0]

    @torch.no_grad()
    def actor(self, context: Context) -> Int[Tensor, " B"]:
        """Which particle of the context actions move most: what acts."""
        b = len(context.slots)
        low, high = self.space.bounds
        extremes = torch.stack([low, high]).expand(b, 2, -1)[:, :, None]
        position = self.predictor(context, extremes).particles.position[
            :, :: max(self.predictor.samples, 1), 0
        ]
        moved = (position[:, 0] - position[:, 1]).norm(dim=-1).masked_fill(~context.on, -1.0)
        return moved.argmax(1)
