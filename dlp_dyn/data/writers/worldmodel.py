"""stable-worldmodel's HDF5: flat columns with `ep_len` and `ep_offset`, as its `World.collect` writes them.

Row t holds what is seen at frame t, the action that leads from it, and the reward and end that led to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from dlp_dyn.data.writer import CHUNK_BYTES, VIEWS, Episode, Part, Sink, dataset
from dlp_dyn.data.writers.base import Append, Source, appearing

ARRIVING = {"rewards": "reward", "terminated": "terminated", "truncated": "truncated"}


@contextmanager
def write_worldmodel(source: Source) -> Iterator[Append]:
    """One HDF5 file. Texts stand in a column `task`, parts beside `ep_len`, as its attribute `part`."""
    lengths: list[int] = []
    parts: list[str] = []
    with appearing(source.out) as path, Sink(path, "w+b") as sink:
        # Later formats of HDF5 alone can be opened as stable-worldmodel does, for reading while another writes.
        with h5py.File(sink, "w", libver="latest") as file:

            def append(episode: Episode, part: Part, text: str) -> None:
                for name, values in _columns(episode, text).items():
                    _extend(file, name, values)
                sink.check()
                lengths.append(len(episode))
                parts.append(part)

            yield append
            file["ep_len"] = np.array(lengths, np.int32)
            file["ep_offset"] = (np.cumsum(lengths) - lengths).astype(np.int64)
            file["ep_len"].attrs["part"] = parts
            file.attrs.update(source.attributes)
        sink.check()


def _extend(file: h5py.File, name: str, values: np.ndarray) -> None:
    """Rows at the end of a column, which is made where there is none."""
    if name not in file:
        chunk = max(1, min(1024, CHUNK_BYTES // max(values[:1].nbytes, 1)))
        dtype = h5py.string_dtype() if values.dtype == object else values.dtype
        file.create_dataset(
            name, (0, *values.shape[1:]), dtype,
            chunks=(chunk, *values.shape[1:]), maxshape=(None, *values.shape[1:]),
        )  # fmt: skip
    column = dataset(file, name)
    start = len(column)
    column.resize(start + len(values), axis=0)
    column[start:] = values


def _columns(episode: Episode, text: str) -> dict[str, np.ndarray]:
    """By their names there: dots take the place of slashes, which would be groups."""
    columns = {"task": np.full(len(episode), text, object)}
    for name, values in episode.columns().items():
        if name == "frames":
            columns["pixels"] = values
        elif name == "actions":
            columns["action"] = values.copy()
            columns["action"][-1] = np.nan
        elif name in ARRIVING:
            first = np.full_like(values[:1], np.nan if name == "rewards" else False)
            columns[ARRIVING[name]] = np.concatenate([first, values[:-1]])
        elif name.startswith(VIEWS):
            columns[f"pixels_{name.removeprefix(VIEWS)}"] = values
        else:
            columns[name.removeprefix("observations/").replace("/", ".")] = values
    return columns
