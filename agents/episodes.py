"""Episodes that can be played again: how the generator stood when they began, and what was done since."""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch


@dataclass
class Played:
    """A running episode. seed: that it began with; None where the generator went on, which stood at `random`."""

    seed: int | None
    random: dict[str, Any]
    actions: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def begin(cls, env: gym.Env[Any, Any], seed: int | None) -> "Played":
        """To be called before `reset`."""
        return cls(
            seed, dict(copy.deepcopy(env.unwrapped.np_random.bit_generator.state)) if seed is None else {}
        )

    def again(self, env: gym.Env[Any, Any]) -> Any:
        """Play it from its beginning; gives the last observation. An environment that ends earlier stops there."""
        if self.seed is None:
            env.unwrapped.np_random.bit_generator.state = copy.deepcopy(self.random)
        observation, _ = env.reset(seed=self.seed)
        for action in self.actions:
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        return observation

    def to_plain(self) -> dict[str, Any]:
        """In types that `torch.load(weights_only=True)` accepts."""
        actions = torch.as_tensor(np.stack(self.actions)) if self.actions else None
        return {"seed": self.seed, "random": self.random, "actions": actions}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Played":
        actions = [] if values["actions"] is None else list(values["actions"].numpy())
        return cls(values["seed"], dict(values["random"]), actions)


def fingerprint(observation: Any) -> str:
    """Equal for equal observations."""
    digest = hashlib.sha256()
    parts = observation.items() if isinstance(observation, Mapping) else [("", observation)]
    for key, values in parts:
        array = np.ascontiguousarray(values)
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
