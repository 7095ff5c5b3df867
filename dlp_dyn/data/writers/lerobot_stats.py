"""Least, largest, mean and deviation of everything in a LeRobot data set, gathered episode by episode."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_FRAMES_AN_EPISODE = 10  # of each camera, spread evenly


@dataclass
class _Sums:
    least: np.ndarray
    largest: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    count: int


class Stats:
    """Numbers over all rows; channels of pictures, in [0, 1], over all pixels of some frames of each episode."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        for key, values in columns.items():
            if key == "states.masks":
                values = values[..., None]
            if values.ndim == 4 and values.dtype == np.uint8:
                rows = np.linspace(0, len(values) - 1, min(len(values), _FRAMES_AN_EPISODE)).astype(int)
                pixels = values[rows].reshape(-1, values.shape[-1])
                self._add(key, pixels / 255, len(rows), (values.shape[-1], 1, 1))
            else:
                flat = values.astype(np.float64)
                self._add(key, flat, len(values), values.shape[1:] or (1,))

    def _add(self, key: str, rows: np.ndarray, count: int, shape: tuple[int, ...]) -> None:
        sums = (rows.min(0), rows.max(0), rows.mean(0) * count, (rows**2).mean(0) * count)
        least, largest, total, squares = (np.reshape(values, shape) for values in sums)
        new = _Sums(least, largest, total, squares, count)
        old = self._sums.get(key)
        self._sums[key] = new if old is None else _Sums(
            np.minimum(old.least, new.least), np.maximum(old.largest, new.largest),
            old.total + new.total, old.squares + new.squares, old.count + new.count,
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """As `meta/stats.json` holds it."""
        found = {}
        for key, sums in self._sums.items():
            mean = sums.total / sums.count
            deviation = np.sqrt(np.maximum(sums.squares / sums.count - mean**2, 0))
            found[key] = {
                "min": sums.least.tolist(), "max": sums.largest.tolist(), "mean": mean.tolist(),
                "std": deviation.tolist(), "count": [sums.count],
            }  # fmt: skip
        return found
