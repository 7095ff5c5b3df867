"""Environments of other packages that tell where their things are, for benchmarks/source_files.py.

`gym.make("benchmarks.source_worlds:Told-Boxing-v0")`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.balls import to_position
from dlp_dyn.data.images import as_rgb, fit
from envs.adapters import ATARI_SCREEN, ZOOM, SquarePixels

Truth = Mapping[str, np.ndarray]

# Bytes of the console's memory, and where the middle of a boxer's body is from there, in pixels of the screen.
BOXERS = {"x": (32, 33), "y": (34, 35)}
BOXERS_MIDDLE = np.array([[12.0, 61.5], [10.0, 60.5]])
TABLE = 512.0  # gym-pusht's, in its own units
DRAWN = 512  # pixels a side, before it is shrunk
T_MIDDLE = np.array([0.0, 40.7])  # of the T's area from the body's origin, in its own axes
SPEED = 0.03  # of sprites, in image sides a frame


def seen(places: Float[np.ndarray, "O 2"], side: int) -> Truth:
    """The truth of things at places from 0 to 1 between the picture's edges; what lies outside is not visible."""
    inside = np.asarray(((places > 0) & (places < 1)).all(1))
    position = to_position(places * side, side).astype(np.float32)
    return {"position": np.where(inside[:, None], position, 0), "visible": inside}


class Told(gym.Wrapper[Any, Any, Any, Any]):
    """Adds the truth to each info, as `dlp-dyn collect` looks for it."""

    def __init__(self, env: gym.Env, tell: Callable[[Any], Truth]) -> None:
        super().__init__(env)
        self.tell = tell

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info | {"ground_truth": self.tell(self.env.unwrapped)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return (
            observation,
            reward,
            terminated,
            truncated,
            info | {"ground_truth": self.tell(self.env.unwrapped)},
        )


def boxing(image_size: int = 64) -> gym.Env:
    """Two boxers of ALE; their places are read from the console's memory."""

    def tell(world: Any) -> Truth:
        memory = world.ale.getRAM().astype(float)
        corner = np.stack([memory[list(BOXERS["x"])], memory[list(BOXERS["y"])]], 1)
        return seen((corner + BOXERS_MIDDLE) / ATARI_SCREEN, image_size)

    return Told(gym.make("envs:Atari-v0", game="Boxing", image_size=image_size), tell)


def push_t(image_size: int = 64) -> gym.Env:
    """gym-pusht's table as its agents observe it: the block and the agent."""

    def tell(world: Any) -> Truth:
        angle = world.block.angle
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.asarray(world.block.position) + turn @ T_MIDDLE
        truth = seen(np.stack([middle, np.asarray(world.agent.position)]) / TABLE, image_size)
        return {**truth, "angle": np.array([angle, 0.0], np.float32)}  # the agent is round

    import gym_pusht  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]

    drawn = {"observation_width": DRAWN, "observation_height": DRAWN}  # its own resizing is jagged
    env = gym.make("gym_pusht/PushT-v0", obs_type="pixels", disable_env_checker=True, **drawn)
    return Told(SquarePixels(env, image_size), tell)


class MiniGridPictures(gym.Wrapper[Any, Any, Any, Any]):
    """MiniGrid's dynamic obstacles, drawn whole: four discs that jump from cell to cell, and the agent."""

    def __init__(self, image_size: int = 64) -> None:
        import minigrid  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]

        env = gym.make("MiniGrid-Dynamic-Obstacles-8x8-v0", render_mode="rgb_array", highlight=False)
        super().__init__(env)
        self.image_size = image_size
        self.observation_space = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        self.env.reset(seed=seed, options=options)
        return self._picture(), {"ground_truth": self._truth()}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        _, reward, terminated, truncated, _ = self.env.step(action)
        return self._picture(), reward, terminated, truncated, {"ground_truth": self._truth()}

    def _picture(self) -> UInt8[np.ndarray, "H W 3"]:
        return fit(as_rgb(np.asarray(self.env.render()), "MiniGrid"), self.image_size, None, "MiniGrid")

    def _truth(self) -> Truth:
        world: Any = self.env.unwrapped
        cells = [obstacle.cur_pos for obstacle in world.obstacles] + [world.agent_pos]
        return seen((np.array(cells, float) + 0.5) / world.width, self.image_size)


class Sprites(gym.Env[Any, Any]):
    """Four sprites of spriteworld that drift over one another and bounce off the picture's edges; no actions.

    The wheel is of 2019: it looks for a name that Pillow has given up, which is put back.
    """

    SHAPES = ("square", "triangle", "circle", "star_5", "spoke_4")
    LENGTH = 30  # frames an episode
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own

    def __init__(self, image_size: int = 64, n_sprites: int = 4, render_mode: str = "rgb_array") -> None:
        from PIL import Image
        from spriteworld.renderers import PILRenderer  # pyright: ignore[reportMissingImports]

        if not hasattr(Image, "ANTIALIAS"):
            Image.ANTIALIAS = Image.Resampling.LANCZOS  # pyright: ignore[reportAttributeAccessIssue]
        self.render_mode, self.image_size, self.n_sprites = render_mode, image_size, n_sprites
        self.renderer = PILRenderer((image_size, image_size), anti_aliasing=ZOOM)
        self.observation_space = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.action_space = gym.spaces.Box(0, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        from spriteworld.sprite import Sprite  # pyright: ignore[reportMissingImports]

        super().reset(seed=seed, options=options)
        rng = self.np_random
        self.place = rng.uniform(0.1, 0.9, (self.n_sprites, 2))
        angle = rng.uniform(0, 2 * np.pi, self.n_sprites)
        self.velocity = SPEED * np.stack([np.cos(angle), np.sin(angle)], 1)
        colours = rng.integers(64, 256, (self.n_sprites, 3))
        self.sprites = [
            Sprite(*xy, str(rng.choice(self.SHAPES)), int(rng.integers(360)), rng.uniform(0.1, 0.2), *map(int, rgb))
            for xy, rgb in zip(self.place, colours, strict=True)
        ]  # fmt: skip
        self.steps = 0
        return self._answer()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:  # noqa: ARG002 - nothing acts here
        outside = np.abs(self.place + self.velocity - 0.5) > 0.4
        self.velocity[outside] *= -1
        self.place = self.place + self.velocity
        for sprite, velocity in zip(self.sprites, self.velocity, strict=True):
            sprite.move(velocity)
        self.steps += 1
        observation, info = self._answer()
        return observation, 0.0, False, self.steps >= self.LENGTH - 1, info

    def _answer(self) -> tuple[Any, dict]:
        upward = np.array([1, -1])  # the wheel's y points up
        places = np.array([0, 1]) + upward * self.place
        return self.render(), {"ground_truth": seen(places, self.image_size)}

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        return np.ascontiguousarray(self.renderer.render(self.sprites))


WORLDS = {"Told-Boxing": boxing, "Told-PushT": push_t, "Told-MiniGrid": MiniGridPictures, "Sprites": Sprites}
for name in WORLDS:
    gym.register(f"{name}-v0", entry_point=f"{__name__}:{WORLDS[name].__name__}", disable_env_checker=True)
