"""A Gymnasium environment as a planner meets it: pictures of the model's size, and the goal that it shows."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.collect import make_env, rendered
from dlp_dyn.data.images import as_rgb, fit, image_key
from dlp_dyn.errors import InputError

Picture = UInt8[np.ndarray, "H W 3"]


class Pictures:
    """The picture of an observation where it holds one, and what the environment renders where it does not."""

    def __init__(self, env: gym.Env, image_size: int) -> None:
        self.env, self.image_size = env, image_size
        self.key = image_key(env.observation_space)
        if self.key is None and env.render_mode != "rgb_array":
            raise InputError(f"{env}: no pixels: make it with render_mode rgb_array")

    def of(self, observation: Any) -> Picture:
        """Raises InputError where the environment cannot draw."""
        image: Any = rendered(self.env) if self.key is None else observation
        for key in self.key or ():
            image = image[key]
        return self.fitting(image)

    def fitting(self, image: Any) -> Picture:
        return fit(as_rgb(np.asarray(image), str(self.env)), self.image_size, None, str(self.env)).copy()


def goal_picture(pictures: Pictures, *told: Any) -> Picture:
    """The picture that an environment wants to see: in what it told (`goal`, `goal_pixels`), or its `render_goal()`.

    Raises InputError for an environment that shows none.
    """
    for source in told:
        for key in ("goal", "goal_pixels"):
            picture = source.get(key) if isinstance(source, Mapping) else None
            if isinstance(picture, np.ndarray) and picture.ndim == 3:
                return pictures.fitting(picture)
    draw = getattr(pictures.env.unwrapped, "render_goal", None)
    if draw is None:
        raise InputError(f"{pictures.env}: shows no goal: give a picture or places as the goal")
    return pictures.fitting(draw())


def as_taken(space: gym.Space, action: Float[np.ndarray, " A"]) -> Any:
    """An action as its environment takes it; of Discrete spaces it is planned one-hot."""
    if isinstance(space, gym.spaces.Discrete):
        return space.start + action.argmax()
    assert isinstance(space, gym.spaces.Box)
    return action.reshape(space.shape).astype(space.dtype)


class Stage:
    """An environment by id, played for one episode after the other.

    Raises InputError when it cannot be made, and when it has no pictures.
    """

    def __init__(self, env_id: str, image_size: int, settings: Mapping[str, Any] | None = None) -> None:
        self.env = make_env(env_id, {"render_mode": "rgb_array", **(settings or {})})
        self.env_id = env_id
        self.pictures = Pictures(self.env, image_size)

    def reset(self, seed: int, options: Mapping[str, Any] | None = None) -> Picture:
        self.observation, self.info = self.env.reset(seed=seed, options=dict(options or {}))
        self.done = False
        return self.pictures.of(self.observation)

    def step(self, action: Float[np.ndarray, " A"]) -> Picture:
        taken = as_taken(self.env.action_space, action)
        self.observation, _, terminated, truncated, self.info = self.env.step(taken)
        self.done = bool(terminated or truncated)
        return self.pictures.of(self.observation)

    def goal(self) -> Picture:
        """The picture that the environment wants to see in this episode; see `goal_picture`."""
        return goal_picture(self.pictures, self.observation, self.info)

    @property
    def success(self) -> bool | None:
        """What the environment says of the last step; None where it says nothing."""
        known = self.info.get("is_success", self.info.get("success"))
        return None if known is None else bool(known)

    def close(self) -> None:
        self.env.close()
