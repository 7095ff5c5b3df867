"""Batched searches for the actions of least cost: CEM, iCEM, MPPI, gradient descent, and CEM over choices.

All solve B problems at once. A problem has a random generator of its own, so that its noise is the same whichever
problems are solved beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.planning.actions import ActionSpace, noise

Objective = Callable[[Float[Tensor, "B S H W"]], Float[Tensor, "B S"]]
Generators = Sequence[torch.Generator]


@dataclass(frozen=True)
class Plan:
    """actions: the best that were tried. spread: of the candidates of the last iteration.

    history: the least cost that was known after each iteration.
    """

    actions: Float[Tensor, "B H W"]
    spread: Float[Tensor, "B H W"]
    cost: Float[Tensor, " B"]
    history: Float[Tensor, "B I"]


@runtime_checkable
class Solver(Protocol):
    """Minimises a cost over blocks of actions within their bounds, beginning from a guess."""

    def solve(
        self, cost: Objective, start: Float[Tensor, "B H W"], space: ActionSpace, generators: Generators
    ) -> Plan: ...


class _Best:
    """The least that was seen of each problem."""

    def __init__(self, start: Float[Tensor, "B H W"]) -> None:
        self.actions = start.clone()
        self.cost = torch.full((len(start),), torch.inf)
        self.history: list[Tensor] = []

    def see(self, candidates: Float[Tensor, "B S H W"], costs: Float[Tensor, "B S"]) -> None:
        least, index = costs.min(1)
        better = least < self.cost
        chosen = candidates[torch.arange(len(index)), index]
        self.actions = torch.where(better[:, None, None], chosen, self.actions)
        self.cost = torch.where(better, least, self.cost)
        self.history.append(self.cost)

    def plan(self, spread: Tensor) -> Plan:
        return Plan(self.actions, spread, self.cost, torch.stack(self.history, 1))


@dataclass(frozen=True)
class CEM:
    """The cross-entropy method: sample, keep the best, sample around those (de Boer et al. 2005).

    samples: candidates an iteration. elites: of them, which the next normal distribution is fitted to.
    spread: standard deviation at the start, in halves of the bounds' range; floor: the least one, in the same unit.
    colour: of the noise along all actions of a plan, those within blocks included. kept: elites that take part in the
    next iteration too. momentum: how much of the last distribution stays.
    """

    samples: int = 300
    elites: int = 30
    iterations: int = 10
    spread: float = 1.0
    floor: float = 0.05
    colour: float = 0.0
    kept: int = 0
    momentum: float = 0.0

    def weigh(self, costs: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """How much each of the elites counts, best first."""
        return torch.full_like(costs, 1 / costs.shape[1])

    def solve(
        self, cost: Objective, start: Float[Tensor, "B H W"], space: ActionSpace, generators: Generators
    ) -> Plan:
        b, h, w = start.shape
        least = self.floor * space.half_range
        mean, std = start, (self.spread * space.half_range).expand(b, h, w)
        best, elite = _Best(start), start[:, None]
        actions = space.block * h
        for _ in range(self.iterations):
            free = self.samples - elite.shape[1]
            drawn = noise(generators, (free, actions, w // space.block), self.colour).reshape(b, free, h, w)
            candidates = torch.cat([elite, space.clip(mean[:, None] + std[:, None] * drawn)], 1)
            costs = cost(candidates)
            best.see(candidates, costs)
            order = costs.argsort(1)[:, : self.elites]
            elites = candidates.take_along_dim(order[..., None, None], 1)
            weight = self.weigh(costs.take_along_dim(order, 1))[..., None, None]
            new_mean = (weight * elites).sum(1)
            variance = (weight * (elites - new_mean[:, None]).square()).sum(1)
            mean = self.momentum * mean + (1 - self.momentum) * new_mean
            std = torch.maximum(self.momentum * std + (1 - self.momentum) * variance.sqrt(), least)
            elite = torch.cat([mean[:, None], elites[:, : self.kept]], 1)
        candidates = mean[:, None]
        best.see(candidates, cost(candidates))
        return best.plan(std)


@dataclass(frozen=True)
class ICEM(CEM):
    """CEM with coloured noise, kept elites and momentum (Pinneri et al. 2020, arXiv 2008.06389)."""

    colour: float = 2.0
    kept: int = 5
    momentum: float = 0.1


@dataclass(frozen=True)
class MPPI(CEM):
    """Elites count by the softmax of their cost (Williams et al. 2017), in units of how far they lie from the best.

    temperature: in those units: shifting or scaling a cost changes nothing.
    """

    temperature: float = 0.5

    def weigh(self, costs: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        above = costs - costs[:, :1]
        unit = self.temperature * above.mean(1, keepdim=True) + 1e-12
        return (-above / unit).softmax(1)


@dataclass(frozen=True)
class Gradient:
    """Adam on several plans at once, each step clipped to the bounds; the cost must let gradients through.

    starts: the guess, and so many less one random plans around it. rate: in halves of the bounds' range.
    """

    starts: int = 8
    iterations: int = 30
    rate: float = 0.1
    spread: float = 0.5
    colour: float = 2.0

    def solve(
        self, cost: Objective, start: Float[Tensor, "B H W"], space: ActionSpace, generators: Generators
    ) -> Plan:
        b, h, w = start.shape
        shape = (self.starts - 1, space.block * h, w // space.block)
        around = noise(generators, shape, self.colour).reshape(b, self.starts - 1, h, w)
        scale = space.half_range
        first = torch.cat([start[:, None], start[:, None] + self.spread * scale * around], 1)
        unit = (space.clip(first) - space.middle) / scale
        best = _Best(start)
        with torch.enable_grad():
            unit = unit.detach().requires_grad_()
            adam = torch.optim.Adam([unit], lr=self.rate)
            for _ in range(self.iterations):
                candidates = space.middle + scale * unit
                costs = cost(candidates)
                best.see(candidates.detach(), costs.detach())
                (unit.grad,) = torch.autograd.grad(costs.sum(), unit)
                adam.step()
                with torch.no_grad():
                    unit.clamp_(-1, 1)
        with torch.no_grad():
            candidates = space.middle + scale * unit
            best.see(candidates, cost(candidates))
        return best.plan(candidates.std(1))


@dataclass(frozen=True)
class Categorical:
    """CEM over choices: every action of the plan has probabilities, fitted to the elites.

    momentum: how much of the last probabilities stays. floor: the least probability of a choice.
    """

    samples: int = 300
    elites: int = 30
    iterations: int = 10
    momentum: float = 0.1
    floor: float = 0.02

    def solve(
        self, cost: Objective, start: Float[Tensor, "B H W"], space: ActionSpace, generators: Generators
    ) -> Plan:
        b, h, w = start.shape
        n = w // space.block
        length = space.block * h
        known = start.reshape(b, length, n)
        p = (
            0.5 * known + (1 - 0.5 * known.sum(-1, keepdim=True)) / n
        )  # the guess, if there is one, is as likely as not
        best, kept = _Best(start), torch.zeros(b, 0, h, w)
        for _ in range(self.iterations):
            drawn = torch.stack(
                [
                    row.multinomial(self.samples - kept.shape[1], True, generator=g)
                    for row, g in zip(p, generators, strict=True)
                ]
            )  # (B, L, S)
            one_hot = torch.nn.functional.one_hot(drawn.transpose(1, 2), n).to(start)
            candidates = torch.cat([kept, one_hot.reshape(b, -1, h, w)], 1)
            costs = cost(candidates)
            best.see(candidates, costs)
            order = costs.argsort(1)[:, : self.elites]
            elites = candidates.take_along_dim(order[..., None, None], 1)
            share = elites.reshape(b, -1, length, n).mean(1)
            p = (self.momentum * p + (1 - self.momentum) * share).clamp_min(self.floor)
            p = p / p.sum(-1, keepdim=True)
            kept = elites[:, :1]
        return best.plan((p * (1 - p)).sqrt().reshape(b, h, w))
