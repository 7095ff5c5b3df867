"""Pictures that say what happened: channel 0 counts steps, 1 names the episode, 2 is the last action."""

from typing import Any

import gymnasium as gym
import numpy as np

SIDE = 16


class Counting(gym.Env):
    """Ends after 3 to 8 steps; `kind` is where the picture is: "image", "dict", "render" or "none"."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, kind: str = "image", render_mode: str | None = None) -> None:
        picture = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        vector = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.kind, self.render_mode = kind, render_mode
        if kind != "render":
            self.metadata = {**self.metadata, "render_modes": []}
        self.action_space = gym.spaces.Discrete(5)
        self.observation_space = {
            "image": picture,
            "dict": gym.spaces.Dict(pixels=picture, state=vector),
        }.get(kind, vector)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.count, self.action = 0, 0
        self.tag, self.length = self.np_random.integers(256), self.np_random.integers(3, 9)
        return self._observation(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        assert self.count < self.length, "stepped after the end"
        self.count, self.action = self.count + 1, action
        return (
            self._observation(),
            float(self.count),
            bool(self.count == self.length),
            False,
            {"count": self.count},
        )

    def render(self) -> Any:
        picture = np.empty((SIDE, SIDE, 3), np.uint8)
        picture[:] = (self.count, self.tag, self.action)
        return picture

    def ground_truth(self) -> dict[str, np.ndarray]:
        """One object, whose place counts the steps."""
        return {"position": np.array([[self.count / 10, 0.0]]), "visible": np.array([self.count % 2 == 0])}

    def _observation(self) -> Any:
        vector = np.array([self.count, self.tag], np.float32)
        return {"image": self.render(), "dict": {"pixels": self.render(), "state": vector}}.get(
            self.kind, vector
        )


class Alternate:
    """A policy with a memory: counts the calls in its episode."""

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:  # noqa: ARG002
        self.calls = -1

    def __call__(self, observation: Any) -> int:  # noqa: ARG002
        self.calls += 1
        return self.calls % 5


def follow(observation: Any, action_space: gym.Space, rng: np.random.Generator) -> int:  # noqa: ARG001
    return int(observation[0, 0, 0]) % 5


def informed(observation: Any, action_space: gym.Space, rng: np.random.Generator, info: dict) -> int:  # noqa: ARG001
    """Counts on from what the environment says; begins with 4."""
    return info.get("count", 4) % 5


def wrong(observation: Any, action_space: gym.Space, rng: np.random.Generator) -> int:  # noqa: ARG001
    return 7


def blind() -> int:
    return 0


gym.register("Counting-v0", entry_point=f"{__name__}:Counting")
