"""Files and folders that are written as a whole: a kill or a full disk leaves the earlier one as it was.

Only the owner of a run writes and restores; who reads takes what `complete` gives.
"""

import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from dlp_dyn.errors import InputError, writing

LOCK, PART = ".lock", ".part"  # of what a kill in the midst of writing leaves

Data = bytes | Callable[[BinaryIO], object]
Contents = Mapping[str, Data]


def write(folder: Path, contents: Contents) -> None:
    """Write files, given as bytes or by what writes them into a stream, in place of an earlier folder of that name.

    Everything is written beside it and swapped in when complete. Raises InputError when writing fails.
    """
    new, old = folder.with_name(f"{folder.name}{PART}"), _old(folder)
    file = new
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, data in contents.items():
            file = new / name
            _fill(file, data)
        restore(folder)
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise InputError(
            f"{file}: cannot be written ({error.strerror}); make room or choose another out=FOLDER; "
            "checkpoints written before are intact"
        ) from error


def write_file(path: Path, data: Data) -> None:
    """Write a file beside its place, under a name of its own, and rename it. Raises InputError when writing fails."""
    part = path.parent / f".{secrets.token_hex(8)}{PART}"
    with writing(path, "make room or choose another place"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fill(part, data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _fill(file: Path, data: Data) -> None:
    with file.open("wb") as stream:
        if callable(data):
            data(stream)
        else:
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder as its only owner; a lock dies with its process. Raises InputError where another one holds it."""
    file = folder / LOCK
    with writing(folder, "choose another out=FOLDER"):
        try:
            held = FileLock(file).acquire(timeout=0)
        except Timeout:
            pid, host, *_ = *file.read_text().split(), "?", "?"
            raise InputError(
                f"{folder}: in use by process {pid} on {host}; wait until it has ended, or choose another folder"
            ) from None
    with held:
        with suppress(OSError):  # a full disk: it is for the message to others only
            if (
                str(os.getpid()) not in file.read_text().split()
            ):  # told already where a file system has no locks
                file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        yield


def absolute(path: str) -> str:
    """A path from the root, where there is something; a name of another kind as it is."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def complete(folder: Path) -> Path:
    """Where the files of a folder are that `write` wrote: beside it, after a kill between its two renames."""
    old = _old(folder)
    return old if old.is_dir() and not folder.exists() else folder


def restore(folder: Path) -> None:
    """Finish what a kill between the two renames of `write` left undone; for the owner alone."""
    if (found := complete(folder)) != folder:
        found.rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")
