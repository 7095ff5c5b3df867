"""Rolls batches of candidate plans out from the contexts of their problems."""

import contextlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal

from dlp_dyn.dynamics.base import Conditions, Dynamics
from dlp_dyn.dynamics.rollout import futures
from dlp_dyn.particles import Draw, Scene, mean
from dlp_dyn.planning.context import Context
from dlp_dyn.tree import cat


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
        with contextlib.nullcontext() if gradients else torch.inference_mode():
            at_once = max(self.rows // (len(candidates) * max(self.samples, 1)), 1)
            pieces = [self._roll(context, piece) for piece in candidates.split(at_once, 1)]
        return cat(pieces, 1)  # outside: ordinary tensors again

    def _roll(self, context: Context, candidates: Float[Tensor, "B S H W"]) -> Scene:
        b, s = candidates.shape[:2]
        repeated = candidates.repeat_interleave(max(self.samples, 1), 1)
        return futures(self.dynamics, context.scene, repeated, Conditions(context.actions), self._draw(b, s))

    def _draw(self, b: int, s: int) -> Draw:
        if not self.samples:
            return mean
        generator = torch.Generator().manual_seed(self.seed)

        def draw(distribution: Distribution) -> Tensor:
            if not isinstance(distribution, Normal):
                return distribution.mean
            shape = (1, 1, self.samples, *distribution.loc.shape[1:])
            noise = torch.randn(shape, generator=generator).expand(b, s, *shape[2:]).flatten(0, 2)
            return distribution.loc + distribution.scale * noise

        return draw
