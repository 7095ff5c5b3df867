"""Costs of predicted particle sets, moment by moment, and what a whole rollout costs.

A cost takes scenes over (B, S, H): B problems, S candidates, H moments. Distances are in image sides: a particle that
is one side away from where it shall be costs 1. Not squared, so that one far particle does not drown the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dlp_dyn.particles import Particles, Scene

OverTime = Literal["running", "last", "least"]

_SIDE = 2.0  # of an image, in the units of positions
_MOST_APPEARANCE = 10.0  # squared feature distance beyond which two particles look no more different
_TINY = 1e-12  # under a root, whose gradient at 0 is infinite


@runtime_checkable
class Cost(Protocol):
    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]: ...


@dataclass(frozen=True)
class Prices:
    """What else than distance counts, in image sides. looks: of a squared feature distance of 1, up to 10 of them.
    fading: of a predicted particle that is off, so that fading is no way out."""

    appearance: float = 0.02
    fading: float = 1.0


DEFAULT = Prices()


def length(gap: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B"]:
    return (gap.square().sum(-1) + _TINY).sqrt()


def distances(
    p: Particles, position: Float[Tensor, "*P 2"], features: Float[Tensor, "*P F"] | None, prices: Prices
) -> Float[Tensor, "..."]:
    """How far particles are from what they shall be; leading axes broadcast."""
    total = length(p.position - position) / _SIDE + prices.fading * (1 - p.transparency[..., 0])
    if features is not None and prices.appearance:
        total = total + prices.appearance * (p.features - features).square().sum(-1).clamp_max(
            _MOST_APPEARANCE
        )
    return total


@dataclass(frozen=True)
class Arrival:
    """Every target has its own particle, chosen before the search: the dynamics keep slots, so no swap can cheat.

    index: of the particle in the context. weight: 0 stands for no target. features: None, where looks are free.
    The cost is the mean over targets.
    """

    index: Int[Tensor, "B P"]
    position: Float[Tensor, "B P 2"]
    features: Float[Tensor, "B P F"] | None
    weight: Float[Tensor, "B P"]
    prices: Prices = DEFAULT

    def each(self, p: Particles) -> Float[Tensor, "B S H P"]:
        """The distance of every target from its particle."""
        index = self.index[:, None, None, :, None]
        own = p.map(lambda x: x.take_along_dim(index, -2))
        features = None if self.features is None else self.features[:, None, None]
        return distances(own, self.position[:, None, None], features, self.prices)

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:  # noqa: ARG002
        weight = self.weight[:, None, None]
        return (weight * self.each(scene.particles)).sum(-1) / weight.sum(-1).clamp_min(1e-6)


@dataclass(frozen=True)
class Behind:
    """How far the one that acts is from behind the nearest thing that still has to move; see `goals.Approach`.

    near: targets closer than this to their goals, in image sides, are done.
    """

    arrival: Arrival
    actor: Arrival
    weight: float
    reach: float
    near: float = 0.03

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:  # noqa: ARG002
        position, targets = scene.particles.position, self.arrival
        things = position.take_along_dim(targets.index[:, None, None, :, None], -2)
        actor = position.take_along_dim(self.actor.index[:, None, None, :, None], -2)
        way = targets.position[:, None, None] - things
        left = length(way)
        behind = things - self.reach * way / left[..., None]
        done = (left / _SIDE < self.near) | (targets.weight == 0)[:, None, None]
        far = torch.where(done, torch.inf, length(actor - behind) / _SIDE).amin(-1)
        return self.weight * self.actor.weight[:, None] * torch.where(far.isinf(), 0.0, far)


@dataclass(frozen=True)
class Likeness:
    """The predicted set against the goal's, whichever particle comes where: for things that look alike.

    one_to_one: the best assignment of particles to targets; otherwise each target takes the nearest particle (Chamfer).
    on: targets that count. there: particles that count.
    """

    position: Float[Tensor, "B M 2"]
    features: Float[Tensor, "B M F"]
    on: Bool[Tensor, "B M"]
    there: Bool[Tensor, "B K"]
    one_to_one: bool = True
    prices: Prices = DEFAULT

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:  # noqa: ARG002
        p = scene.particles.map(lambda x: x[..., None, :, :])
        position, features = (x[:, None, None, :, None] for x in (self.position, self.features))
        pairs = distances(p, position, features, self.prices)  # (B, S, H, M, K)
        pairs = pairs + 1e3 * ~self.there[:, None, None, None]
        on = self.on[:, None, None].to(pairs.dtype)
        if self.one_to_one:
            partner = _assigned(pairs.detach() * on[..., None])
            nearest = pairs.take_along_dim(partner[..., None], -1)[..., 0]
        else:
            nearest = pairs.amin(-1)
        return (on * nearest).sum(-1) / on.sum(-1).clamp_min(1)


def _assigned(pairs: Float[Tensor, "*B M K"]) -> Int[Tensor, "*B M"]:
    """The partner of each row in the assignment of least cost; rows that are left over take their nearest."""
    partner = pairs.argmin(-1)
    flat, out = pairs.flatten(0, -3).cpu().numpy(), partner.flatten(0, -2).cpu().numpy()
    for costs, row in zip(flat, out, strict=True):
        rows, columns = linear_sum_assignment(costs)
        row[rows] = columns
    return torch.from_numpy(np.ascontiguousarray(out)).view(partner.shape).to(pairs.device)


@dataclass(frozen=True)
class Intrusion:
    """How deep particles come within `radius` (in the units of positions) of other particles or of fixed points.

    index, other: of particles in the context; other is None where `point` is meant.
    """

    index: Int[Tensor, " B"]
    other: Int[Tensor, " B"] | None
    point: Float[Tensor, "2"] | None
    radius: float
    weight: float = 10.0

    def depth(self, scene: Scene) -> Float[Tensor, "B S H"]:
        """Negative where the distance is kept; what a solver with constraints asks for."""
        position = scene.particles.position

        def place(index: Tensor) -> Tensor:
            return position.take_along_dim(index[:, None, None, None, None], -2)[..., 0, :]

        if self.other is not None:
            against = place(self.other)
        else:
            assert self.point is not None
            against = self.point
        return self.radius - length(place(self.index) - against)

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:  # noqa: ARG002
        return self.weight * self.depth(scene).clamp_min(0) / _SIDE


@dataclass(frozen=True)
class ActionPrice:
    """Mean squared action, in units of its spread, which breaks ties; and all that lies far outside the data.

    centre, spread: of every column of a block, of the data or of the bounds. beyond: in spreads.
    """

    centre: Float[Tensor, " W"]
    spread: Float[Tensor, " W"]
    weight: float = 1e-3
    beyond: float = 3.0

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:  # noqa: ARG002
        z = (actions - self.centre) / self.spread
        outside = (z.abs() - self.beyond).clamp_min(0)
        return (self.weight * z.square() + outside.square()).mean(-1)


@dataclass(frozen=True)
class Sum:
    """Several costs together."""

    costs: Sequence[Cost]

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:
        return torch.stack([cost(scene, actions) for cost in self.costs]).sum(0)


@dataclass(frozen=True)
class Separate:
    """A cost for each problem."""

    costs: Sequence[Cost]

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:
        rows = [cost(scene[b : b + 1], actions[b : b + 1]) for b, cost in enumerate(self.costs)]
        return torch.cat(rows)


def over_time(costs: Float[Tensor, "*B H"], how: OverTime) -> Float[Tensor, "*B"]:
    """What a rollout costs.

    running: the mean of all moments, and the last once more. The one to use with frequent replanning: with "last", the
    plan that arrives at the horizon's end is put off for ever. least: for goals that need to be met only once.
    """
    if how == "last":
        return costs[..., -1]
    if how == "least":
        return costs.amin(-1)
    return costs.mean(-1) + costs[..., -1]
