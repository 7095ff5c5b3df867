"""Folders that are written as a whole: a kill or a full disk leaves the earlier one as it was."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from dlp_dyn.errors import InputError

Contents = Mapping[str, bytes | Callable[[BinaryIO], object]]


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
                if callable(data):
                    data(stream)
                else:
                    stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        _swap(new, folder)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise InputError(
            f"{file}: cannot be written ({error.strerror}); make room or choose another out=FOLDER; "
            "checkpoints written before are intact"
        ) from error


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
