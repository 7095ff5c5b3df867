"""Runs with random weights, small enough for tests, and environments with pictures of their size."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from dlp_dyn import checkpoint, config
from dlp_dyn.image.model import DLP

SIDE = 32
GOALS: dict[str, Any] = {
    "images": {"observation": "pixels", "achieved_goal": "pixels", "desired_goal": "goal_pixels"},
    "keep": {"achieved_state": "achieved_goal", "desired_state": "desired_goal"},
}


def write_run(folder: Path, *overrides: str, seed: int = 0) -> Path:
    """A run folder of the tiny config."""
    cfg = config.load("tiny", ["data.path=none", *overrides])
    torch.manual_seed(seed)
    model = DLP(cfg.model)
    checkpoint.save(folder / "checkpoints" / "best", model.state_dict(), config.to_yaml(cfg))
    return folder


def push(**settings: Any) -> gym.Env[Any, Any]:
    """A pushing environment with pictures."""
    return gym.make("envs:Push-v0", **{"pixels": True, "image_size": SIDE, "time_limit": 4, **settings})


class Walk(gym.Env[Any, Any]):
    """Two squares that walk across a picture; a Dict of two cameras, the second one upside down, or one picture."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own

    def __init__(self, cameras: bool = False, length: int = 8) -> None:
        picture = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self.cameras, self.length, self.render_mode = cameras, length, "rgb_array"
        self.observation_space = (
            gym.spaces.Dict({"front": picture, "back": picture, "step": gym.spaces.Box(0, np.inf, (1,))})
            if cameras
            else picture
        )
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.at, self.steps = self.np_random.integers(0, 8, 2), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.at = self.at + 1 + int(action)
        self.steps += 1
        return self._observe(), 1.0, self.steps >= self.length, False, {}

    def render(self) -> np.ndarray:
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        for i, at in enumerate(self.at):
            image[4 + 16 * i : 10 + 16 * i, at : at + 6, i] = 255
        return image

    def _observe(self) -> Any:
        image = self.render()
        if not self.cameras:
            return image
        return {"front": image, "back": image[::-1].copy(), "step": np.array([self.steps], np.float32)}


gym.register("Walk-v0", entry_point="worlds:Walk", disable_env_checker=True, order_enforce=False)
