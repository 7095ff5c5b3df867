"""What environments of stable-worldmodel have in common: spaces, and pictures of now and of the goal."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.images import fit
from dlp_dyn.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]


class WorldModelEnv(gym.Env[Picture, Float[np.ndarray, " 2"]]):
    """An environment of the wheel, seen in pictures of `image_size`, with actions in [-1, 1] of two numbers.

    make: gives the wheel's own environment. Raises InputError where the wheel cannot be imported.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own
    _goal_picture: Picture

    def __init__(self, make: Callable[[], Any], image_size: int, render_mode: str) -> None:
        try:
            self.inner: Any = make()
        except ImportError as error:
            raise InputError(
                f"stable_worldmodel: cannot be imported ({error}); pip install the extra swm: stable-worldmodel==0.1.1"
            ) from error
        self.image_size, self.render_mode = image_size, render_mode
        self.observation_space: gym.Space = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.action_space: gym.Space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def render_goal(self) -> Picture:
        return self._goal_picture.copy()

    def _shrunk(self, picture: UInt8[np.ndarray, "D D 3"]) -> Picture:
        return fit(picture, self.image_size, None, type(self).__name__).copy()
