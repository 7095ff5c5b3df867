"""Goals: a scene, particles that shall be at places, distances to be kept; bound to what is there, they are costs."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import DEFAULT, Arrival, Behind, Cost, Intrusion, Likeness, Prices
from dlp_dyn.video import VideoModel

Match = Literal["now", "then", "nearest"]

# What a squared distance of 1 counts as a squared feature distance: from a goal that may be far away, and from where a
# thing was seen a block before.
_FROM_GOAL, _FROM_LAST = 0.02, 5.0

BEHIND_WEIGHT, BEHIND = 0.2, 0.2  # as `Approach` has them: of the way, and how far behind a thing


@runtime_checkable
class Goal(Protocol):
    """Something to be reached or kept."""

    def bind(self, context: Context) -> Cost:
        """The cost for these problems. Raises InputError where the context has not what the goal speaks of."""
        ...

    def followed(self, bound: Cost, context: Context) -> "Goal":
        """The goal for the plan after this one: its particles are looked for where they are now."""
        ...


@dataclass(frozen=True)
class GoalScene:
    """The scene shall look like this one, as far as its particles are on; other particles are free.

    match: "now" gives every target the particle that looks most like it, once, before the search; "then" compares the
    predicted set, one to one, and "nearest" with the nearest of each (Chamfer): for things that look alike.
    weight: of every particle of the goal; 0 leaves it free. last: where the particle of each target was seen last.
    """

    particles: Particles  # (B, M, ...)
    match: Match = "now"
    prices: Prices = DEFAULT
    weight: Float[Tensor, " M"] | None = None
    last: Float[Tensor, "B M 2"] | None = None

    def bind(self, context: Context) -> Arrival | Likeness:
        p = self.particles
        on = p.visible
        if self.weight is not None:
            on = on & (self.weight > 0)
        if not on.any(1).all():
            raise InputError(
                "goal: no particle is on in the goal picture: show it something that the model sees"
            )
        if not context.on.any(1).all():
            raise InputError("goal: no particle is on in the picture of now: there is nothing to move")
        if self.match != "now":
            return Likeness(p.position, p.features, on, context.on, self.match == "then", self.prices)
        return self.arrival(context)

    def arrival(self, context: Context) -> Arrival:
        """With a particle of its own for every target that has one now."""
        p = self.particles
        on = p.visible
        index, found = partners(p, on, context.now, context.on, self.last)
        weight = found.to(p.position.dtype)
        if self.weight is not None:
            weight = weight * self.weight
        return Arrival(index, p.position, p.features, weight, self.prices)

    def followed(self, bound: Cost, context: Context) -> "GoalScene":
        if not isinstance(bound, Arrival):
            return self
        seen = context.now.position.take_along_dim(bound.index[..., None], 1)
        before = self.particles.position if self.last is None else self.last
        return replace(self, last=torch.where(bound.weight[..., None] > 0, seen, before))


@dataclass(frozen=True)
class Places:
    """Particles, by their slots in the picture of now, shall be at these places; all others are free.

    targets: slot -> (x, y) from -1 to 1. Raises InputError where there are none, and for places outside the picture.
    """

    targets: dict[int, tuple[float, float]]
    prices: Prices = DEFAULT

    def __post_init__(self) -> None:
        if not self.targets:
            raise InputError('goal: no particle and no place: give some, as in "2:0.3,-0.1"')
        for slot, (x, y) in self.targets.items():
            if not (abs(x) <= 1 and abs(y) <= 1):
                raise InputError(
                    f"goal: particle {slot} to ({x}, {y}): places go from -1 to 1 across the picture"
                )

    @classmethod
    def parse(cls, text: str, prices: Prices = DEFAULT) -> "Places":
        """Of "SLOT:X,Y", several with spaces between. Raises InputError for anything else."""
        targets = {}
        for part in text.split():
            slot, _, place = part.partition(":")
            try:
                x, y = (float(number) for number in place.split(","))
                targets[int(slot)] = (x, y)
            except ValueError:
                raise InputError(
                    f'goal {part!r}: give a particle and a place from -1 to 1, as in "2:0.3,-0.1"'
                ) from None
        return cls(targets, prices)

    def bind(self, context: Context) -> Arrival:
        b = len(context.slots)
        index = torch.stack([column(context, slot) for slot in self.targets], 1)
        places = torch.tensor(list(self.targets.values()), dtype=torch.float32).expand(b, -1, 2)
        return Arrival(index, places, None, torch.ones(index.shape), self.prices)

    def followed(self, bound: Cost, context: Context) -> "Places":  # noqa: ARG002 - it speaks of slots, which are tracked
        return self


@dataclass(frozen=True)
class KeepAway:
    """A particle shall stay `radius` or more, in the units of positions, away from another, or from a place.

    Kept at the moments that are predicted, one a block: give a margin for what lies between.
    """

    slot: int
    other: int | tuple[float, float]
    radius: float
    weight: float = 10.0

    def bind(self, context: Context) -> Intrusion:
        point = torch.tensor(self.other) if isinstance(self.other, tuple) else None
        other = column(context, self.other) if isinstance(self.other, int) else None
        return Intrusion(column(context, self.slot), other, point, self.radius, self.weight)

    def followed(self, bound: Cost, context: Context) -> "KeepAway":  # noqa: ARG002 - it speaks of slots, which are tracked
        return self


@dataclass(frozen=True)
class Approach:
    """The one that acts shall be behind what still has to move, on the far side from its goal.

    A push costs nothing until there is contact, and a search that only sees what is pushed does not know which way to
    go. weight: of the way to that place, beside the ways of the things themselves. reach: how far behind a thing's
    centre it is, in the units of positions. actor: the particle that acts, as it was seen.
    """

    goal: GoalScene | Places
    actor: GoalScene
    weight: float = BEHIND_WEIGHT
    reach: float = BEHIND

    def bind(self, context: Context) -> Behind:
        bound = self.goal.bind(context)
        if isinstance(bound, Likeness):
            raise InputError('goal: what to approach is not known with match "then" or "nearest": use "now"')
        return Behind(bound, self.actor.arrival(context), self.weight, self.reach)

    def followed(self, bound: Cost, context: Context) -> "Approach":
        assert isinstance(bound, Behind)
        actor = self.actor.followed(bound.actor, context)
        return replace(self, goal=self.goal.followed(bound.arrival, context), actor=actor)


@torch.no_grad()
def goal_scene(
    model: VideoModel, picture: UInt8[np.ndarray, "H W 3"], match: Match = "now", prices: Prices = DEFAULT
) -> GoalScene:
    """The scene of a picture as a goal. Raises InputError for one of another size than the model sees."""
    height, width = picture.shape[:2]
    side = model.cfg.image.image_size
    if (height, width) != (side, side):
        raise InputError(
            f"goal: a picture of {width}x{height} pixels, the model sees {side}x{side}: resize it"
        )
    scene = model.encode(to_images(picture[None])[None])[0].scene
    return GoalScene(scene.particles[:, 0], match, prices)


def column(context: Context, slot: int) -> Int[Tensor, " B"]:
    """Where the particle of a slot is in the context of each problem. Raises InputError where it is not there."""
    same = (context.slots == slot) & context.on
    if not same.any(1).all():
        row = int((~same.any(1)).nonzero()[0])
        known = sorted(context.slots[row][context.on[row]].tolist())
        raise InputError(
            f"goal: no particle {slot} in the picture of now: there are {', '.join(map(str, known)) or 'none'}"
        )
    return same.to(torch.int8).argmax(1)


@torch.no_grad()
def partners(
    goal: Particles,
    wanted: Bool[Tensor, "B M"],
    now: Particles,
    there: Bool[Tensor, "B K"],
    last: Float[Tensor, "B M 2"] | None = None,
) -> tuple[Int[Tensor, "B M"], Bool[Tensor, "B M"]]:
    """Which particle of now is each particle of a goal, told by looks and size, and by nearness where those are alike;
    and which have one. One to one. last: where they were seen a block before, which tells more than the goal's place.
    """
    near, place = (_FROM_GOAL, goal.position) if last is None else (_FROM_LAST, last)
    appearance = torch.cdist(_appearance(goal), _appearance(now)).square()
    cost = (appearance + near * torch.cdist(place, now.position).square()).numpy()
    index = np.zeros(wanted.shape, np.int64)
    found = np.zeros(wanted.shape, bool)
    for b, (want, have) in enumerate(zip(wanted.numpy(), there.numpy(), strict=True)):
        rows, columns = np.flatnonzero(want), np.flatnonzero(have)
        i, j = linear_sum_assignment(cost[b][np.ix_(rows, columns)])
        index[b, rows[i]], found[b, rows[i]] = columns[j], True
    return torch.from_numpy(index), torch.from_numpy(found)


def _appearance(p: Particles) -> Float[Tensor, "B N L"]:
    return torch.cat([p.features, p.scale], -1)
