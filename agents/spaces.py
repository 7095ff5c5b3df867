"""Spaces of any environment as those that Stable-Baselines3's networks read and act in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped

from dlp_dyn.errors import InputError

Array = Shaped[np.ndarray, "..."]
Convert = Callable[[Array], Array]


@dataclass(frozen=True)
class Entry:
    """One array of an observation: its space as networks read it, and how a batch of the environment's becomes one."""

    space: gym.Space
    convert: Convert = np.asarray

    def read(self, batch: Array) -> Array:
        """A batch as networks read it. Raises InputError for arrays of another shape, and for NaN and infinity."""
        values = self.convert(batch)
        if values.shape[1:] != self.space.shape:
            raise InputError(
                f"environment: an observation of shape {values.shape[1:]}, its space says {self.space.shape}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError("environment: an observation holds NaN or infinity")
        return values


def entry_of(space: gym.Space, name: str, *, picture: bool = False) -> Entry:
    """How networks read an entry of an observation; pictures get their channels first.

    name: of the entry, for errors. picture: whether it has to be one.

    Raises InputError for spaces that are no array, and for what is no picture where one is asked for.
    """
    found = " ".join(str(space).split())[:100]
    is_picture = isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)
    if picture and not is_picture:
        raise InputError(
            f"observation: {name} is {found}, no picture of bytes; give observation.kind=state, or an environment "
            "with pictures"
        )
    if isinstance(space, spaces.Discrete) or (
        isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1
    ):
        return _counted_from_zero(space)
    if isinstance(space, spaces.MultiBinary):
        return Entry(space)
    if not isinstance(space, spaces.Box) or not space.shape or 0 in space.shape:
        raise InputError(
            f"observation: {name} is {found}, which networks cannot read; wrap the environment so that it gives "
            "arrays, or a Dict of them (gymnasium.wrappers.FlattenObservation)"
        )
    return _channels_first(space) if is_picture else Entry(space)


def _counted_from_zero(space: spaces.Discrete | spaces.MultiDiscrete) -> Entry:
    start = np.asarray(space.start)
    if not start.any():
        return Entry(space)
    return Entry(_shifted(space), lambda values: np.asarray(values) - start)


def _shifted(space: spaces.Discrete | spaces.MultiDiscrete) -> gym.Space:
    return (
        spaces.Discrete(int(space.n))
        if isinstance(space, spaces.Discrete)
        else spaces.MultiDiscrete(space.nvec)
    )


def _channels_first(space: spaces.Box) -> Entry:
    """Grey pictures have one channel; of three axes the shorter one at an end counts the channels."""
    if len(space.shape) == 2:
        return Entry(_bytes(1, *space.shape), lambda values: np.asarray(values)[:, None])
    first, middle, last = space.shape
    if first < last:
        return Entry(_bytes(first, middle, last))
    return Entry(_bytes(last, first, middle), lambda values: np.moveaxis(np.asarray(values), -1, 1))


def _bytes(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


class Actions:
    """Actions as algorithms choose them, and as the environment takes them.

    Whole numbers that begin elsewhere are counted from 0. Continuous ones are float32; where the environment's are
    integers, they are rounded.

    Raises InputError for actions that no algorithm has: Tuple, Dict, tables of choices, and continuous ones without
    bounds or room between them.
    """

    def __init__(self, space: gym.Space) -> None:
        self.native = space
        self.start = np.zeros((), np.int64)
        if isinstance(space, spaces.Box):
            if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
                raise InputError(
                    f"actions are {space}, without bounds: wrap the environment in gymnasium.wrappers.ClipAction "
                    "or RescaleAction"
                )
            if not (space.low < space.high).all():
                raise InputError(f"actions are {space}, of which some cannot be chosen: leave those out")
            low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            self.space: gym.Space = spaces.Box(low, high, dtype=np.float32)
        elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and len(space.shape or ()) < 2:
            self.start = np.asarray(space.start)
            self.space = _shifted(space)
        elif isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
            self.space = space
        else:
            raise InputError(
                f"actions are {' '.join(str(space).split())[:100]}: no algorithm here chooses those; wrap the "
                "environment so that it takes one array or number"
            )

    def to_env(self, action: Array | np.generic) -> Any:
        """One action of an algorithm, for the environment."""
        if isinstance(self.space, spaces.Box):
            if np.issubdtype(self.native.dtype, np.integer):
                action = np.rint(action)
            return np.asarray(action).astype(self.native.dtype)
        return np.add(action, self.start) if self.start.any() else action

    def from_env(self, action: Array | np.generic | int) -> Array:
        """One action of a policy that plays the environment as it is."""
        if isinstance(self.space, spaces.Box):
            return np.asarray(action, np.float32)
        return np.asarray(np.asarray(action) - self.start)


def to_json(space: gym.Space) -> dict[str, Any]:
    """A space that `Selection`, `Observer` or `Actions` made, as plain values for JSON."""
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "entries": {key: to_json(inner) for key, inner in space.spaces.items()}}
    if isinstance(space, spaces.Box):
        bounds = {name: _bound(getattr(space, name)) for name in ("low", "high")}
        return {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype), **bounds}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "multi_discrete", "n": space.nvec.tolist()}
    assert isinstance(space, spaces.MultiBinary)
    return {"kind": "multi_binary", "n": np.asarray(space.n).tolist()}


def from_json(values: Mapping[str, Any]) -> gym.Space:
    """What `to_json` was given. Raises KeyError, TypeError or ValueError for other values."""
    kind = values["kind"]
    if kind == "dict":
        return spaces.Dict({key: from_json(inner) for key, inner in values["entries"].items()})
    if kind == "box":
        dtype, shape = np.dtype(values["dtype"]), tuple(values["shape"])
        low, high = (np.broadcast_to(np.asarray(values[name], np.float64), shape) for name in ("low", "high"))
        return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)
    kinds = {
        "discrete": spaces.Discrete,
        "multi_discrete": spaces.MultiDiscrete,
        "multi_binary": spaces.MultiBinary,
    }
    return kinds[kind](values["n"])


def _bound(values: np.ndarray) -> float | list[Any]:
    """One number where all are equal. JSON of Python writes and reads infinities."""
    return float(values.flat[0]) if (values == values.flat[0]).all() else values.astype(np.float64).tolist()
