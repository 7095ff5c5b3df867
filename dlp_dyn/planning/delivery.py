"""Deliveries: one that acts brings things to places. What an agent is told of them, and what it is paid."""

from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Arrival, Behind, Prices
from dlp_dyn.planning.planner import Planner
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel

_FRAMES_AT_ONCE = 128
_SPREAD = 2.0  # what is seen is multiplied by it: places across the picture then vary by about 1
_PRICES = Prices(appearance=0.0)


@dataclass(frozen=True)
class Delivery:
    """B errands. Particles (B, 1 + P): what acts, and then the things, in the order of their places.

    approach: what the way of what acts to behind the nearest thing that still has to move costs, beside those of the
    things. behind: how far from its centre that is, in the units of positions.
    """

    places: Float[Tensor, "B P 2"]
    approach: float = 0.2
    behind: float = 0.25

    def observe(self, now: Particles) -> Float[Tensor, "B D"]:
        """Places of all, and the ways from what acts to the things, from them to their places, and to behind them."""
        actor, things = now.position[:, :1], now.position[:, 1:]
        way = self.places - things
        back = things - self.behind * way / way.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        told = torch.cat([actor, things, self.places, things - actor, way, back - actor], 1)
        return _SPREAD * told.flatten(1)

    def reward(self, now: Particles) -> Float[Tensor, " B"]:
        """Minus the mean distance of the things from their places in image sides, and the way of what acts."""
        b, p = self.places.shape[:2]
        here = torch.arange(1, p + 1).expand(b, p)
        things = Arrival(here, self.places, None, torch.ones(b, p), _PRICES)
        actor = Arrival(torch.zeros(b, 1, dtype=torch.int64), self.places[:, :1], None, torch.ones(b, 1))
        cost, actions = Behind(things, actor, self.approach, self.behind), torch.zeros(b, 1, 1, 1)
        scene = Scene(now.map(lambda x: x[:, None, None]), torch.zeros(b, 1, 1, 0))
        return -(things(scene, actions) + cost(scene, actions))[:, 0, 0]


def observations(things: int) -> gym.spaces.Box:
    """The space of what is told of deliveries of so many things."""
    return gym.spaces.Box(-np.inf, np.inf, (2 * (1 + 5 * things),), np.float32)


class Deliveries:
    """Aims of an imagination: every episode a delivery to places where things were in other ones.

    visited: the scenes (K, 1 + P, ...) whose places are drawn.
    """

    def __init__(self, visited: Particles) -> None:
        self.visited = visited.position[:, 1:]
        self.places = self.visited[:0]

    def space(self, starts: Scene) -> gym.spaces.Box:
        return observations(starts.particles.position.shape[2] - 1)

    def begin(self, rows: Int[Tensor, " R"], starts: Scene, generator: torch.Generator) -> None:  # noqa: ARG002 - Aims
        drawn = self.visited[torch.randint(len(self.visited), (len(rows),), generator=generator)]
        if rows.max() >= len(self.places):
            self.places = drawn
        else:
            self.places = self.places.index_copy(0, rows, drawn)

    def observe(self, now: Particles) -> Float[Tensor, "B D"]:
        return Delivery(self.places).observe(now)

    def reward(self, now: Scene, blocks: Float[Tensor, "B W"]) -> Float[Tensor, " B"]:  # noqa: ARG002 - Aims
        return Delivery(self.places).reward(now.particles)


@torch.no_grad()
def starts_of(
    model: VideoModel,
    planner: Planner,
    data: str | Path,
    things: int,
    generator: torch.Generator,
    part: Part = "train",
) -> Scene:
    """Contexts (K, 1, 1 + things, ...) of the frames of a rollout file: what acts, and random other particles.

    Frames with fewer are left out. Raises InputError where none have so many, or the file does not fit.
    """
    rollouts = Rollouts(Path(data))
    check_fits(model, rollouts)
    found = []
    for i in rollouts.part(part):
        images = to_images(rollouts.episode(int(i)).frames[:: model.cfg.stride])
        scene = model.follow(images[None].split(_FRAMES_AT_ONCE, 1)).map(lambda x: x[0, :, None])
        context = Context.of(scene, None, any_number=False)
        enough = context.on.sum(1) > things
        if enough.any():
            context = context[enough]
            found.append(_ordered(context, planner.actor(context), things, generator))
    if not found:
        raise InputError(f"{data}: no frame with {things} things and what acts: ask for fewer things")
    return cat(found, 0)


def _ordered(context: Context, actor: Int[Tensor, " B"], things: int, generator: torch.Generator) -> Scene:
    """The scenes with what acts first, and then `things` of the others that are on."""
    luck = torch.rand(context.on.shape, generator=generator).masked_fill(~context.on, -1.0)
    luck.scatter_(1, actor[:, None], 2.0)
    return picked(context.scene, luck.topk(1 + things, 1).indices)


def picked(scene: Scene, slots: Int[Tensor, "B K"]) -> Scene:
    """Scenes (B, T, N, ...) with these of their particles."""
    kept = scene.particles.map(lambda x: x.take_along_dim(slots[:, None, :, None], 2))
    return Scene(kept, scene.background)
