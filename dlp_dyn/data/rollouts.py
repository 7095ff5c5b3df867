"""Reading rollout files: episodes, ground truth, and random clips fast enough that no GPU waits for them."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.utils.data import Dataset

from dlp_dyn.clip import Clip
from dlp_dyn.data.writer import FORMAT_VERSION, PARTS, STEP_FIELDS, Episode, Part, dataset, one_line
from dlp_dyn.errors import InputError

REMAKE = "write it again with `dlp-dyn collect` or `dlp-dyn import`"


class Rollouts:
    """A rollout file, open for reading.

    The frames stay on disk and are read through a memory map, so random clips cost a copy and nothing else,
    and the operating system keeps what fits in memory. Everything else is read on first use. Safe to hand to
    DataLoader workers, forked or spawned.

    Raises InputError when the file is missing, damaged, not a rollout file or of another format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; {REMAKE}")
        if not h5py.is_hdf5(self.path):
            raise InputError(
                f"{self.path}: not a rollout file (not HDF5); turn other formats into one "
                "with `dlp-dyn import`"
            )
        try:
            with h5py.File(self.path) as file:
                self.attributes: dict[str, Any] = {name: _plain(value) for name, value in file.attrs.items()}
                if (version := self.attributes.get("format_version")) != FORMAT_VERSION:
                    raise InputError(
                        f"{self.path}: format version {version}, this dlp-dyn reads version "
                        f"{FORMAT_VERSION}; {REMAKE}"
                    )
                self.episode_ends: Int[np.ndarray, " E"] = dataset(file, "episode_ends")[:]
                self.episode_parts: UInt8[np.ndarray, " E"] = dataset(file, "episode_parts")[:]
                frames = dataset(file, "frames")
                if frames.dtype != np.uint8:
                    raise InputError(
                        f"{self.path}: frames of {frames.dtype}, expected uint8 in [0, 255]; {REMAKE}"
                    )
                self._shape, self._offsets = frames.shape, _frame_offsets(frames)
                self._names = _dataset_names(file)
                self.action_dim: int = dataset(file, "actions").shape[1] if "actions" in self._names else 0
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.path}: truncated or damaged ({one_line(error)}); copy it again or {REMAKE}"
            ) from error
        if len(self._shape) != 4 or not len(self.episode_ends) or self.episode_ends[-1] != self._shape[0]:
            raise InputError(f"{self.path}: frames {self._shape} and episode_ends do not match; {REMAKE}")
        self._columns: dict[str, np.ndarray] = {}
        self._bytes = np.memmap(self.path, np.uint8, "r") if self._offsets is not None else None

    def __reduce__(self) -> tuple[type["Rollouts"], tuple[Path]]:
        return type(self), (self.path,)  # a worker process opens the file for itself

    @property
    def n_episodes(self) -> int:
        return len(self.episode_ends)

    @property
    def n_frames(self) -> int:
        return self._shape[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self._shape[1], self._shape[2]

    @property
    def has_actions(self) -> bool:
        return self.action_dim > 0

    @property
    def state_names(self) -> tuple[str, ...]:
        """Which ground truth there is, of the names that Episode lists."""
        return tuple(sorted(name.removeprefix("states/") for name in self._names if "/" in name))

    @property
    def has_states(self) -> bool:
        return bool(self.state_names)

    @cached_property
    def episode_starts(self) -> Int[np.ndarray, " E"]:
        return np.concatenate([[0], self.episode_ends[:-1]])

    @cached_property
    def episode_lengths(self) -> Int[np.ndarray, " E"]:
        return self.episode_ends - self.episode_starts

    def part(self, name: Part) -> Int[np.ndarray, " n"]:
        """Numbers of the episodes in a part."""
        if name not in PARTS:
            raise InputError(f"part {name!r}: use one of {', '.join(PARTS)}")
        return np.flatnonzero(self.episode_parts == PARTS.index(name))

    def episode(self, index: int) -> Episode:
        return self.read(int(self.episode_starts[index]), int(self.episode_lengths[index]))

    def read(self, start: int, length: int) -> Episode:
        """`length` frames from frame `start` of the file on, with actions and ground truth where known."""
        if start < 0 or length < 1 or start + length > self.n_frames:
            raise InputError(
                f"{self.path}: frames {start} to {start + length} asked for, there are {self.n_frames}"
            )
        rows = slice(start, start + length)
        steps = {name: self.column(name)[rows] for name in STEP_FIELDS if name in self._names}
        return Episode(
            self.frames(np.arange(start, start + length)), **steps, states=self.states(start, length) or None
        )

    def states(self, start: int, length: int) -> dict[str, np.ndarray]:
        """Ground truth of `length` frames from `start` on (see Episode); empty where the file has none."""
        return {name: self.column(f"states/{name}")[start : start + length] for name in self.state_names}

    def frames(self, rows: Int[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S H W 3"]:
        """The frames with these numbers."""
        images = np.empty((rows.size, *self._shape[1:]), np.uint8)
        if self._offsets is None or self._bytes is None:
            # Compressed, by h5repack for one: slower, but it works.
            with h5py.File(self.path) as file:
                frames = dataset(file, "frames")
                for image, row in zip(images, rows.flat, strict=True):
                    frames.read_direct(image, np.s_[int(row)])
        else:
            flat, size = images.reshape(rows.size, -1), int(np.prod(self._shape[1:]))
            for i, offset in enumerate(self._offsets[rows.ravel()].tolist()):
                flat[i] = self._bytes[offset : offset + size]
        return images.reshape(*rows.shape, *self._shape[1:])

    def column(self, name: str) -> np.ndarray:
        """A whole array by its name in the file (`actions`, `states/position`, ...), kept in memory."""
        if name not in self._columns:
            with h5py.File(self.path) as file:
                self._columns[name] = dataset(file, name)[:]
        return self._columns[name]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _dataset_names(file: h5py.File) -> set[str]:
    names: set[str] = set()
    file.visititems(lambda name, item: names.add(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _frame_offsets(frames: h5py.Dataset) -> Int[np.ndarray, " N"] | None:
    """Where in the file each frame begins; None where frames are not stored as plain bytes."""
    frame_bytes = int(np.prod(frames.shape[1:]))
    if frames.chunks is None:
        offset = frames.id.get_offset()
        return None if offset is None else offset + frame_bytes * np.arange(len(frames))
    per_chunk = frames.chunks[0]
    if frames.chunks[1:] != frames.shape[1:] or frames.id.get_create_plist().get_nfilters():
        return None
    starts = np.zeros(-(-len(frames) // per_chunk), np.int64)

    def note(chunk: Any) -> None:
        starts[chunk.chunk_offset[0] // per_chunk] = chunk.byte_offset

    frames.id.chunk_iter(note)
    rows = np.arange(len(frames))
    return starts[rows // per_chunk] + rows % per_chunk * frame_bytes


class ClipDataset(Dataset[Clip]):
    """Every clip of `clip_length` frames, `stride` frames apart, that fits into an episode of a part.

    Use with `collate`: a DataLoader then reads a whole batch in one go. With a stride above 1, the actions
    between two frames of a clip are laid side by side, so `action_dim` is `stride` times that of the file.

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
        self.starts: Int[np.ndarray, " n"] = np.concatenate(
            [
                np.arange(start, start + length - span + 1)
                for start, length in zip(starts, lengths, strict=True)
            ]
        )

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
        starts = self.starts[np.asarray(indices)]
        frames = self.rollouts.frames(starts[:, None] + np.arange(self.clip_length) * self.stride)
        return Clip(torch.from_numpy(frames), self.actions(starts) if self.rollouts.has_actions else None)

    def actions(self, starts: Int[np.ndarray, " B"]) -> Float[torch.Tensor, "B T A"]:
        """The actions of the clips that begin at these frames of the file."""
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
