"""What every reader gives: episodes one after the other, frames only when they are asked for."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dlp_dyn.data.writer import Part

Frames = Iterable[tuple[str, np.ndarray]]
"""Pictures as found, each with its name for errors."""


@dataclass(frozen=True)
class Choices:
    """What the files themselves do not say.

    fps: take frames at this rate, for films whose rate varies. bits: of 16-bit pictures, see `images.as_rgb`.
    series: which pictures of a folder with several (`rgba_*.png`). allow_damaged: read what is left of a film.
    """

    fps: float | None = None
    bits: int | None = None
    series: str | None = None
    allow_damaged: bool = False


@dataclass(frozen=True)
class EpisodeStream:
    """One episode as found: frames are read only when asked for, one at a time.

    steps: rows of `writer.STEP_FIELDS`, one a frame or one fewer. alpha: a fourth channel is known to be alpha.
    """

    frames: Callable[[], Frames]
    part: Part | None = None
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)
    alpha: bool = False


class Reader(Protocol):
    """A source of episodes. layout: one line on what was understood. attributes: of the whole, as `fps`."""

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
    """By name, numbers by their size; numbers with a point as decimals, unless they count as 1.9, 1.10 do."""
    paths = list(paths)
    pattern = r"([0-9]+\.[0-9]+)" if _are_decimals([path.stem for path in paths]) else r"([0-9]+)"

    def key(path: Path) -> list[tuple[int, float, str]]:
        words = re.split(pattern, path.stem)
        return [
            (i % 2, float(word) if i % 2 else 0.0, "" if i % 2 else word) for i, word in enumerate(words)
        ] + [(0, 0.0, path.suffix)]

    return sorted(paths, key=lambda path: (key(path), path.name))


def _are_decimals(stems: Sequence[str]) -> bool:
    found = [re.fullmatch(r"\D*([0-9]+)\.([0-9]+)\D*", stem) for stem in stems]
    if not found or not all(found):
        return False
    fractions: dict[str, list[str]] = {}
    for match in found:
        if match is not None:
            fractions.setdefault(match[1], []).append(match[2])
    counted = all(
        sorted(map(int, values)) == list(range(min(map(int, values)), min(map(int, values)) + len(values)))
        for values in fractions.values()
    )
    return not counted
