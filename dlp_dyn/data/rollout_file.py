"""One rollout file: whether it is whole and says what it should, where its frames lie, and reading them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, UInt8, UInt32

from dlp_dyn.data.writer import (
    CHECKSUMS,
    EPISODE_FIELDS,
    FORMAT_VERSION,
    MASKS,
    PARTS,
    checksums,
    dataset,
    is_images,
    misfit,
    one_line,
)
from dlp_dyn.errors import InputError

REMAKE = "write it again with `dlp-dyn collect` or `dlp-dyn import`"

_SUM = np.dtype("<u4")


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


class RolloutFile:
    """One HDF5 file of a store: what is in it, and its frames past HDF5. InputError as of Rollouts.

    texts: of each episode; empty where none was given.
    """

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
            needed = ("episode_ends", "episode_parts", "frames")
            if missing := [n for n in needed if not isinstance(file.get(n, getlink=True), h5py.HardLink)]:
                raise InputError(f"{path}: has no {' and no '.join(missing)}; {REMAKE}")
            ends, parts, frames = (dataset(file, name) for name in needed)
            _check_layout(path, file, ends, parts, frames)
            self.n_frames, self.row_shapes = len(frames), _row_shapes(file)
            if wrong := misfit(self.row_shapes):
                raise InputError(f"{path}: {wrong}; {REMAKE}")
            self.texts = _texts(path, file, len(ends))
            self._pieces = {name: _pieces(dataset(file, name)) for name in self.row_shapes if is_images(name)}
            sums = [CHECKSUMS + name for name in self._pieces if CHECKSUMS + name in file]
            self._checksums = {name: _pieces(dataset(file, name)) for name in sums}
        # One bit an image: the index of a store of terabytes fits in memory.
        self._checked = {name: np.zeros(self.n_frames // 8 + 1, np.uint8) for name in sums}
        for pieces in self._checksums.values():
            if pieces is not None:
                pieces.check(path, self.n_frames, _SUM.itemsize, path.stat().st_size)
        for name, pieces in self._pieces.items():
            if pieces is not None:
                frame_bytes = int(np.prod(self.row_shapes[name]))
                pieces.check(path, self.n_frames, frame_bytes, path.stat().st_size)
        # Not a memory map: a file that is cut short while it is mapped kills the process.
        self._stream = path.open("rb", buffering=0)

    def read(
        self,
        name: str,
        rows: Int[np.ndarray, " n"],
        images: UInt8[np.ndarray, "B H W 3"],
        at: Int[np.ndarray, " n"],
    ) -> None:
        """Puts frame `rows[i]` of the file into `images[at[i]]`. name: `frames` or a view."""
        pieces = self._pieces[name]
        if pieces is None:
            # Compressed, by h5repack for one: slower, but it works.
            with _opened(self.path) as file:
                frames = dataset(file, name)
                for i, row in zip(at.tolist(), rows.tolist(), strict=True):
                    frames.read_direct(images[i], np.s_[row])
        else:
            flat, size = images.reshape(len(images), -1), images[0].size
            for i, offset in zip(at.tolist(), pieces.offsets(rows, size).tolist(), strict=True):
                if os.preadv(self._stream.fileno(), [flat[i].data], offset) != size:
                    raise InputError(
                        f"{self.path}: was cut short while it was read; copy it again or {REMAKE}"
                    )
        self._check(name, rows, images, at)

    def _check(
        self,
        name: str,
        rows: Int[np.ndarray, " n"],
        images: UInt8[np.ndarray, "B H W 3"],
        at: Int[np.ndarray, " n"],
    ) -> None:
        """InputError for a frame that is not as it was written; each is looked at once."""
        sums = CHECKSUMS + name
        if sums not in self._checksums:  # another program wrote the file
            return
        checked = self._checked[sums]
        new = np.flatnonzero(~(checked[rows >> 3] >> (rows & 7)) & 1)
        if not len(new):
            return
        wrong = checksums(images[at[new]]) != self._stored(sums, rows[new])
        if wrong.any():
            raise InputError(
                f"{self.path}: {name}: frame {rows[new][wrong][0]} is damaged; copy the file again or {REMAKE}"
            )
        np.bitwise_or.at(checked, rows[new] >> 3, np.left_shift(1, rows[new] & 7).astype(np.uint8))

    def _stored(self, name: str, rows: Int[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
        """Checksums of these images."""
        pieces = self._checksums[name]
        if pieces is None:
            with _opened(self.path) as file:
                sums = dataset(file, name)
                return np.array([sums[row] for row in rows.tolist()], np.uint32)
        offsets = pieces.offsets(rows, _SUM.itemsize).tolist()
        data = b"".join(os.pread(self._stream.fileno(), _SUM.itemsize, offset) for offset in offsets)
        return np.frombuffer(data.ljust(len(rows) * _SUM.itemsize, b"\0"), _SUM)

    def masks(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n H W"]:
        """Instance masks of frames, whose numbers rise."""
        with _opened(self.path) as file:
            masks, in_a_row = dataset(file, MASKS), rows[-1] - rows[0] == len(rows) - 1
            return masks[rows[0] : rows[-1] + 1] if in_a_row else masks[rows]

    def column(self, name: str) -> np.ndarray:
        with _opened(self.path) as file:
            return dataset(file, name)[:]


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
        if isinstance(item, h5py.Dataset) and name not in EPISODE_FIELDS:
            if not item.shape or len(item) != len(frames):
                raise InputError(
                    f"{path}: {name} {item.shape or 'a single value'}, frames {frames.shape}: one row a frame is "
                    f"expected; {REMAKE}"
                )
            if item.dtype.kind not in "fiub" or (name == "actions" and item.ndim != 2):
                raise InputError(
                    f"{path}: {name}: {item.dtype} {item.shape}: numbers are expected, of actions (T, A); {REMAKE}"
                )
            if name == MASKS and item.dtype != np.uint8:
                raise InputError(
                    f"{path}: {name}: {item.dtype}, expected uint8: numbers of objects; {REMAKE}"
                )
            if is_images(name) and (item.dtype != np.uint8 or item.ndim != 4 or item.shape[-1] != 3):
                raise InputError(
                    f"{path}: {name}: {item.dtype} {item.shape}, expected uint8 RGB as (T, H, W, 3); {REMAKE}"
                )
            if item.external:
                raise InputError(f"{path}: {name}: its bytes lie in {item.external[0][0]}; {REMAKE}")
            if item.chunks is not None and not item.id.get_num_chunks():
                raise InputError(f"{path}: {name}: was never written; {REMAKE}")

    file.visititems(note)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _texts(path: Path, file: h5py.File, n_episodes: int) -> tuple[str, ...]:
    if "episode_texts" not in file:
        return ("",) * n_episodes
    item = dataset(file, "episode_texts")
    if item.shape != (n_episodes,) or h5py.check_string_dtype(item.dtype) is None:
        raise InputError(
            f"{path}: episode_texts {item.dtype} {item.shape}, expected a text for each of {n_episodes} episodes; "
            f"{REMAKE}"
        )
    return tuple(map(str, item.asstr(errors="replace")[:]))


def _row_shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """The shape of a row of every array of the file."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name not in EPISODE_FIELDS and not name.startswith(CHECKSUMS):
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
