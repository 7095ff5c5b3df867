"""SB3's own replay buffer, for environments without goals, in a file without pickle."""

from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from dlp_dyn.errors import InputError

STORED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save(buffer: ReplayBuffer, stream: IO[bytes]) -> None:
    """All that was stored, as npz."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays: Any = {name: array[:filled] for name, array in _arrays(buffer).items()}
    np.savez(stream, at=np.array([buffer.pos, buffer.full, buffer.buffer_size]), **arrays)


def load(buffer: ReplayBuffer, path: Path) -> None:
    """Bring back what `save` wrote. Raises InputError for a file that is gone, damaged, or of other settings."""
    try:
        with np.load(path, allow_pickle=False) as file:
            pos, full, size = file["at"].tolist()
            if size != buffer.buffer_size:
                raise InputError(
                    f"{path}: of {size} rows, this buffer has {buffer.buffer_size}; keep the buffer's settings"
                )
            for name, array in _arrays(buffer).items():
                array[: len(file[name])] = file[name]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: damaged or gone ({error}); this agent can be used, but not trained on"
        ) from None
    buffer.pos, buffer.full = pos, bool(full)


def _arrays(buffer: ReplayBuffer) -> dict[str, np.ndarray]:
    """Arrays of the buffer by name; those of a Dict have its keys behind."""
    found: dict[str, np.ndarray] = {}
    for name in STORED:
        value = getattr(buffer, name)
        if isinstance(value, dict):
            found |= {f"{name}/{key}": array for key, array in value.items()}
        else:
            found[name] = value
    return found
