"""Plans of the viewer: which actions bring particles to where they were dragged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.controller import check_actions
from dlp_dyn.planning.costs import Cost
from dlp_dyn.planning.goals import Approach, GoalScene, Places
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.play import searcher
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.tree import tree_map
from dlp_dyn.video import VideoModel

MOST_BLOCKS = 30
_SAMPLES, _ITERATIONS = 300, 12


@dataclass(frozen=True)
class Planned:
    """imagined: (H, N, ...) with the slots of the history. actions: blocks."""

    imagined: Scene
    actions: Float[np.ndarray, "H W"]


@torch.no_grad()
def plan(
    model: VideoModel,
    history: Scene,
    blocks: Float[Tensor, "T1 W"],
    space: ActionSpace,
    places: Mapping[int, tuple[float, float]],
    horizon: int,
) -> Planned:
    """The blocks of actions after a history (T, ...) that bring particles, by slot, to places.

    blocks: between its frames. What acts is drawn behind what it has to move, where it is not itself to be moved.
    Raises InputError for particles that are off, places outside the picture, and a horizon that is too long.
    """
    if not 1 <= horizon <= MOST_BLOCKS:
        raise InputError(f"horizon {horizon}: plan 1 to {MOST_BLOCKS} steps")
    check_actions(model, space)
    context = Context.of(history.map(lambda x: x[None]), blocks[None], model.dynamics.any_number)
    planner = Planner(Predictor(model.dynamics), space, searcher(space, _SAMPLES, _ITERATIONS), horizon)
    goal = Places(dict(places))
    costs: list[Cost] = [goal.bind(context)]
    actor = planner.actor(context)
    if int(context.slots[0, actor[0]]) not in places:
        particle = context.now.map(lambda x: x.take_along_dim(actor[:, None, None], 1))
        costs.append(Approach(goal, GoalScene(particle, last=particle.position)).bind(context))
    found = planner.plan(context, costs, [torch.Generator().manual_seed(0)])
    imagined = planner.imagine(context, found.actions)[0]
    return Planned(_in_slots(imagined, context, history), found.actions[0].numpy())


def _in_slots(imagined: Scene, context: Context, history: Scene) -> Scene:
    """Particles that were left out of the context are off, where they were."""
    last = history.particles[-1]
    slots, horizon = context.slots[0], len(imagined.background)

    def put(everyone: Tensor, rolled: Tensor) -> Tensor:
        return everyone.expand(horizon, *everyone.shape).clone().index_copy(1, slots, rolled)

    off = replace(last, transparency=torch.zeros_like(last.transparency))
    return Scene(tree_map(put, off, imagined.particles), imagined.background)
