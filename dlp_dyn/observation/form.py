"""The forms in which an observation holds packed particles, and honest bounds for each."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float

from dlp_dyn.errors import InputError
from dlp_dyn.particles import ParticleLayout

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class ParticleForm:
    """Packed `(N, D)`, or a view of it: `flat` `(N * D,)`, or `named`, a Dict with an entry for every attribute.

    low, high: bounds of each column.
    """

    layout: ParticleLayout
    low: Float[np.ndarray, " D"]
    high: Float[np.ndarray, " D"]
    flat: bool = False
    named: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"observation: dtype {self.dtype!r}: use one of {', '.join(DTYPES)}")
        if self.flat and self.named:
            raise InputError("observation: flatten and named exclude each other; choose one")

    @property
    def attributes(self) -> dict[str, slice]:
        """Columns by the attribute that they belong to."""
        width = {
            "position": 2,
            "scale": 2,
            "depth": 1,
            "transparency": 1,
            "features": self.layout.feature_dim,
        }
        width |= dict.fromkeys(self.layout.extra, 1)
        ends = np.cumsum(list(width.values())).tolist()
        return {name: slice(end - width[name], end) for name, end in zip(width, ends, strict=True)}

    def space(self, n: int) -> gym.Space[Any]:
        """Of n particles."""
        low, high = (np.tile(x, (n, 1)).astype(self.dtype) for x in (self.low, self.high))
        if self.named:
            boxes: dict[str, gym.Space[Any]] = {
                name: gym.spaces.Box(low[:, c], high[:, c], dtype=low.dtype.type)
                for name, c in self.attributes.items()
            }
            return gym.spaces.Dict(boxes)
        if self.flat:
            low, high = low.reshape(-1), high.reshape(-1)
        return gym.spaces.Box(low, high, dtype=low.dtype.type)

    def __call__(self, packed: Float[np.ndarray, "B N D"]) -> np.ndarray | dict[str, np.ndarray]:
        cast = packed.astype(self.dtype)
        if self.named:
            return {name: cast[..., c] for name, c in self.attributes.items()}
        return cast.reshape(len(cast), -1) if self.flat else cast
