"""Actions, rewards and ends of other tools -> the rows of a rollout file."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

from dlp_dyn.errors import InputError

_MOST_ACTIONS = 1024


def one_hot(actions: Shaped[np.ndarray, "..."], name: str, axes: int = 1) -> Shaped[np.ndarray, "..."]:
    """Whole numbers, one a step, as one-hot rows; anything else as it is, one row a step.

    axes: how many come before an action: time, or episode and time.
    """
    single = actions.ndim == axes or (actions.ndim == axes + 1 and actions.shape[-1] == 1)
    if actions.dtype.kind in "ui" and single:
        flat = actions.reshape(actions.shape[:axes])
        highest = int(flat.max(initial=0))
        if flat.min(initial=0) < 0 or highest >= _MOST_ACTIONS:
            raise InputError(
                f"{name}: whole numbers from {flat.min()} to {highest} are no numbers of actions; store floats"
            )
        return np.eye(highest + 1, dtype=np.float32)[flat]
    return actions[..., None] if actions.ndim == axes else actions


def as_steps(
    steps: Mapping[str, Shaped[np.ndarray, "R ..."]], n_frames: int, name: str
) -> dict[str, np.ndarray]:
    """Rows for `n_frames` frames: one each, or one fewer.

    Where there is a row for the last frame, what it leads to is not known, and its action and reward are dropped. An
    end that it marks is kept: it moves to the row before, which leads to the last frame that there is.
    """
    rows = {}
    for key, values in steps.items():
        values = values.reshape(len(values), -1) if key == "actions" else values.reshape(len(values))
        if len(values) not in (n_frames, n_frames - 1):
            raise InputError(
                f"{name}: {len(values)} rows of {key} for {n_frames} frames; give one a frame, or one fewer"
            )
        if key in ("terminated", "truncated") and len(values) == n_frames > 1:
            values = values.astype(bool)
            values[-2] |= values[-1]
        rows[key] = values[: n_frames - 1] if n_frames > 1 else values
    return rows
