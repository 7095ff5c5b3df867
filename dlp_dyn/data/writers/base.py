"""What every writer of another tool's data set takes, and files and folders that appear when they are complete."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlp_dyn import folders
from dlp_dyn.data.readers.folders import store_of
from dlp_dyn.data.writer import FIRST_CAMERA, Episode, Part, one_line
from dlp_dyn.errors import InputError

Append = Callable[[Episode, Part, str], None]
"""Adds an episode with its part and what was to be done in it."""


@dataclass(frozen=True)
class Source:
    """Where to write, and what is known of all episodes: the attributes of a rollout file."""

    out: Path
    attributes: Mapping[str, Any]

    @property
    def fps(self) -> float:
        """Frames a second; 10 where that is not known."""
        return float(self.attributes.get("fps", 10.0))

    @property
    def camera(self) -> str:
        """The name of the first camera."""
        return str(self.attributes.get("camera", FIRST_CAMERA))


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A place of its own to write to, moved to `out` when all is written; an exception leaves what was there.

    It lies in a folder beside `out`, which its process holds locked; what a kill left in it is taken back or removed.
    Replaces a file or another data set. Raises InputError where that is not possible, for a folder of other things,
    and where another process writes it.
    """
    if out.is_dir() and any(out.iterdir()) and store_of(out) is None:
        raise InputError(
            f"{out}: a folder that is no data set, which is not replaced; give the name of a new one"
        )
    aside = out.parent / f".{out.name}.export"
    new, old = aside / "new", aside / "old"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        with folders.locked(aside):
            try:
                _take_back(old, out)
                _remove(new)
                yield new
                if out.exists():
                    out.rename(old)
                new.rename(out)
            finally:
                _take_back(old, out)
                shutil.rmtree(aside)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({one_line(error)}); make room, or choose another place"
        ) from error


def _take_back(old: Path, out: Path) -> None:
    """What was there comes back where nothing came in its place: a kill, or an error, between two renames."""
    if out.exists():
        _remove(old)
    elif old.exists():
        old.rename(out)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
