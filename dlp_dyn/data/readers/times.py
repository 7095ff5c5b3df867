"""When frames are shown -> which frames to keep, evenly spaced."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dlp_dyn.errors import InputError

_JITTER = 0.3  # of a step: what containers round off, and a camera's clock wobbles
_ROUNDING = 0.011  # seconds: GIF counts in hundredths


@dataclass(frozen=True)
class Schedule:
    """counts: how often each frame is taken (0: left out). fps: of what is taken; None where nothing is known."""

    counts: Int[np.ndarray, " T"]
    fps: float | None


def schedule(
    durations: Float[np.ndarray, " T"], fps: float | None, name: str, *, last: bool = False
) -> Schedule:
    """How frames that are shown for `durations` seconds become frames that are evenly spaced.

    Without fps, frames at one rate are taken once each, and those that stand for a whole number of steps, as a pause
    in a GIF or a dropped frame, are repeated. With fps, the frame is taken that is shown at each tick.

    last: the last duration is known as well as the others.

    Raises InputError, which begins with `name`, for frames that come at any time, unless fps is given.
    """
    if fps is not None:
        if fps <= 0:
            raise InputError(f"fps {fps:g}: must be above 0")
        ends = np.cumsum(durations)
        ticks = np.ceil(np.concatenate([[0], ends]) * fps - 1e-6)
        return Schedule(np.diff(ticks).astype(np.int64), fps)
    body = durations if last else durations[:-1]
    if not len(body) or body.max() <= 0:
        return Schedule(np.ones(len(durations), np.int64), None)
    step = float(np.median(body))
    if np.abs(body - step).max() <= max(_JITTER * step, _ROUNDING):
        return Schedule(np.ones(len(durations), np.int64), len(body) / float(body.sum()))
    step = float(body.min())
    counts = np.maximum(np.rint(durations / step), 1).astype(np.int64) if step > 0 else np.zeros(0, np.int64)
    if not len(counts) or np.abs(body - counts[: len(body)] * step).max() > max(_JITTER * step, _ROUNDING):
        raise InputError(
            f"{name}: its frame rate varies: frames come {1000 * body.min():.0f} to {1000 * body.max():.0f} ms apart; "
            "give fps, the frames a second to take"
        )
    return Schedule(counts, float(counts[: len(body)].sum() / body.sum()))
