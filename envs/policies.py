"""Scripted policies for `dlp-dyn collect --policy envs.policies:NAME`: they touch what chance misses."""

from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float


class TowardBlock:
    """PushT (`gym_pusht/PushT-v0`): the agent glides between way-points, most of which lie behind the block.

    The action is a target position in pixels, which the environment's controller follows. A way-point is
    drawn on the far side of the block, off its centre by a random amount, so that reaching it pushes and
    turns the block; the others are drawn from everywhere.
    """

    SIDE = 512.0
    MARGIN = 90.0  # nearer to the wall it would push the block out of the picture
    BEHIND = 110.0
    OFF_CENTRE = 45.0
    STRIDE = 22.0
    BLOCK_SHARE = 0.8

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.world: Any = env.unwrapped
        self.rng = rng
        self.target = np.array(self.world.agent.position, np.float64)
        self.way_point = self._draw()

    def __call__(self, observation: Any) -> Float[np.ndarray, " 2"]:  # noqa: ARG002
        way = self.way_point - self.target
        distance = np.linalg.norm(way)
        if distance < self.STRIDE:
            self.way_point = self._draw()
        else:
            self.target = self.target + way * (self.STRIDE / distance)
        return self.target.astype(np.float32)

    def _draw(self) -> Float[np.ndarray, " 2"]:
        low, high = self.MARGIN, self.SIDE - self.MARGIN
        if self.rng.uniform() > self.BLOCK_SHARE:
            return self.rng.uniform(low, high, 2)
        block = np.array(self.world.block.position, np.float64)
        through = block + self.rng.normal(0, self.OFF_CENTRE, 2)
        way = through - self.target
        behind = through + way / max(float(np.linalg.norm(way)), 1.0) * self.BEHIND
        return np.clip(behind, low, high)
