"""A batch of short clips, of frames or of the particles in them: what the data rooms give and the models take."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dlp_dyn.particles import Scene
from dlp_dyn.tree import TensorTree

_B = TypeVar("_B", bound="_Batch")


class _Batch(TensorTree):
    """What a DataLoader gives."""

    def to(self: _B, device: torch.device | str, non_blocking: bool = True) -> _B:
        return self.map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self: _B) -> _B:
        """Called by a DataLoader with `pin_memory=True`."""
        return self.map(lambda x: x.pin_memory())


@dataclass(frozen=True)
class Clip(_Batch):
    """B clips of T frames as they are stored, with what else is known about them.

    frames: uint8 RGB, channels last. actions: `actions[:, t]` leads from frame t to frame t + 1. goal: a picture to
    reach. language: tokens of a text. alive: which frames are of the episode; None is all.
    """

    frames: UInt8[Tensor, "B T H W C"]
    actions: Float[Tensor, "B T A"] | None = None
    goal: UInt8[Tensor, "B H W C"] | None = None
    language: Float[Tensor, "b L E"] | None = None
    alive: Bool[Tensor, "B T"] | None = None

    @property
    def goal_video(self) -> Float[Tensor, "B 1 C H W"] | None:
        """The goal as a clip of one frame."""
        return None if self.goal is None else replace(self, frames=self.goal[:, None]).video

    @property
    def video(self) -> Float[Tensor, "B T C H W"]:
        """The frames as the models see them: float32 in [0, 1], channels first."""
        return self.frames.movedim(-1, -3).float().div_(255)


@dataclass(frozen=True)
class SceneClip(_Batch):
    """B clips of T encoded frames. `actions[:, t]` leads from frame t to frame t + 1."""

    scene: Scene
    actions: Float[Tensor, "B T A"] | None = None


def to_images(
    frames: UInt8[np.ndarray, "B H W 3"], device: torch.device | str = "cpu"
) -> Float[Tensor, "B 3 H W"]:
    """Stored frames as the models see them, on their device: float32 in [0, 1], channels first."""
    return Clip(torch.from_numpy(np.ascontiguousarray(frames))[:, None]).to(device).video[:, 0]
