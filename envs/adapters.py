"""Environments of other packages as pixel environments: square uint8 RGB pictures, actions in [-1, 1].

Each function makes one; the ids are registered by `envs`: `gym.make("envs:PushT-v0", image_size=64)`. The packages
are extras and are imported only when asked for.
"""

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from jaxtyping import UInt8

from dlp_dyn.data.images import Crop, as_rgb, fit, image_key
from dlp_dyn.errors import InputError

ZOOM = 2  # simulators draw at this many times the size: smoother than multisampling, and cheaper

ATARI_SCREEN = (160, 210)  # width, height

FETCH_CAMERA = {
    "distance": 1.2,
    "azimuth": 180.0,
    "elevation": -50.0,
    "lookat": np.array([1.3, 0.75, 0.45]),
}


class SquarePixels(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Observation: the picture, `image_size` pixels a side, shrunk by averaging.

    It is taken from the observation where that is an image, and rendered otherwise. In a `Dict` it is the key
    `pixels`, next to the other keys. `crop` as in `dlp_dyn.data.images.fit`.

    Raises InputError when there is no picture.
    """

    def __init__(self, env: gym.Env, image_size: int = 64, crop: str | Sequence[int] | None = None) -> None:
        RecordConstructorArgs.__init__(self, image_size=image_size, crop=crop)
        super().__init__(env)
        self.image_size = image_size
        self.crop: Crop | None = _as_crop(crop)
        self.key = image_key(env.observation_space)
        if self.key is None and env.render_mode != "rgb_array":
            raise InputError(f"{env}: no pixels: make it with render_mode rgb_array")
        picture = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space: gym.Space = picture
        if isinstance(env.observation_space, gym.spaces.Dict):
            self.observation_space = gym.spaces.Dict({**env.observation_space.spaces, "pixels": picture})

    def observation(self, observation: Any) -> Any:
        image: Any = self.env.render() if self.key is None else observation
        for key in self.key or ():
            image = image[key]
        picture = self.shrink(image)
        return {**observation, "pixels": picture} if isinstance(observation, dict) else picture

    def shrink(self, image: np.ndarray) -> UInt8[np.ndarray, "S S 3"]:
        name = str(self.env)
        return fit(as_rgb(image, name), self.image_size, self.crop, name)


def _as_crop(crop: str | Sequence[int] | None) -> Crop | None:
    """YAML and specs from JSON know lists alone. Raises InputError for what is no crop."""
    if crop is None:
        return None
    if crop == "square":
        return "square"
    if isinstance(crop, str) or len(crop) != 4:
        raise InputError(f"crop {crop}: give square, or left, top, right and bottom in pixels")
    left, top, right, bottom = crop
    return left, top, right, bottom


class _GoalPicture(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """`info["goal"]` of a reset is a picture as large as the observation."""

    def __init__(self, env: SquarePixels) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.pictures = env

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        observation, info = self.env.reset(seed=seed, options=options)
        if "goal" in info:
            info = {**info, "goal": self.pictures.shrink(info["goal"])}
        return observation, info


def push_t(image_size: int = 64, **settings: Any) -> gym.Env:
    """gym-pusht's PushT: one T on a fixed goal. Extra `pusht` (pymunk < 7, so not together with `envs`).

    The action is the place to go to: (-1, -1) is the upper left corner, (1, 1) the lower right one.
    """
    _import("gym_pusht", "pusht")
    sizes = {
        "observation_width": 512,
        "observation_height": 512,
    }  # as it is drawn: its own resizing is jagged
    env = gym.make("gym_pusht/PushT-v0", obs_type="pixels", disable_env_checker=True, **sizes, **settings)
    return SquarePixels(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)), image_size)


def atari(
    game: str = "Pong",
    image_size: int = 64,
    crop: str | Sequence[int] | None = None,
    frame_skip: int = 4,
    noop_max: int = 30,
    **settings: Any,
) -> gym.Env:
    """An ALE game in colour, squeezed to a square. Extra `atari` (ale-py is GPL-2.0, its games are included).

    Each picture is the maximum of the last two frames, since sprites flicker. Up to `noop_max` steps of doing
    nothing begin an episode. `game` as in the id: "Pong", "MsPacman". crop: of the screen of 160 x 210, as in
    `dlp_dyn.data.images.fit`; (0, 34, 160, 194) is the field of Pong without the score.
    """
    gym.register_envs(_import("ale_py", "atari"))
    env = gym.make(f"ALE/{game}-v5", frameskip=1, obs_type="rgb", disable_env_checker=True, **settings)
    size = image_size if crop is None else ATARI_SCREEN
    env = gym.wrappers.AtariPreprocessing(
        env, noop_max=noop_max, frame_skip=frame_skip, screen_size=size, grayscale_obs=False
    )
    return env if crop is None else SquarePixels(env, image_size, crop)


def fetch(env_id: str = "FetchPush-v4", image_size: int = 64, **settings: Any) -> gym.Env:
    """A Fetch task of gymnasium-robotics, with `pixels` beside its goals. Extra `robotics`, mujoco < 3.12.

    The camera looks down at the table from the front, near enough to see the object. The goal is a red point.
    """
    _choose_gl()
    gym.register_envs(_import("gymnasium_robotics", "robotics"))
    side = ZOOM * image_size
    settings = {"render_mode": "rgb_array", "width": side, "height": side, **settings}
    env: Any = gym.make(env_id, disable_env_checker=True, **settings)
    _plain_light(env.unwrapped.model)
    env.unwrapped.mujoco_renderer.default_cam_config = FETCH_CAMERA
    return SquarePixels(env, image_size)


def ogbench(env_id: str = "visual-cube-single-v0", image_size: int = 64, **settings: Any) -> gym.Env:
    """A manipulation task of OGBench from pixels. Extra `ogbench`, Python < 3.13.

    A reset with `options={"task_id": 1}` gives the picture of the goal in `info["goal"]`; `seed` alone does not
    repeat an episode, `task_id` with it does. Drawn without shadows, unlike OGBench's published data sets. A
    process that has closed a Fetch environment cannot draw this one.
    """
    _choose_gl()
    _import("ogbench", "ogbench")
    side = ZOOM * image_size
    env: Any = gym.make(env_id, disable_env_checker=True, width=side, height=side, **settings)
    world = env.unwrapped
    compile_model = world.compile_model_and_data

    def compile_plain() -> None:  # the model is made anew by a reset, which draws at once
        compile_model()
        _plain_light(world._model)

    world.compile_model_and_data = compile_plain
    return _GoalPicture(SquarePixels(env, image_size))


def _import(module: str, extra: str) -> Any:
    try:
        return __import__(module)
    except ImportError as error:
        raise InputError(f"{module}: cannot be imported ({error}); pip install 'dlp_dyn[{extra}]'") from error


def _choose_gl() -> None:
    """MuJoCo reads the variable when imported; EGL needs no screen."""
    os.environ.setdefault("MUJOCO_GL", "egl")


def _plain_light(model: Any) -> None:
    """No shadows, no reflections, no multisampling: they take most of the time of a small picture."""
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
    model.light_castshadow[:] = 0
    model.mat_reflectance[:] = 0
