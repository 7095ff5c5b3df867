"""Context -> horizon: the only code that unrolls prediction."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.particles import Scene, SceneDistribution
from dlp_dyn.tree import cat


@runtime_checkable
class Dynamics(Protocol):
    """A model of how particles move; `actions[:, t]` leads from frame t to frame t + 1."""

    window: int

    def step(
        self,
        history: Scene,
        actions: Float[Tensor, "B T A"] | None = None,
        memory: Any = None,
    ) -> SceneDistribution:
        """The distribution of the frame after the last of `window` frames or fewer.

        memory: of the steps before, each of which saw the window one frame earlier; the result is the same without.
        """
        ...

    def memory(self) -> Any:
        """For the steps of one rollout, None where a step has nothing to remember."""
        ...


def unroll(
    dynamics: Dynamics,
    context: Scene,
    horizon: int,
    actions: Float[Tensor, "B T A"] | None,
    draw: Callable[[SceneDistribution], Scene],
    memory: Any = None,
) -> Iterator[tuple[SceneDistribution, Scene]]:
    """Step by step: the distribution of the next scene, and the scene that was drawn from it and goes on.

    context: (B, T, ...). actions: from the first frame of the context on, `T + horizon - 1` of them or more.
    memory: that the dynamics made for this context; None has them make one.
    Only the last `window` frames are kept, so a step's cost does not grow with the horizon.
    """
    n_context = context.background.shape[1]
    window = context[:, -dynamics.window :]
    memory = dynamics.memory() if memory is None else memory
    for end in range(n_context, n_context + horizon):
        first = end - window.background.shape[1]
        distribution = dynamics.step(window, None if actions is None else actions[:, first:end], memory)
        scene = draw(distribution)
        yield distribution, scene
        window = cat([window, scene.map(lambda x: x[:, None])], 1)[:, -dynamics.window :]


@torch.no_grad()
def rollout(
    dynamics: Dynamics,
    context: Scene,
    horizon: int,
    actions: Float[Tensor, "B T A"] | None = None,
    stochastic: bool = False,
    generator: torch.Generator | None = None,
    memory: Any = None,
) -> Scene:
    """The context and `horizon` predicted scenes after it: means, or samples from a generator of the caller's.

    memory: that the dynamics made for this context.
    """

    def draw(distribution: SceneDistribution) -> Scene:
        return distribution.sample(generator) if stochastic else distribution.mean

    with torch.inference_mode():  # an eighth faster where the operations are small
        steps = unroll(dynamics, context, horizon, actions, draw, memory)
        future = [s.map(lambda x: x[:, None]) for _, s in steps]
    return cat([context, *future], 1)  # ordinary tensors again
