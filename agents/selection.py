"""Observations as the environment gives them, in the place of particles."""

from collections.abc import Collection, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from agents.spaces import entry_of
from dlp_dyn.errors import InputError
from dlp_dyn.observation.observer import Batch, Rows


class Selection:
    """Observations as they are, in the form that networks read: the entries of a Dict under new names.

    pictures: the new names of entries that have to be pictures; of an observation that is no Dict, "".
    """

    def __init__(
        self, space: gym.Space[Any], keys: Mapping[str, str], pictures: Collection[str] = ()
    ) -> None:
        self.keys = dict(keys)
        if not isinstance(space, gym.spaces.Dict):
            self.whole = entry_of(space, "the environment's", picture="" in pictures)
            self.space: gym.Space[Any] = self.whole.space
            return
        if not self.keys:
            raise InputError(
                "observation: the environment's is a Dict without entries; use another environment"
            )
        for key in self.keys.values():
            if key not in space.spaces:
                raise InputError(
                    f"observation: no key '{key}' in the environment's; there are {', '.join(space)}"
                )
        self.entries = {
            new: entry_of(space[old], f"'{old}'", picture=new in pictures) for new, old in self.keys.items()
        }
        self.space = gym.spaces.Dict({new: entry.space for new, entry in self.entries.items()})

    def reset(self, rows: Rows | None = None) -> None:
        """As Observer's; nothing is remembered."""

    def observe(self, batch: Batch, rows: Rows | None = None) -> Batch:  # noqa: ARG002 - as Observer's
        if not isinstance(batch, dict):
            return self.whole.read(batch)
        return {new: self.entries[new].read(batch[old]) for new, old in self.keys.items()}

    def picture(self, frames: Shaped[np.ndarray, "B H W C"]) -> Shaped[np.ndarray, "B C H W"]:
        """Frames of a file in the form of the observation's pictures."""
        is_dict = isinstance(self.space, gym.spaces.Dict)
        return (self.entries["observation"] if is_dict else self.whole).convert(frames)

    def memory(self) -> dict[str, Tensor]:
        """As Observer's."""
        return {}

    def observe_ends(self, last: Batch, rows: Rows, batch: Batch) -> tuple[Batch, Batch]:  # noqa: ARG002
        return self.observe(last), self.observe(batch)
