"""Taking Python out of a network that runs on one frame at a time."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.jit import optimized_execution  # pyright: ignore[reportPrivateImportUsage]

_OFTEN = 20  # calls with one shape after which tracing it (0.1 s) is worth its while


class Traced:
    """A function of one tensor that gives the same numbers, to the last bit, in less time.

    Of a small batch on a CPU, Python and outputs that nobody reads take half of the time. A shape that has come often
    is traced; the trace runs the same operations, unfused. The function must not branch on values, and what it closes
    over must not change. TorchScript is deprecated, yet nothing else does this without a compiler on the machine:
    should it go, call the function itself.
    """

    def __init__(self, fn: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self.fn = fn
        self.calls: Counter[torch.Size] = Counter()
        self.traces: dict[torch.Size, Callable[[Tensor], tuple[Tensor, ...]]] = {}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        trace = self.traces.get(x.shape)
        if trace is None:
            self.calls[x.shape] += 1
            if self.calls[x.shape] < _OFTEN:
                return self.fn(x)
            trace = self.traces[x.shape] = self._trace(x)
        with optimized_execution(False):  # fusing would change digits
            return trace(x)

    def _trace(self, x: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the deprecation, and that shapes become constants
            trace = torch.jit.trace(self.fn, x, check_trace=False)
        return cast(Callable[[Tensor], tuple[Tensor, ...]], trace)
