"""Three buttons and a picture: an environment with discrete actions."""

from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import UInt8

SIDE = 32


class Buttons(gym.Env):
    """Each button lights a third of the picture; the middle one pays. Ten presses an episode."""

    def __init__(self) -> None:
        self.observation_space: gym.Space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.action_space: gym.Space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.pressed = 0
        return self._picture(int(self.np_random.integers(3))), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action)
        self.pressed += 1
        return self._picture(int(action)), float(action == 1), False, self.pressed == 10, {}

    def _picture(self, button: int) -> UInt8[np.ndarray, "32 32 3"]:
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[:, button * SIDE // 3 : (button + 1) * SIDE // 3] = 200
        return picture


gym.register("Buttons-v0", entry_point=f"{__name__}:Buttons")
