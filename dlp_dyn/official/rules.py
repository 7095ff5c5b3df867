"""How one tensor of ours is made of official ones, and back.

The official code orders coordinates (y, x) and glimpse channels (alpha, r, g, b).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """One tensor of ours, the official tensors it is made of, and how, in both directions."""

    ours: str
    theirs: tuple[str, ...]
    load: Callable[[list[Tensor]], Tensor]
    save: Callable[[Tensor], list[Tensor]]


def same(ours: str, theirs: str) -> Rule:
    return Rule(ours, (theirs,), lambda t: t[0], lambda t: [t])


def reorder(ours: str, theirs: str, index: list[int], dim: int = 0) -> Rule:
    """A permutation along one axis: `ours[i] = theirs[index[i]]`."""
    inverse = sorted(range(len(index)), key=index.__getitem__)
    return Rule(ours, (theirs,), lambda t: _take(t[0], index, dim), lambda t: [_take(t, inverse, dim)])


def _take(x: Tensor, index: list[int], dim: int) -> Tensor:
    return x.index_select(dim, torch.tensor(index))


def linear(ours: str, theirs: str, bias: bool = True) -> Iterator[Rule]:
    yield same(f"{ours}.weight", f"{theirs}.weight")
    if bias:
        yield same(f"{ours}.bias", f"{theirs}.bias")


def reordered_linear(ours: str, theirs: str, index: list[int]) -> Iterator[Rule]:
    for part in ("weight", "bias"):
        yield reorder(f"{ours}.{part}", f"{theirs}.{part}", index)


SWAP = [1, 0]
SWAP_PAIRS = [1, 0, 3, 2]  # (mean y, mean x, log-variance y, log-variance x)
ALPHA_LAST = [1, 2, 3, 0]
