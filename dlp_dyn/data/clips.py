"""Random clips of a store, fast enough that no GPU waits for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.utils.data import Dataset

from dlp_dyn.clip import Clip
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError


class Ranges:
    """Ranges of integers, one after the other: an array of all their numbers, computed where it is indexed.

    starts, lengths: of each range. Those that touch are kept as one.
    """

    def __init__(self, starts: Int[np.ndarray, " R"], lengths: Int[np.ndarray, " R"]) -> None:
        begins = np.cumsum(lengths) - lengths
        shifts = starts - begins  # from an index to the number there
        kept = np.flatnonzero(np.diff(shifts, append=shifts[-1] + 1))
        self._shifts, self._ends = shifts[kept], (begins + lengths)[kept]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, indices: int | Sequence[int] | Int[np.ndarray, "*S"]) -> Int[np.ndarray, "*S"]:
        """The numbers at these indices, of which negative ones count from the end. IndexError past either end."""
        indices = np.asarray(indices)
        indices = np.where(indices < 0, indices + len(self), indices)
        if (indices < 0).any():
            raise IndexError(f"an index is below {-len(self)}")
        return np.asarray(indices + self._shifts[np.searchsorted(self._ends, indices, side="right")])


class ClipDataset(Dataset[Clip]):
    """Every clip of `clip_length` frames, `stride` frames apart, that fits into an episode of a part.

    starts: the first frame of each clip, by its index. Use with `collate`: a DataLoader then reads a whole batch in
    one go. With a stride above 1, the actions between two frames of a clip are laid side by side, so `action_dim` is
    `stride` times that of the file.

    Raises InputError when no episode of the part is long enough.
    """

    def __init__(
        self, path: str | Path | Rollouts, part: Part = "train", clip_length: int = 1, stride: int = 1
    ) -> None:
        if clip_length < 1 or stride < 1:
            raise InputError(f"clip_length {clip_length}, stride {stride}: both must be 1 or more")
        self.rollouts = path if isinstance(path, Rollouts) else Rollouts(path)
        self.clip_length, self.stride = clip_length, stride
        episodes = self.rollouts.part(part)
        if not len(episodes):
            raise InputError(
                f"{self.rollouts.path}: no episode in the {part} part ({self.rollouts.n_episodes} in all); "
                "add episodes"
            )
        span = (clip_length - 1) * stride + 1
        starts, lengths = self.rollouts.episode_starts[episodes], self.rollouts.episode_lengths[episodes]
        if span > lengths.max():
            raise InputError(
                f"{self.rollouts.path}: clips of {clip_length} frames, stride {stride}, span {span} frames, "
                "the longest episode of "
                f"the {part} part has {lengths.max()}; use a smaller clip_length or stride"
            )
        self.starts = Ranges(starts, np.maximum(lengths - span + 1, 0))

    @property
    def action_dim(self) -> int:
        return self.rollouts.action_dim * self.stride

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Clip:
        return self._read([index])

    def __getitems__(self, indices: Sequence[int]) -> list[Clip]:
        """A list of one clip batch: a DataLoader calls this once a batch and hands the list to `collate`."""
        return [self._read(indices)]

    def _read(self, indices: Sequence[int]) -> Clip:
        starts = self.starts[indices]
        frames = self.rollouts.frames(starts[:, None] + np.arange(self.clip_length) * self.stride)
        return Clip(torch.from_numpy(frames), self.actions(starts) if self.rollouts.has_actions else None)

    def actions(self, starts: Int[np.ndarray, " B"]) -> Float[torch.Tensor, "B T A"]:
        """The actions of the clips that begin at these frames of the store."""
        rows = starts[:, None] + np.arange(self.clip_length * self.stride)
        ends = self.rollouts.episode_ends[np.searchsorted(self.rollouts.episode_ends, starts, side="right")]
        actions = self.rollouts.column("actions")[np.minimum(rows, ends[:, None] - 1)]
        # The last action row of an episode is zero, so rows past the end repeat "no action".
        return torch.from_numpy(actions.reshape(len(starts), self.clip_length, -1))


def collate(clips: Sequence[Clip]) -> Clip:
    """Joins clips along the batch axis: the `collate_fn` of a DataLoader over a ClipDataset."""
    if len(clips) == 1:
        return clips[0]
    actions = [clip.actions for clip in clips if clip.actions is not None]
    return Clip(torch.cat([clip.frames for clip in clips]), torch.cat(actions) if actions else None)
