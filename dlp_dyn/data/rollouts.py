"""Reading rollout files: episodes, ground truth, and random clips fast enough that no GPU waits for them."""

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.utils.data import Dataset

from dlp_dyn.clip import Clip
from dlp_dyn.data.writer import FORMAT_VERSION, MASKS, PARTS, STEP_FIELDS, Episode, Part, dataset, one_line
from dlp_dyn.errors import InputError

REMAKE = "write it again with `dlp-dyn collect` or `dlp-dyn import`"

_FINGERPRINTED = 64  # frames


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file; one line about it, as InputError, where it cannot be read."""
    try:
        with h5py.File(path) as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise InputError(
                f"{path}: too many open files; raise the limit (`ulimit -n`), or write fewer and larger ones"
            ) from error
        if isinstance(error, BlockingIOError):
            raise InputError(
                f"{path}: locked: another program holds it open for writing; wait until that has closed it"
            ) from error
        raise InputError(
            f"{path}: truncated or damaged ({one_line(error)}); copy it again or {REMAKE}"
        ) from error


def _is_hdf5(path: Path) -> bool:
    try:
        return bool(h5py.is_hdf5(path))
    except OSError:  # it cannot be opened; `_opened` says why
        return True


class _File:
    """One HDF5 file of a store: what is in it, and its frames past HDF5. InputError as of Rollouts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: no such file; {REMAKE}")
        if not _is_hdf5(path):
            raise InputError(
                f"{path}: not a rollout file (not HDF5); turn other formats into one with `dlp-dyn import`"
            )
        with _opened(path) as file:
            self.attributes: dict[str, Any] = {name: _plain(value) for name, value in file.attrs.items()}
            if (version := self.attributes.get("format_version")) != FORMAT_VERSION:
                raise InputError(
                    f"{path}: format version {version}, this dlp-dyn reads version {FORMAT_VERSION}; {REMAKE}"
                )
            ends, parts, frames = (
                dataset(file, name) for name in ("episode_ends", "episode_parts", "frames")
            )
            _check_layout(path, file, ends, parts, frames)
            self.n_frames, self.row_shapes, self._pieces = len(frames), _row_shapes(file), _pieces(frames)
        # Not a memory map: a file that is cut short while it is mapped kills the process.
        self._stream = None if self._pieces is None else path.open("rb", buffering=0)
        if self._pieces is not None:
            frame_bytes = int(np.prod(self.row_shapes["frames"]))
            self._pieces.check(path, self.n_frames, frame_bytes, path.stat().st_size)

    def read(
        self, rows: Int[np.ndarray, " n"], images: UInt8[np.ndarray, "B H W 3"], at: Int[np.ndarray, " n"]
    ) -> None:
        """Puts frame `rows[i]` of the file into `images[at[i]]`."""
        if self._pieces is None or self._stream is None:
            # Compressed, by h5repack for one: slower, but it works.
            with _opened(self.path) as file:
                frames = dataset(file, "frames")
                for i, row in zip(at.tolist(), rows.tolist(), strict=True):
                    frames.read_direct(images[i], np.s_[row])
        else:
            flat, size = images.reshape(len(images), -1), images[0].size
            for i, offset in zip(at.tolist(), self._pieces.offsets(rows, size).tolist(), strict=True):
                if os.preadv(self._stream.fileno(), [flat[i].data], offset) != size:
                    raise InputError(
                        f"{self.path}: was cut short while it was read; copy it again or {REMAKE}"
                    )

    def masks(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n H W"]:
        """Instance masks of frames, whose numbers rise."""
        with _opened(self.path) as file:
            masks, in_a_row = dataset(file, MASKS), rows[-1] - rows[0] == len(rows) - 1
            return masks[rows[0] : rows[-1] + 1] if in_a_row else masks[rows]

    def column(self, name: str) -> np.ndarray:
        with _opened(self.path) as file:
            return dataset(file, name)[:]


class Rollouts:
    """A store of rollouts, open for reading: a rollout file, or a folder of them.

    The files of a folder (`*.h5`, in the order of their names) are read as if their episodes stood in one file, one
    after the other. Numbers of frames and episodes are those of the store.

    The frames stay on disk and are read from where they lie, so random clips cost a copy and nothing else,
    and the operating system keeps what fits in memory. Everything else is read on first use. Safe to hand to
    DataLoader workers, forked or spawned.

    attributes: those that have one value in all files.

    Raises InputError when a file is missing, damaged, not a rollout file or of another format version, when a folder
    has none, and when the files of a folder differ in their arrays or the shape of a row.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        paths = sorted(self.path.glob("*.h5")) if self.path.is_dir() else [self.path]
        if not paths:
            raise InputError(
                f"{self.path}: no rollout file (*.h5) in this folder; write one with `dlp-dyn collect` or "
                "`dlp-dyn import`, or give another folder"
            )
        self._files = [_File(file) for file in paths]
        _check_agreement(self._files)
        first = self._files[0]
        self.attributes: dict[str, Any] = {
            name: value
            for name, value in first.attributes.items()
            if all(file.attributes.get(name) == value for file in self._files)
        }
        self._row_shapes = first.row_shapes
        lengths = np.array([file.n_frames for file in self._files])
        self._ends: Int[np.ndarray, " F"] = np.cumsum(lengths)
        self._starts: Int[np.ndarray, " F"] = self._ends - lengths
        ends = [s + file.column("episode_ends") for s, file in zip(self._starts, self._files, strict=True)]
        # From the first frame of each episode to that of the next: starts and ends are views of it.
        self._bounds: Int[np.ndarray, " E+1"] = np.concatenate([[0], *ends])
        self.episode_parts: UInt8[np.ndarray, " E"] = np.concatenate(
            [file.column("episode_parts") for file in self._files]
        )
        self._columns: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type["Rollouts"], tuple[Path]]:
        return type(self), (self.path,)  # a worker process opens the files for itself

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self._files)

    @property
    def n_episodes(self) -> int:
        return len(self._bounds) - 1

    @property
    def n_frames(self) -> int:
        return int(self._ends[-1])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width, _ = self._row_shapes["frames"]
        return height, width

    @property
    def action_dim(self) -> int:
        return self._row_shapes.get("actions", (0,))[0]

    @property
    def has_actions(self) -> bool:
        return self.action_dim > 0

    @property
    def state_names(self) -> tuple[str, ...]:
        """Which ground truth there is, of the names that Episode lists."""
        return self._names("states/")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every array with a row a frame, as `column` takes them."""
        return tuple(self._row_shapes)

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Which arrays of the environment's own observation there are."""
        return self._names("observations/")

    def _names(self, group: str) -> tuple[str, ...]:
        return tuple(sorted(name.removeprefix(group) for name in self._row_shapes if name.startswith(group)))

    @property
    def has_states(self) -> bool:
        return bool(self.state_names)

    @property
    def episode_starts(self) -> Int[np.ndarray, " E"]:
        return self._bounds[:-1]

    @property
    def episode_ends(self) -> Int[np.ndarray, " E"]:
        return self._bounds[1:]

    @cached_property
    def episode_lengths(self) -> Int[np.ndarray, " E"]:
        return np.diff(self._bounds)

    def fingerprint(self) -> str:
        """Tells these episodes from others, wherever they lie: made of bounds, parts, and frames spread evenly."""
        rows = np.linspace(0, self.n_frames - 1, min(self.n_frames, _FINGERPRINTED)).astype(np.int64)
        digest = hashlib.sha256(repr(sorted(self._row_shapes.items())).encode())
        for array in (self._bounds, self.episode_parts, self.frames(rows)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def part(self, name: Part) -> Int[np.ndarray, " n"]:
        """Numbers of the episodes in a part."""
        if name not in PARTS:
            raise InputError(f"part {name!r}: use one of {', '.join(PARTS)}")
        return np.flatnonzero(self.episode_parts == PARTS.index(name))

    def episode(self, index: int) -> Episode:
        return self.read(int(self.episode_starts[index]), int(self.episode_lengths[index]))

    def read(self, start: int, length: int) -> Episode:
        """`length` frames from frame `start` of the store on, with actions and ground truth where known."""
        if start < 0 or length < 1 or start + length > self.n_frames:
            raise InputError(
                f"{self.path}: frames {start} to {start + length} asked for, there are {self.n_frames}"
            )
        rows = slice(start, start + length)
        steps: dict[str, Any] = {
            name: self.column(name)[rows] for name in STEP_FIELDS if name in self._row_shapes
        }
        return Episode(
            self.frames(np.arange(start, start + length)), **steps, states=self.states(start, length) or None
        )

    def states(self, start: int, length: int) -> dict[str, np.ndarray]:
        """Ground truth of `length` frames from `start` on (see Episode); empty where there is none."""
        return self.states_at(np.arange(start, start + length))

    def states_at(self, rows: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Ground truth of the frames with these numbers, which rise. Masks stay on disk, as frames do."""
        arrays = {name: f"states/{name}" for name in self.state_names}
        return {
            k: self._masks(rows) if name == MASKS else self.column(name)[rows] for k, name in arrays.items()
        }

    def frames(self, rows: Int[np.ndarray, "*S"]) -> UInt8[np.ndarray, "*S H W 3"]:
        """The frames with these numbers. IndexError for a number that no frame has."""
        flat = rows.ravel()
        if (flat < 0).any():
            raise IndexError("a number of a frame is negative")
        images = np.empty((flat.size, *self._row_shapes["frames"]), np.uint8)
        files = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(files):
            at = np.flatnonzero(files == number)
            self._files[number].read(flat[at] - self._starts[number], images, at)
        return images.reshape(*rows.shape, *images.shape[1:])

    def _masks(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n H W"]:
        files = np.searchsorted(self._ends, rows, side="right")
        return np.concatenate(
            [self._files[i].masks(rows[files == i] - self._starts[i]) for i in np.unique(files)]
        )

    def column(self, name: str) -> np.ndarray:
        """A whole array by its name in the files (`actions`, `states/position`, ...), kept in memory."""
        if name not in self._columns:
            self._columns[name] = np.concatenate([file.column(name) for file in self._files])
        return self._columns[name]


def _check_layout(
    path: Path, file: h5py.File, ends: h5py.Dataset, parts: h5py.Dataset, frames: h5py.Dataset
) -> None:
    """InputError for what another program has written differently: every array has a row a frame."""
    if frames.dtype != np.uint8:
        raise InputError(f"{path}: frames of {frames.dtype}, expected uint8 in [0, 255]; {REMAKE}")
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(f"{path}: frames {frames.shape}, expected RGB as (T, H, W, 3); {REMAKE}")
    if (
        ends.ndim != 1
        or ends.shape != parts.shape
        or ends.dtype.kind not in "iu"
        or parts.dtype.kind not in "iu"
    ):
        raise InputError(
            f"{path}: episode_ends {ends.dtype} {ends.shape}, episode_parts {parts.dtype} {parts.shape}: expected "
            f"one whole number an episode in both; {REMAKE}"
        )
    bounds = np.concatenate([[0], ends[:].astype(np.int64)])
    if not len(ends) or (np.diff(bounds) <= 0).any() or bounds[-1] != len(frames):
        raise InputError(
            f"{path}: episode_ends must rise, from at least 1 to the number of frames, {len(frames)}; {REMAKE}"
        )
    if int(parts[:].max()) >= len(PARTS) or int(parts[:].min()) < 0:
        raise InputError(
            f"{path}: episode_parts holds {int(parts[:].max())}; 0 is {PARTS[0]}, 1 {PARTS[1]}, 2 {PARTS[2]}; "
            f"{REMAKE}"
        )

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name not in ("episode_ends", "episode_parts"):
            if not item.shape or len(item) != len(frames):
                raise InputError(
                    f"{path}: {name} {item.shape or 'a single value'}, frames {frames.shape}: one row a frame is "
                    f"expected; {REMAKE}"
                )
            if item.dtype.kind not in "fiub" or (name == "actions" and item.ndim != 2):
                raise InputError(
                    f"{path}: {name}: {item.dtype} {item.shape}: numbers are expected, of actions (T, A); {REMAKE}"
                )
            if item.chunks is not None and not item.id.get_num_chunks():
                raise InputError(f"{path}: {name}: was never written; {REMAKE}")

    file.visititems(note)


def _check_agreement(files: Sequence[_File]) -> None:
    first = files[0]
    for file in files[1:]:
        for name in sorted(first.row_shapes | file.row_shapes):
            here, there = (
                f"shape {f.row_shapes[name]} a row" if name in f.row_shapes else "none" for f in (file, first)
            )
            if here != there:
                raise InputError(
                    f"{file.path}: {name}: {here}, in {first.path.name} {there}; the files of a folder must agree: "
                    "write this one again likewise, or move it to another folder"
                )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _row_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """The shape of a row of every array of the file."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape[1:]

    file.visititems(note)
    return shapes


@dataclass(frozen=True)
class _Pieces:
    """Where frames lie that are stored as plain bytes.

    starts: the byte of the file at which each piece of `length` frames begins.
    """

    starts: Int[np.ndarray, " P"]
    length: int

    def offsets(self, rows: Int[np.ndarray, " n"], frame_bytes: int) -> Int[np.ndarray, " n"]:
        """Where in the file these frames begin."""
        piece, within = np.divmod(rows, self.length)
        return self.starts[piece] + within * frame_bytes

    def check(self, path: Path, n_frames: int, frame_bytes: int, file_bytes: int) -> None:
        """InputError where a piece would lie outside the file."""
        lengths = np.minimum(self.length, n_frames - self.length * np.arange(len(self.starts)))
        if (self.starts <= 0).any() or (self.starts + lengths * frame_bytes > file_bytes).any():
            raise InputError(
                f"{path}: truncated or damaged (frames outside of the file); copy it again or {REMAKE}"
            )


def _pieces(frames: h5py.Dataset) -> _Pieces | None:
    """None where frames are not stored as plain bytes, or some were never written: HDF5 has them black."""
    if frames.chunks is None:
        offset = frames.id.get_offset()
        return _Pieces(np.array([offset or 0]), len(frames))
    length = frames.chunks[0]
    n_pieces = -(-len(frames) // length)
    filtered = frames.id.get_create_plist().get_nfilters()
    if frames.chunks[1:] != frames.shape[1:] or filtered or frames.id.get_num_chunks() < n_pieces:
        return None
    starts = np.zeros(n_pieces, np.int64)

    def note(chunk: Any) -> None:
        starts[chunk.chunk_offset[0] // length] = chunk.byte_offset

    frames.id.chunk_iter(note)
    return _Pieces(starts, length)


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
