"""What a planner knows when it begins: the last scenes, of the particles that are there now."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dlp_dyn.particles import Particles, Scene
from dlp_dyn.tree import TensorTree


@dataclass(frozen=True)
class Context(TensorTree):
    """B problems with the last T scenes of each, one block of actions apart, and the blocks between them.

    slots: the slot of the model that each particle has; particles that are off now are left out, so that rollouts cost
    no more than they must. on: False for those that fill up a problem with fewer than the others.
    """

    scene: Scene  # (B, T, K, ...)
    actions: Float[Tensor, "B T1 W"] | None
    slots: Int[Tensor, "B K"]
    on: Bool[Tensor, "B K"]

    @classmethod
    def of(cls, scene: Scene, actions: Float[Tensor, "B T1 W"] | None, any_number: bool = True) -> "Context":
        """Of scenes (B, T, N, ...) with all slots. any_number: of them may be rolled out; else all are kept."""
        visible = scene.particles.visible[:, -1]
        if not any_number:
            slots = torch.arange(visible.shape[1], device=visible.device).expand_as(visible)
            return cls(scene, actions, slots, visible)
        k = max(int(visible.sum(1).max()), 1)
        slots = visible.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :k]
        index = slots[:, None, :, None]
        kept = scene.particles.map(lambda x: x.take_along_dim(index, 2))
        return cls(Scene(kept, scene.background), actions, slots, visible.take_along_dim(slots, 1))

    @property
    def now(self) -> Particles:
        """The particles (B, K, ...) of the last scene."""
        return self.scene.particles[:, -1]
