"""What training does not care about: how an agent learns."""

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from torch import Tensor

from agents.checkpoint import Checkpoint


@runtime_checkable
class Actor(Protocol):
    """Something that plays: a policy, or an algorithm that has one."""

    def predict(self, observation: Any, *, deterministic: bool = ...) -> tuple[np.ndarray, Any]:
        """Actions for a batch of observations, and what Stable-Baselines3 would remember."""
        ...


@runtime_checkable
class Learner(Protocol):
    """An agent that learns in rounds: of steps in environments, or of updates from data."""

    @property
    def actor(self) -> Actor: ...

    @property
    def step(self) -> int:
        """How far it is, in the units of the config's `steps`."""
        ...

    @property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        """Of observations and actions."""
        ...

    def notes(self) -> list[str]:
        """Lines to print at the start."""
        ...

    def learn(self) -> None:
        """One round, after which nothing is half done."""
        ...

    def figures(self) -> dict[str, float]:
        """For the log: what the last rounds showed."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """All that acting needs, and what is learnt beside it."""
        ...

    def state(self) -> dict[str, Any]:
        """The rest that going on needs, in types that `torch.load(weights_only=True)` accepts."""
        ...

    def begin_from(self, saved: Checkpoint) -> None:
        """Take over another agent's weights, and nothing else of it. Raises InputError for other networks."""
        ...

    def restore(self, saved: Checkpoint) -> list[str]:
        """Bring back what was saved; gives what could not be, in words.

        Raises InputError for files that are gone, damaged, or of other settings.
        """
        ...

    def close(self) -> None: ...

    def files(self) -> dict[str, Any]:
        """What is too large for `state`: name -> bytes, or a function that writes into a stream."""
        ...
