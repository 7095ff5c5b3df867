"""What every reader gives: episodes one after the other, frames only when they are asked for."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dlp_dyn.data.writer import STATES, Part

Frames = Iterable[tuple[str, np.ndarray]]
"""Pictures as found, each with its name for errors."""


def _nobody(_: str) -> None:
    pass


@dataclass(frozen=True)
class Choices:
    """What the files themselves do not say.

    fps: take frames at this rate from films whose rate varies; "all": every frame once, at whatever time it comes.
    bits: of 16-bit pictures, see `images.as_rgb`. series: which files of a folder with several kinds of them: a pattern
    (`rgba_*.png`) or "each" for one episode a series. masks: where a picture a frame numbers the things: a folder
    beside frames or films (`masks`), or a pattern of names beside those of the frames (`mask_*.png`). camera: the one
    to read of several; None: all, the first as frames, the others as views. allow_damaged: read what is left of a
    damaged film.
    tell: takes remarks made while reading, one line each.
    """

    fps: float | str | None = None
    bits: int | None = None
    series: str | None = None
    allow_damaged: bool = False
    camera: str | None = None
    masks: str | None = None
    tell: Callable[[str], None] = _nobody


@dataclass(frozen=True)
class EpisodeStream:
    """One episode as found: frames are read only when asked for, one at a time.

    steps: rows of `writer.STEP_FIELDS`, one a frame or one fewer. columns: other rows, one a frame, by their names in a
    rollout file (`observations/state`). views: the same moments seen by other cameras. masks: the number of the thing
    in each pixel, 0 for none. text: what was to be done. alpha: a fourth channel is known to be alpha.
    fps: frames a second where the source says, None elsewhere.
    """

    frames: Callable[[], Frames]
    part: Part | None = None
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    alpha: bool = False
    fps: Callable[[], float | None] = lambda: None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    views: Mapping[str, Callable[[], Frames]] = field(default_factory=dict)
    masks: Callable[[], Frames] | None = None
    text: str = ""


def without_truth(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of an episode as a further camera sees it: ground truth is in the coordinates of the first."""
    return {name: values for name, values in columns.items() if not name.startswith(STATES)}


@runtime_checkable
class Reader(Protocol):
    """A source of episodes. layout: lines on what was understood. attributes: of the whole, as `env_id`."""

    @property
    def layout(self) -> str: ...

    @property
    def attributes(self) -> Mapping[str, Any]: ...

    def __iter__(self) -> Iterator[EpisodeStream]: ...


@dataclass(frozen=True)
class Listed:
    """A reader of episodes that are known by name before any is read."""

    episodes: Sequence[EpisodeStream]
    layout: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[EpisodeStream]:
        return iter(self.episodes)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """By name, numbers by their size; numbers with a point as decimals, unless they count as 1.9, 1.10 do.

    A minus is the sign of a number where other names are the same without it: x_-1, x_0; not img-1, img-2.
    """
    paths = list(paths)
    number = r"\d+\.\d+|\d+" if _are_decimals([path.stem for path in paths]) else r"\d+"
    shapes = {path: re.sub(number, "*", path.stem) for path in paths}
    known = {*shapes.values()}

    def key(path: Path) -> tuple[list[tuple[int, float, str]], str]:
        shape = shapes[path]
        signed = "-*" in shape and shape.replace("-*", "*") in known
        words = re.split(rf"((?<!\d)-(?:{number})|{number})" if signed else rf"({number})", path.stem)
        parts = [
            (i % 2, float(word) if i % 2 else 0.0, "" if i % 2 else word) for i, word in enumerate(words)
        ]
        return parts, path.name

    return sorted(paths, key=key)


def _are_decimals(stems: Sequence[str]) -> bool:
    """Whether what follows the points are decimals: 0.5, 0.25; not 1.9, 1.10, which count within each whole number."""
    found = [re.fullmatch(r"\D*(\d+)(?:\.(\d+))?\D*", stem) for stem in stems]
    if not all(found):
        return False
    fractions: dict[str, list[str]] = {}
    for match in found:
        if match is not None and match[2] is not None:
            fractions.setdefault(match[1], []).append(match[2])
    return bool(fractions) and not all(map(_count_up, fractions.values()))


def _count_up(numbers: Sequence[str]) -> bool:
    values = sorted(map(int, numbers))
    return values == list(range(values[0], values[0] + len(values))) and values[0] in (0, 1)
