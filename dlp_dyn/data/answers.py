"""What an environment answers, looked at before it is taken apart: others may have another API than Gymnasium's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlp_dyn.errors import InputError

RESET = ("observation", "info")
STEP = ("observation", "reward", "terminated", "truncated", "info")


def answered(verb: str, answer: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """The answer of `reset` or `step`. Raises InputError for one of other parts than these, info being a dictionary."""
    if isinstance(answer, tuple) and len(answer) == len(names) and isinstance(answer[-1], Mapping):
        return answer
    found = (
        f"{len(answer)} parts"
        if isinstance(answer, tuple) and len(answer) != len(names)
        else "something else"
    )
    raise InputError(
        f"environment: {verb} gives {found}, not ({', '.join(names)}) with a dictionary at the end; "
        "wrap it so that it has Gymnasium's API"
    )


def finite(name: str, value: Any) -> float:
    """A number that an environment tells. Raises InputError for what is no finite one."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise InputError(f"environment: {name} is {value!r}; it has to be one finite number")
    return float(array.item())
