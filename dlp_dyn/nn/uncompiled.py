"""Functions that torch.compile leaves as they are, without loading the compiler where nothing is compiled."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """What `torch.compiler.disable` makes of a function; that imports the compiler at once, for two seconds."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.compiler.is_compiling():
            left: Any = torch.compiler.disable(function)
            return left(*args, **kwargs)
        return function(*args, **kwargs)

    return call
