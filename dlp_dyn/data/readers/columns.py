"""Arrays in .npy, .npz and HDF5 files, read row by row, whatever they unpack to."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import h5py
import numpy as np
from numpy.lib import format as npy

from dlp_dyn.data.writer import one_line
from dlp_dyn.errors import InputError

_MOST_BYTES = 1 << 30  # of what is read at once: actions, rewards, ends, a row of frames
_BOMB = 500  # times the size of the file, beyond _MOST_BYTES
_FAULTS = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, KeyError, OverflowError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


@runtime_checkable
class Column(Protocol):
    """An array along time."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def rows(self, start: int, end: int) -> Iterator[np.ndarray]:
        """One after the other."""
        ...


@dataclass(frozen=True)
class _Array:
    """In memory or mapped."""

    array: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype

    def rows(self, start: int, end: int) -> Iterator[np.ndarray]:
        return iter(self.array[start:end])


@dataclass
class _Member:
    """An array inside of an .npz file, unpacked as it is read. Ranges that follow one another are read once."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    _stream: BufferedIOBase | None = None
    _at: int = 0

    def rows(self, start: int, end: int) -> Iterator[np.ndarray]:
        row = self.shape[1:]
        size = prod(row) * self.dtype.itemsize
        with reading(self.path):
            stream = self._stream
            if stream is None or self._at != start:
                archive = zipfile.ZipFile(self.path)
                stream = cast(BufferedIOBase, archive.open(self.name))  # kept for the next range
                _header(stream)
                self._stream, self._at = stream, 0
            while self._at < end:
                data = stream.read(size)
                if len(data) < size:
                    raise EOFError("ends too early")
                self._at += 1
                if self._at > start:
                    yield np.frombuffer(data, self.dtype).reshape(row)


@dataclass(frozen=True)
class _Stored:
    """An array of an HDF5 file, which is opened for each range."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def rows(self, start: int, end: int) -> Iterator[np.ndarray]:
        with reading(self.path), h5py.File(self.path) as file:
            item = file[self.name]
            if isinstance(item, h5py.Dataset):
                step = min(max(1, (8 << 20) // max(prod(self.shape[1:]) * self.dtype.itemsize, 1)), 4096)
                for first in range(start, end, step):
                    yield from item[first : min(first + step, end)]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """InputError with the name of the file for whatever is wrong with it."""
    try:
        yield
    except InputError:
        raise
    except _FAULTS as error:
        raise InputError(
            f"{path}: not a {path.suffix} file of numbers, or damaged ({one_line(error)[:120]}); write it again"
        ) from error


def whole(path: Path, name: str, column: Column) -> np.ndarray:
    """All rows at once. InputError for more than a GB of them."""
    if prod(column.shape) * column.dtype.itemsize > _MOST_BYTES:
        raise InputError(f"{path}: {name} of shape {column.shape} is more than a gigabyte; leave it out")
    return np.array(list(column.rows(0, column.shape[0]))).reshape(column.shape)


def open_columns(path: Path) -> dict[str, Column]:
    """The arrays of a file by their names (those of HDF5 groups by their paths). InputError for what cannot be read."""
    with reading(path):
        if path.suffix.lower() == ".npy":
            # Unpickling would run code of whoever wrote the file.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            found: dict[str, Column] = {"frames": _Array(array, array.shape, array.dtype)}
        elif path.suffix.lower() == ".npz":
            found = dict(_members(path))
        else:
            found = dict(_stored(path))
    for name, column in found.items():
        if len(column.shape) > 1 and prod(column.shape[1:]) * column.dtype.itemsize > _MOST_BYTES:
            raise InputError(f"{path}: {name} of shape {column.shape}: a row is too large")
    return found


def _members(path: Path) -> Iterator[tuple[str, Column]]:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
        packed = max(path.stat().st_size, 1)
        if size > _MOST_BYTES and size > _BOMB * packed:
            raise InputError(
                f"{path}: {packed / 1e6:.1f} MB that unpack to {size / 1e9:.1f} GB; unpack it first if you trust it"
            )
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as stream:
                shape, fortran, dtype = _header(cast(BufferedIOBase, stream))
                if dtype.hasobject:
                    continue
                if stream.tell() + prod(shape) * dtype.itemsize != info.file_size:
                    raise ValueError(f"{info.filename} is not as long as it says")
                name = info.filename.removesuffix(".npy")
                if fortran and len(shape) > 1:
                    if info.file_size > _MOST_BYTES:
                        raise InputError(f"{path}: {name} is in Fortran's order; save it in C's")
                    array = np.frombuffer(stream.read(), dtype).reshape(shape, order="F")
                    yield name, _Array(array, shape, dtype)
                else:
                    yield name, _Member(path, info.filename, shape, dtype)


def _header(stream: BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(stream)


def _stored(path: Path) -> Iterator[tuple[str, Column]]:
    found: list[tuple[str, Column]] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            found.append((name, _Stored(path, name, item.shape, item.dtype)))

    with h5py.File(path) as file:
        file.visititems(note)
    yield from found


def select(columns: Mapping[str, Column], prefix: str) -> dict[str, Column]:
    """Those below an HDF5 group, by what follows."""
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
