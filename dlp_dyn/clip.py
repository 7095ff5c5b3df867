"""A batch of short clips, of frames or of the particles in them: what the data rooms give and the models take."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn.particles import Scene


@dataclass(frozen=True)
class Clip:
    """B clips of T frames as they are stored, with what else is known about them.

    frames: uint8 RGB, channels last. actions: `actions[:, t]` leads from frame t to frame t + 1.
    """

    frames: UInt8[Tensor, "B T H W C"]
    actions: Float[Tensor, "B T A"] | None = None

    @property
    def video(self) -> Float[Tensor, "B T C H W"]:
        """The frames as the models see them: float32 in [0, 1], channels first."""
        return self.frames.movedim(-1, -3).float().div_(255)

    def to(self, device: torch.device | str, non_blocking: bool = True) -> "Clip":
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Clip":
        """Called by a DataLoader with `pin_memory=True`."""
        return self._map(lambda x: x.pin_memory())

    def _map(self, fn: Callable[[Tensor], Tensor]) -> "Clip":
        return Clip(fn(self.frames), None if self.actions is None else fn(self.actions))


@dataclass(frozen=True)
class SceneClip:
    """B clips of T encoded frames. `actions[:, t]` leads from frame t to frame t + 1."""

    scene: Scene
    actions: Float[Tensor, "B T A"] | None = None

    def to(self, device: torch.device | str, non_blocking: bool = True) -> "SceneClip":
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "SceneClip":
        """Called by a DataLoader with `pin_memory=True`."""
        return self._map(lambda x: x.pin_memory())

    def _map(self, fn: Callable[[Tensor], Tensor]) -> "SceneClip":
        return SceneClip(self.scene.map(fn), None if self.actions is None else fn(self.actions))


def to_images(frames: UInt8[np.ndarray, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """Stored frames as the models see them: float32 in [0, 1], channels first."""
    return Clip(torch.from_numpy(np.ascontiguousarray(frames))[:, None]).video[:, 0]
