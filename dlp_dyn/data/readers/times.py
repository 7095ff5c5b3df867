"""When frames are shown -> which frames to keep, evenly spaced."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dlp_dyn.errors import InputError

_JITTER = 0.3  # of a step: how far a camera's clock may wobble


@dataclass(frozen=True)
class Schedule:
    """counts: how often each frame is taken (0: left out). fps: of what is taken; None where nothing is known.

    held: how many frames stand for several steps of a steady rate.
    """

    counts: Int[np.ndarray, " T"]
    fps: float | None
    held: int = 0

    def tell_held(self, tell: Callable[[str], None], path: Path) -> None:
        if self.held:
            tell(f"{path}: {self.held} frames are shown for longer than others, and repeated")


def schedule(
    durations: Float[np.ndarray, " T"],
    fps: float | str | None,
    name: str,
    *,
    rounding: float = 0.0,
    last: bool = False,
    step: float | None = None,
) -> Schedule:
    """How frames that are shown for `durations` seconds become frames that are evenly spaced.

    Without fps, frames at one rate are taken once each, and those that stand for a whole number of steps, as a pause
    in a GIF or a dropped frame, are repeated. With fps, the frame is taken that is shown at each tick; "all" takes
    every frame once.

    rounding: seconds that the container may be off. last: the last duration is known as well as the others.
    step: what durations are multiples of, where the container says; else the shortest of them, if that fits.

    Raises InputError, which begins with `name`, for frames that come at any time, unless fps is given.
    """
    once = np.ones(len(durations), np.int64)
    body = durations if last else durations[:-1]
    if isinstance(fps, str):
        return Schedule(once, None)
    if fps is not None:
        return Schedule(_ticks(durations, fps), fps)
    if not len(body) or body.max() <= 0:
        return Schedule(once, None)
    middle = float(np.median(body))
    if np.abs(body - middle).max() <= max(_JITTER * middle, rounding):
        return Schedule(once, len(body) / float(body.sum()))
    counts = _whole_steps(durations, len(body), rounding, step or float(body.min()))
    if counts is None:
        raise InputError(
            f"{name}: its frame rate varies: frames come {1000 * body.min():.0f} to {1000 * body.max():.0f} ms apart; "
            "give fps, the frames a second to take, or all"
        )
    held = int((counts[: len(body)] > 1).sum())
    return Schedule(counts, float(counts[: len(body)].sum() / body.sum()), held)


def _ticks(durations: Float[np.ndarray, " T"], fps: float) -> Int[np.ndarray, " T"]:
    """How many of the ticks 0, 1 / fps, 2 / fps, ... fall into each duration."""
    ends = np.concatenate([[0], np.cumsum(durations)])
    return np.diff(np.ceil(ends * fps - 1e-6)).astype(np.int64)


def _whole_steps(
    durations: Float[np.ndarray, " T"], known: int, rounding: float, step: float
) -> Int[np.ndarray, " T"] | None:
    """How many steps each duration has; None where one of the `known` first ones is no whole number of them."""
    if step <= rounding:
        return None
    counts = np.maximum(np.rint(durations / step), 1).astype(np.int64)
    # A step may be rounded as well: the mean of all is nearer to the true one.
    step = float(durations[:known].sum() / counts[:known].sum())
    counts = np.maximum(np.rint(durations / step), 1).astype(np.int64)
    off = np.abs(durations[:known] - counts[:known] * step).max()
    return counts if off <= max(_JITTER * step, rounding) else None
