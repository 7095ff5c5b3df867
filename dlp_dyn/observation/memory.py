"""What is remembered from step to step of the pictures of one camera, for several environments at once."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dlp_dyn.particles import ParticleLayout
from dlp_dyn.tracking.matching import Matcher
from dlp_dyn.tracking.state import MatchState


class FrameMemory:
    """The last picture of each row and its particles: a picture that stays is not encoded again."""

    def __init__(self, n_rows: int, image_size: int, n_particles: int, dim: int) -> None:
        self.frames = np.zeros((n_rows, image_size, image_size, 3), np.uint8)
        self.packed = np.zeros((n_rows, n_particles, dim), np.float32)
        self.known = np.zeros(n_rows, bool)

    def forget(self, rows: Int[np.ndarray, " R"]) -> None:
        self.known[rows] = False

    def unknown(
        self, frames: UInt8[np.ndarray, "R H W 3"], rows: Int[np.ndarray, " R"]
    ) -> Bool[np.ndarray, " R"]:
        """Which of these pictures have to be encoded."""
        return np.array(
            [
                not (self.known[row] and np.array_equal(frame, self.frames[row]))
                for frame, row in zip(frames, rows, strict=True)
            ],
            bool,
        )

    def store(
        self,
        frames: UInt8[np.ndarray, "R H W 3"],
        rows: Int[np.ndarray, " R"],
        packed: Float[np.ndarray, "R N D"],
    ) -> None:
        self.frames[rows], self.packed[rows], self.known[rows] = frames, packed, True

    def tensors(self) -> tuple[Tensor, ...]:
        """All that is remembered, in the memory where it lies."""
        return tuple(torch.from_numpy(array) for array in (self.frames, self.packed, self.known))


class Tracks:
    """Particles in fixed slots (`dlp_dyn.tracking.matching`), with a last column: steps since the object was last seen,
    `patience + 1` where the slot holds none."""

    def __init__(self, n_rows: int, n_particles: int, layout: ParticleLayout, matcher: Matcher) -> None:
        self.layout, self.matcher = layout, matcher
        nothing = layout.unpack(torch.zeros(n_rows, n_particles, layout.dim))
        missed = torch.full((n_rows, n_particles), matcher.patience + 1)
        self.state = MatchState(nothing, torch.zeros_like(nothing.position), missed)

    def forget(self, rows: Int[np.ndarray, " R"]) -> None:
        self.state.missed[rows] = self.matcher.patience + 1
        self.state.velocity[rows] = 0

    def follow(
        self, packed: Float[np.ndarray, "R N D"], rows: Int[np.ndarray, " R"]
    ) -> Float[np.ndarray, "R N E"]:
        whole = self.state
        before = MatchState(whole.particles[rows], whole.velocity[rows], whole.missed[rows])
        _, after = self.matcher.follow(self.layout.unpack(torch.from_numpy(packed)), before)
        for old, new in zip(whole.particles, after.particles, strict=True):
            old[rows] = new
        whole.velocity[rows], whole.missed[rows] = after.velocity, after.missed
        age = after.missed.clamp_max(self.matcher.patience + 1)[..., None].float()
        return torch.cat([self.layout.pack(after.particles), age], -1).numpy()

    def tensors(self) -> tuple[Tensor, ...]:
        """All that is remembered, in the memory where it lies."""
        return (*self.state.particles, self.state.velocity, self.state.missed)


class History:
    """The last `length` observations of each row on the token axis, with a last column: 0 now, -1 a step ago, ..."""

    def __init__(self, n_rows: int, length: int, n_tokens: int, dim: int) -> None:
        self.past = np.zeros((n_rows, length, n_tokens, dim), np.float32)
        self.known = np.zeros(n_rows, bool)
        self.time = -np.arange(length, dtype=np.float32)

    def forget(self, rows: Int[np.ndarray, " R"]) -> None:
        self.known[rows] = False

    def push(
        self, packed: Float[np.ndarray, "R N D"], rows: Int[np.ndarray, " R"]
    ) -> Float[np.ndarray, "R M E"]:
        """The newest first; before an episode's first observation stands that one again."""
        now = packed[:, None]
        older = np.where(self.known[rows][:, None, None, None], self.past[rows][:, :-1], now)
        stacked = np.concatenate([now, older], 1)
        self.past[rows], self.known[rows] = stacked, True
        time = np.broadcast_to(self.time[:, None, None], (*stacked.shape[:3], 1))
        return np.concatenate([stacked, time], -1).reshape(len(packed), -1, packed.shape[-1] + 1)

    def tensors(self) -> tuple[Tensor, ...]:
        """All that is remembered, in the memory where it lies."""
        return torch.from_numpy(self.past), torch.from_numpy(self.known)
