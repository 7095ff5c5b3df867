"""One map over everything that is made of tensors: dataclasses of tensors, of distributions, and of each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributions import Beta, Distribution, Normal

_T = TypeVar("_T")
_Tree = TypeVar("_Tree", bound="TensorTree")


class TensorTree:
    """Base of frozen dataclasses whose fields are tensors, normal or Beta distributions, other trees, or None."""

    def map(self: _Tree, fn: Callable[[Tensor], Tensor]) -> _Tree:
        """The same tree of `fn` of every tensor, parameters of distributions included; None stays None."""
        return tree_map(fn, self)

    def __iter__(self) -> Iterator[Tensor]:
        """Every tensor, depth first in the order of the fields."""
        for field in fields(self):  # type: ignore[arg-type]
            yield from _leaves(getattr(self, field.name))

    def __getitem__(self: _Tree, index: Any) -> _Tree:
        """Index the leading (batch, time) axes."""
        return self.map(lambda x: x[index])

    def to(self: _Tree, *args: Any, **kwargs: Any) -> _Tree:
        return self.map(lambda x: x.to(*args, **kwargs))

    def detach(self: _Tree) -> _Tree:
        return self.map(torch.Tensor.detach)


def tree_map(fn: Callable[..., Tensor], tree: _T, *others: _T) -> _T:
    """The tree of `fn` of the matching tensors of one or several equal trees."""
    result: Any
    if tree is None:
        result = None
    elif isinstance(tree, Tensor):
        result = fn(tree, *others)
    elif isinstance(tree, Distribution):
        result = _of_parameters(
            tree, [fn(*group) for group in zip(*map(_leaves, (tree, *others)), strict=True)]
        )
    else:
        result = replace(
            tree,  # type: ignore[type-var]
            **{
                field.name: tree_map(fn, getattr(tree, field.name), *(getattr(o, field.name) for o in others))
                for field in fields(tree)  # type: ignore[arg-type]
            },
        )
    return result


def cat(trees: Sequence[_T], dim: int) -> _T:
    """Concatenate along a leading axis (counted from the front)."""
    return tree_map(lambda *parts: torch.cat(parts, dim), *trees)


def stack(trees: Sequence[_T], dim: int) -> _T:
    """Join along a new leading axis (counted from the front)."""
    return tree_map(lambda *parts: torch.stack(parts, dim), *trees)


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Normal):
        yield from (value.loc, value.scale)
    elif isinstance(value, Beta):
        yield from (value.concentration1, value.concentration0)
    elif value is not None:
        yield from value


def _of_parameters(like: Distribution, parameters: list[Tensor]) -> Distribution:
    if isinstance(like, Normal):
        return Normal(*parameters, validate_args=False)
    assert isinstance(like, Beta), (
        f"{type(like).__name__}: only normal and Beta distributions are mapped over"
    )
    a, b = parameters
    return Beta(a.float(), b.float(), validate_args=False)
