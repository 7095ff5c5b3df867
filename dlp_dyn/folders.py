"""Files and folders that are written as a whole: a kill or a full disk leaves the earlier one as it was.

Only the owner of a run writes and restores; who reads takes what `complete` gives.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from dlp_dyn.errors import InputError

Data = bytes | Callable[[BinaryIO], object]
Contents = Mapping[str, Data]


def write(folder: Path, contents: Contents) -> None:
    """Write files, given as bytes or by what writes them into a stream, in place of an earlier folder of that name.

    Everything is written beside it and swapped in when complete. Raises InputError when writing fails.
    """
    new = folder.with_name(f"{folder.name}.part")
    file = new
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, data in contents.items():
            file = new / name
            with file.open("wb") as stream:
                _fill(stream, data)
        _swap(new, folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise InputError(
            f"{file}: cannot be written ({error.strerror}); make room or choose another out=FOLDER; "
            "checkpoints written before are intact"
        ) from error


def write_file(path: Path, data: Data) -> None:
    """Write a file beside its place, under a name of its own, and rename it. Raises OSError when writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with open(handle, "wb") as stream:
            _fill(stream, data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp makes files that nobody else may read
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fill(stream: BinaryIO, data: Data) -> None:
    if callable(data):
        data(stream)
    else:
        stream.write(data)
    stream.flush()
    os.fsync(stream.fileno())


def complete(folder: Path) -> Path:
    """Where the files of a folder are that `write` wrote: beside it, after a kill between its two renames."""
    old = folder.with_name(f"{folder.name}.old")
    return old if old.is_dir() and not folder.exists() else folder


def restore(folder: Path) -> None:
    """Finish what a kill between the two renames of `write` left undone."""
    old = folder.with_name(f"{folder.name}.old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)


def _swap(new: Path, folder: Path) -> None:
    restore(folder)
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
