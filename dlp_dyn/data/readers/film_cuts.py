"""Films that hold several episodes, one after the other: each is decoded once, from front to back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.readers.base import Choices, Frames
from dlp_dyn.data.readers.films import Film, open_film
from dlp_dyn.errors import InputError


class FilmCuts:
    """Cuts of films. Those that follow one another in one film are read on from where the last one ended."""

    def __init__(self) -> None:
        self._film: Film | None = None
        self._frames: Iterator[UInt8[np.ndarray, "H W 3"]] = iter(())
        self._at = 0

    def frames(self, path: Path, start: float, length: int, name: str) -> Frames:
        """`length` frames from the one shown at `start` seconds on. InputError where no frame begins there."""
        if self._film is None or self._film.path != path:
            self._film = open_film(path)
            self._restart(self._film)
        times = self._film.times
        first = int(np.abs(times - start).argmin())
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
        if abs(times[first] - start) > step / 2 or first + length > len(times):
            raise InputError(
                f"{name}: {length} frames from {start:g} s on, {path} has {len(times)} from {times[0]:g} to "
                f"{times[-1]:g} s; download the data set again"
            )
        if first < self._at:
            self._restart(self._film)
        while self._at < first + length:
            picture = next(self._frames)
            self._at += 1
            if self._at > first:
                yield f"{name}, frame {self._at - 1 - first} ({path.name})", picture

    def _restart(self, film: Film) -> None:
        self._frames, self._at = film.frames(Choices(fps="all")), 0
