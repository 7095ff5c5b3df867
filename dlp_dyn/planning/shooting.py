"""Rolls batches of candidate plans out from the contexts of their problems."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal

from dlp_dyn.dynamics.rollout import Dynamics, unroll
from dlp_dyn.particles import Scene, SceneDistribution
from dlp_dyn.planning.context import Context
from dlp_dyn.tree import cat, stack


@dataclass(frozen=True)
class Predictor:
    """Candidates (B, S, H, W) -> the scenes (B, S, H, ...) that they lead to.

    samples: 0 follows the mean; K draws so many futures, candidate by candidate, so that S becomes S·K. seed: of their
    noise, which is the same for all candidates and iterations: they are told apart by what they do, not by luck.
    rows: that are rolled out at once; more than fit into the cache take longer each.
    """

    dynamics: Dynamics
    samples: int = 0
    seed: int = 0
    rows: int = 1024

    def __call__(self, context: Context, candidates: Float[Tensor, "B S H W"]) -> Scene:
        gradients = candidates.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(gradients):
            at_once = max(self.rows // (len(candidates) * max(self.samples, 1)), 1)
            pieces = [self._roll(context, piece) for piece in candidates.split(at_once, 1)]
        return cat(pieces, 1)

    def _roll(self, context: Context, candidates: Float[Tensor, "B S H W"]) -> Scene:
        b, s, horizon, _ = candidates.shape
        k = max(self.samples, 1)

        def shared(x: Tensor) -> Tensor:
            return x[:, None].expand(b, s * k, *x.shape[1:]).flatten(0, 1)

        scene = context.scene.map(shared)
        actions = candidates.repeat_interleave(k, 1).flatten(0, 1)
        if context.actions is not None:
            actions = torch.cat([shared(context.actions), actions], 1)
        steps = unroll(self.dynamics, scene, horizon, actions, self._draw(b, s))
        return stack([scene for _, scene in steps], 1).map(lambda x: x.unflatten(0, (b, s * k)))

    def _draw(self, b: int, s: int) -> Callable[[SceneDistribution], Scene]:
        if not self.samples:
            return lambda d: d.mean
        generator = torch.Generator().manual_seed(self.seed)

        def draw(distribution: Distribution) -> Tensor:
            if not isinstance(distribution, Normal):
                return distribution.mean
            shape = (1, 1, self.samples, *distribution.loc.shape[1:])
            noise = torch.randn(shape, generator=generator).expand(b, s, *shape[2:]).flatten(0, 2)
            return distribution.loc + distribution.scale * noise

        return lambda d: d.draw(draw)
