"""Context -> horizon: the only code that unrolls prediction."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, State, Step
from dlp_dyn.particles import Draw, Scene, mean
from dlp_dyn.tree import cat, stack


def unroll(
    dynamics: Dynamics,
    context: Scene,
    horizon: int,
    conditions: Conditions = NOTHING,
    sample: Draw = mean,
    state: State = None,
) -> Iterator[Step]:
    """Step by step: what is predicted of the next frame; the scene `drawn` of it is what goes on.

    context: (B, T, ...). conditions: with actions from the first frame of the context on, `T + horizon - 1` of them or
    more. state: that the dynamics started from this context; None has them start one.
    Only the last `window` frames are kept, so a step's cost does not grow with the horizon.
    """
    n_context = context.background.shape[1]
    state = dynamics.start(context, conditions) if state is None else state
    window = context[:, -dynamics.window :]
    for end in range(n_context, n_context + horizon):
        first = end - window.background.shape[1]
        step = dynamics.step(window, conditions.between(first, end), state, sample)
        yield step
        window = cat([window, step.drawn.map(lambda x: x[:, None])], 1)[:, -dynamics.window :]


def rollout(
    dynamics: Dynamics,
    context: Scene,
    horizon: int,
    conditions: Conditions = NOTHING,
    sample: Draw = mean,
    state: State = None,
) -> Scene:
    """The context and `horizon` predicted scenes after it, without gradients. Arguments: as of `unroll`."""
    with torch.inference_mode():  # an eighth faster where the operations are small
        steps = unroll(dynamics, context, horizon, conditions, sample, state)
        future = [step.drawn.map(lambda x: x[:, None]) for step in steps]
    with torch.no_grad():
        return cat([context, *future], 1)  # ordinary tensors again


def futures(
    dynamics: Dynamics,
    context: Scene,
    candidates: Float[Tensor, "B S U A"],
    conditions: Conditions = NOTHING,
    sample: Draw = mean,
) -> Scene:
    """What follows a context under each of S candidate sequences of actions, over (B, S, U, ...).

    candidates: from the last frame of the context on. conditions: with the actions between the context's frames, where
    there are several. All candidates are one batch, and gradients flow to them; wrap the call in `torch.no_grad` or
    `torch.inference_mode` where none are wanted.
    """
    b, s, horizon = candidates.shape[:3]

    def each(x: Tensor) -> Tensor:
        return x[:, None].expand(-1, s, *x.shape[1:]).flatten(0, 1)

    past = (
        candidates.new_zeros(b, 0, candidates.shape[3]) if conditions.actions is None else conditions.actions
    )
    assert past.shape[1] == context.background.shape[1] - 1, "an action between any two frames of the context"
    steering = Conditions(
        torch.cat([each(past), candidates.flatten(0, 1)], 1),
        None if conditions.goal is None else conditions.goal.map(each),
        None if conditions.language is None else each(conditions.language),
        None if conditions.view is None else each(conditions.view),
    )
    steps = unroll(dynamics, context.map(each), horizon, steering, sample)
    scenes = stack([step.drawn for step in steps], 1)
    return scenes.map(lambda x: x.unflatten(0, (b, s)))
