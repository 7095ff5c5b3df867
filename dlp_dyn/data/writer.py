"""Writing rollout files: an episode, and the file that many of them make, complete or not at all.

The file is HDF5. Along one flat time axis: `frames` (uint8, uncompressed), where known `actions`, `rewards`,
`terminated`, `truncated`, the same moments seen by further cameras, `views/...`, the ground truth `states/...` and
what else an agent sees, `observations/...`; beside it `episode_ends`, `episode_parts` (an index into PARTS) and, where
known, `episode_texts`.
"""

import errno
import io
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import h5py
import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Bool, Float, UInt8, UInt32

from dlp_dyn.errors import InputError

FORMAT_VERSION = 1
PARTS = ("train", "validation", "test")  # stored as 0, 1, 2
Part = Literal["train", "validation", "test"]
BUFFER_BYTES = (
    8 << 20
)  # short episodes are gathered up to this size: one HDF5 call costs as much as 50 frames
CHUNK_BYTES = 1 << 20
MASKS = "states/masks"  # always compressed: nearly all of it repeats
STATES = "states/"
VIEWS = "views/"
FIRST_CAMERA = "main"  # shows `frames`, unless the attribute `camera` has a name for it
CHECKSUMS = "checksums/"  # of images, frame by frame; HDF5 keeps those of the other arrays
EPISODE_FIELDS = ("episode_ends", "episode_parts", "episode_texts")
STEP_FIELDS = ("actions", "rewards", "terminated", "truncated")


@dataclass(frozen=True)
class Episode:
    """T frames in a row with what is known about them.

    Row t of `actions`, `rewards`, `terminated` and `truncated` describes the step from frame t to t + 1;
    the last row of an episode is padding (zeros). Discrete actions are one-hot.
    `states` is ground truth of O objects: `position` (T, O, 2) as (x, y) with -1 and 1 at the centres of the
    first and last pixel, `size` (T, O, 2) as a fraction of the image side, `colour` (T, O, 3) in [0, 1],
    `visible` (T, O) and, where known, `velocity` (T, O, 2) in units of `position` a frame, and `masks` (T, H, W) uint8:
    the object o that shows in each pixel as o + 1, 0 where none does.
    `observations` are the arrays of the environment's observation that are no pictures, such as goals.
    `views` are the same moments seen by other cameras, each with frames of a size of its own.
    """

    frames: UInt8[np.ndarray, "T H W 3"]
    actions: Float[np.ndarray, "T A"] | None = None
    rewards: Float[np.ndarray, " T"] | None = None
    terminated: Bool[np.ndarray, " T"] | None = None
    truncated: Bool[np.ndarray, " T"] | None = None
    states: Mapping[str, np.ndarray] | None = None
    observations: Mapping[str, np.ndarray] | None = None
    views: Mapping[str, UInt8[np.ndarray, "T h w 3"]] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def from_columns(cls, columns: Mapping[str, np.ndarray]) -> "Episode":
        """An episode from its arrays by their names in the file."""
        single = {name: array for name, array in columns.items() if "/" not in name}
        groups: dict[str, Any] = {}
        for name, array in columns.items():
            if name not in single:
                group, _, rest = name.partition("/")
                groups.setdefault(group, {})[rest] = array
        return cls(**single, **groups)

    def columns(self) -> dict[str, np.ndarray]:
        """Every array by its name in the file, in the dtype of the file."""
        arrays = {"frames": self.frames}
        for name in STEP_FIELDS:
            if (value := getattr(self, name)) is not None:
                arrays[name] = value.astype(
                    bool if name in ("terminated", "truncated") else np.float32, copy=False
                )
        for group in ("states", "observations"):
            for name, value in (getattr(self, group) or {}).items():
                full = f"{group}/{name}"
                dtype = np.uint8 if full == MASKS else bool if value.dtype == bool else np.float32
                arrays[full] = value.astype(dtype, copy=False)
        return arrays | {f"{VIEWS}{name}": frames for name, frames in (self.views or {}).items()}


class Sink(io.FileIO):
    """A file under HDF5. It remembers the first failed write and takes all later ones for done.

    HDF5 crashes the process when the disk is full while it closes a file; so it is never told.
    """

    error: OSError | None = None

    def check(self) -> None:
        """Raises OSError where a write has failed."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            done = 0
            while self.error is None and done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


class RolloutWriter:
    """Writes a rollout file episode by episode; the file appears under its name only when it is complete.

    Use it as a context manager. Until the end the data is in `<path>.partial`, which its process holds locked; an
    exception removes that, a kill leaves it to the next writer, and an earlier file under `path` stays as it was.
    `fractions` and `seed` decide which episode belongs to the train, validation and test part, unless `append` is
    told. `attributes` are stored as they are (`env_id`, `seed`, `frame_skip`, `fps`, ...). compress: a smaller file,
    whose frames have to be unpacked on every read.

    Raises InputError when the disk is full, the place is not writable, another process writes this file, or an
    episode does not match the first one.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fractions: Sequence[float | int] = (0.8, 0.1, 0.1),
        seed: int = 0,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        compress: bool = False,
    ) -> None:
        self.path = Path(path)
        self.fractions = tuple(fractions)
        self.seed = seed
        self.attributes = dict(attributes or {})
        self.compression = "gzip" if compress else None
        if len(self.fractions) != 3 or min(self.fractions) < 0 or sum(self.fractions) <= 0:
            raise InputError(
                f"split fractions {self.fractions}: give three numbers >= 0, for train, validation and test"
            )

    def __enter__(self) -> "RolloutWriter":
        if self.path.is_dir():
            raise InputError(
                f"{self.path}: is a folder; give the name of a file to write, such as {self.path}/data.h5"
            )
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self._buffer: list[dict[str, np.ndarray]] = []
        self._buffered_bytes = 0
        self._lengths: list[int] = []
        self._parts: list[Part | None] = []
        self._texts: list[str] = []
        self._row_shapes: dict[str, tuple[int, ...]] | None = None
        self._more = False
        try:
            self._sink = self._own()
        except OSError as error:
            raise self._write_error(error) from error
        # Since version 1.10 of HDF5 a file has checksums of all that it says about itself.
        self._file = h5py.File(self._sink, "w", rdcc_nbytes=4 * CHUNK_BYTES, libver=("v110", "v110"))
        return self

    def _own(self) -> Sink:
        """The partial file, empty and locked; what a killed process left in it is told and written over."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._partial)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path}: is being written by another process; wait until it has ended, or write another file"
            ) from None
        if left := self._partial.stat().st_size:
            print(
                f"{self._partial}: {left:,} bytes that a killed process left; written anew", file=sys.stderr
            )
        return Sink(self._partial, "w+b")

    def append(
        self, episode: Episode, part: Part | None = None, *, text: str = "", more: bool = False
    ) -> None:
        """Adds an episode; `part` overrides the seeded split: give it for all episodes or for none.

        text: what was to be done in it. more: what is appended next goes on with this episode. So a long one is
        written in pieces.
        """
        columns = episode.columns()
        self._check(columns)
        self._buffer.append(columns)
        if self._more:
            self._lengths[-1] += len(episode)
        else:
            self._lengths.append(len(episode))
            self._parts.append(part)
            self._texts.append(text)
        self._more = more
        self._buffered_bytes += sum(array.nbytes for array in columns.values())
        if self._buffered_bytes >= BUFFER_BYTES:
            self._flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failure:
            raise self._write_error(failure) from failure
        finally:
            self._discard()

    def _check(self, columns: dict[str, np.ndarray]) -> None:
        number, frames = len(self._lengths), columns["frames"]
        for name, images in columns.items():
            if is_images(name) and (
                images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images)
            ):
                raise InputError(
                    f"{self.path}: episode {number} has {name} {images.dtype} {images.shape}; "
                    "uint8 (T, H, W, 3) with T >= 1 is expected"
                )
        for name, array in columns.items():
            if len(array) != len(frames):
                raise InputError(
                    f"{self.path}: episode {number} has {len(frames)} frames and {len(array)} rows of "
                    f"{name}; pad to one row a frame"
                )
        row_shapes = {name: array.shape[1:] for name, array in columns.items()}
        if wrong := misfit(row_shapes):
            raise InputError(f"{self.path}: episode {number} has {wrong}")
        if self._row_shapes is None:
            self._row_shapes = row_shapes
        if row_shapes != self._row_shapes:
            name = next(
                n for n in row_shapes | self._row_shapes if row_shapes.get(n) != self._row_shapes.get(n)
            )
            raise InputError(
                f"{self.path}: episode {number} has {name} of shape {row_shapes.get(name)} a frame, "
                f"earlier ones {self._row_shapes.get(name)}; all episodes of a file must agree"
            )

    def _flush(self) -> None:
        if not self._buffer:
            return
        columns = {name: np.concatenate([item[name] for item in self._buffer]) for name in self._buffer[0]}
        self._buffer, self._buffered_bytes = [], 0
        columns |= {f"{CHECKSUMS}{name}": checksums(columns[name]) for name in columns if is_images(name)}
        for name, array in columns.items():
            if name not in self._file:
                # What is read past HDF5 goes without its filters.
                sums = name.startswith(CHECKSUMS)
                plain = sums or (is_images(name) and self.compression is None)
                chunk = max(1, CHUNK_BYTES // array[0].nbytes) if is_images(name) or name == MASKS else 1024
                shape = array.shape[1:]
                self._file.create_dataset(
                    name, (0, *shape), array.dtype, chunks=(chunk, *shape), maxshape=(None, *shape),
                    compression="gzip" if name == MASKS else None if sums else self.compression, fletcher32=not plain,
                )  # fmt: skip
            column = dataset(self._file, name)
            start = len(column)
            column.resize(start + len(array), axis=0)
            column[start:] = array
        try:
            self._sink.check()
        except OSError as error:
            raise self._write_error(error) from error

    def _finish(self) -> None:
        if not self._lengths:
            raise InputError(f"{self.path}: no episode was written; nothing to keep")
        self._flush()
        ends = np.cumsum(self._lengths, dtype=np.int64)
        for name, values in (("episode_ends", ends), ("episode_parts", self._split())):
            self._file.create_dataset(name, data=values, fletcher32=True)
        if any(self._texts):
            self._file.create_dataset("episode_texts", data=self._texts, dtype=h5py.string_dtype())
        attributes = {"format_version": FORMAT_VERSION, "split_seed": self.seed, **self.attributes}
        for name, value in attributes.items():
            self._file.attrs[name] = value
        self._file.close()
        if self._sink.error is None:
            os.fsync(self._sink.fileno())
        self._sink.close()
        self._sink.check()
        os.replace(self._partial, self.path)

    def _split(self) -> UInt8[np.ndarray, " E"]:
        given = [part for part in self._parts if part is not None]
        if given and len(given) < len(self._parts):
            raise InputError(
                f"{self.path}: the part is given for some episodes only; give it for all or for none"
            )
        if given:
            return np.array([PARTS.index(part) for part in given], np.uint8)
        return split_episodes(len(self._parts), self.fractions, self.seed)

    def _discard(self) -> None:
        self._file.close()
        self._sink.close()
        self._partial.unlink(missing_ok=True)
        self._lock.release()

    def _write_error(self, error: OSError) -> InputError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return InputError(
                f"{self.path}: the disk is full; free some space or write to another disk "
                "(nothing was replaced)"
            )
        return InputError(
            f"{self.path}: cannot be written ({one_line(error)}); check the folder and its permissions"
        )


def misfit(rows: Mapping[str, tuple[int, ...]]) -> str:
    """What is wrong with the shape of a row of what `Episode` lists, in a few words; nothing where all fit."""
    positions = rows.get(f"{STATES}position", rows.get(f"{STATES}visible", ()))
    n, known = positions[:1], {name: () for name in ("rewards", "terminated", "truncated")}
    known |= {f"{STATES}{name}": (*n, 2) for name in ("position", "size", "velocity")}
    known |= {f"{STATES}colour": (*n, 3), f"{STATES}visible": n, MASKS: rows["frames"][:2]}
    for name, expected in known.items():
        if name in rows and rows[name] != expected:
            return f"{name} of shape {rows[name]} a frame, expected {expected or 'one value'}"
    return ""


def is_images(name: str) -> bool:
    """Whether an array of a rollout file holds frames, of the first camera or another."""
    return name == "frames" or name.startswith(VIEWS)


def checksums(images: UInt8[np.ndarray, "T H W 3"]) -> UInt32[np.ndarray, " T"]:
    """CRC-32 of each image."""
    return np.array([zlib.crc32(image) for image in np.ascontiguousarray(images)], np.uint32)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def split_episodes(n_episodes: int, fractions: Sequence[float | int], seed: int) -> UInt8[np.ndarray, " E"]:
    """The part of each episode, as an index into PARTS; from three episodes on no wanted part is empty."""
    shares = np.array(fractions) / sum(fractions)
    n_validation, n_test = (round(share * n_episodes) for share in shares[1:])
    if n_episodes >= 3:
        n_validation, n_test = max(n_validation, int(shares[1] > 0)), max(n_test, int(shares[2] > 0))
        while shares[0] > 0 and n_validation + n_test >= n_episodes:
            n_validation, n_test = (
                (n_validation - 1, n_test) if n_validation > n_test else (n_validation, n_test - 1)
            )
    parts = np.zeros(n_episodes, np.uint8)
    order = np.random.default_rng(seed).permutation(n_episodes)
    parts[order[:n_validation]] = PARTS.index("validation")
    parts[order[n_validation : n_validation + n_test]] = PARTS.index("test")
    return parts


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """An array of the file; KeyError where there is none of that name."""
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{name} is not an array")
    return item
