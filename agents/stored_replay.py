"""Replay buffers in files without pickle: arrays as npz, and back in their places."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from dlp_dyn.errors import InputError, reading

PLAIN = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
Arrays = dict[str, np.ndarray]


def save(stream: IO[bytes], arrays: Mapping[str, np.ndarray], filled: int, **others: Any) -> None:
    """The first rows of arrays, as many as are filled, and others as they are."""
    others |= {name: array[:filled] for name, array in arrays.items()}
    np.savez(stream, **others)


def load(path: Path, arrays: Mapping[str, np.ndarray], size: str, rows: int) -> Arrays:
    """Copy what `save` wrote into arrays; gives all that was read. size: what ends with the number of rows.

    Raises InputError for a file that is gone, damaged, or of another buffer.
    """
    keep = "keep the buffer's settings"
    with reading(path, "damaged", "this agent can be used, but not trained on"), np.load(path) as file:
        stored = dict(file)
        if (found := stored[size].flat[-1]) != rows:
            raise InputError(f"{path}: a ring of {found} rows, this one has {rows}; {keep}")
        for name, array in arrays.items():
            x = stored[name]
            if x.shape[1:] != array.shape[1:] or len(x) > len(array) or x.dtype != array.dtype:
                raise InputError(
                    f"{path}: {name} is {x.shape} {x.dtype}, here {array.shape} {array.dtype}; {keep}"
                )
            array[: len(x)] = x
    return stored


def plain_arrays(buffer: ReplayBuffer) -> Arrays:
    """Arrays of SB3's own buffer, for environments without goals, by name; those of a Dict have its keys behind."""
    found: Arrays = {}
    for name in PLAIN:
        value = getattr(buffer, name)
        found |= (
            {f"{name}/{key}": x for key, x in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def save_plain(buffer: ReplayBuffer, stream: IO[bytes]) -> None:
    at = [buffer.pos, buffer.full, buffer.buffer_size]
    save(stream, plain_arrays(buffer), buffer.buffer_size if buffer.full else buffer.pos, at=np.array(at))


def load_plain(buffer: ReplayBuffer, path: Path) -> None:
    """Bring back what `save_plain` wrote. Raises InputError as `load` does."""
    pos, full, _ = load(path, plain_arrays(buffer), "at", buffer.buffer_size)["at"].tolist()
    buffer.pos, buffer.full = pos, bool(full)
