"""PushT of stable-worldmodel: a disc that pushes a T to where a picture shows both."""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from envs.two_room import in_picture
from envs.world_model import WorldModelEnv

SIDE = 512  # of the table, in the units of states
DRAWN = 224  # pixels a side, before it is shrunk
CENTRE = np.array([0.0, 40.7])  # of the T's area, in its own axes
AGENT_SPEED = 100.0  # how far away an action of 1 puts the place that the agent is drawn to

State = Float[np.ndarray, " 7"]


class SwmPushT(WorldModelEnv):
    """
    ## Description
    stable-worldmodel's PushT (0.1.1, default looks), as its goal-reaching protocol plays it: any state may be the goal;
    the green T that is drawn is not. Registered as `SWM-PushT-v0`; extra `swm`.

    ## Action space
    `Box(-1, 1, (2,), float32)`: 1 draws the agent to a place 100 of 512 pixels to the right, or down, of where it is.

    ## Observation space
    `Box(0, 255, (image_size, image_size, 3), uint8)`. `info` has `state` and `goal_state`: agent x, y, block x, y,
    angle, agent velocity, in pixels of 512; `places` and `goal_places` of agent and block, from -1 to 1; `goal`, a
    picture; `is_success`: agent and block within 20 pixels, of four numbers together, and 20 degrees; `is_near`: the
    block alone within 10 pixels and 10 degrees.

    ## Starting state
    The wheel's own; `options` may hold `state` and `goal_state`.

    ## Episode end
    Never terminated, and truncated by whoever plays.
    """

    def __init__(self, image_size: int = 64, render_mode: str = "rgb_array") -> None:
        def make() -> Any:
            from stable_worldmodel.envs.pusht.env import PushT  # pyright: ignore[reportMissingImports]

            return PushT(resolution=DRAWN)

        super().__init__(make, image_size, render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "H W 3"], dict[str, Any]]:
        super().reset(seed=seed)
        states = {name: np.asarray(state, float) for name, state in (options or {}).items()}
        _, info = self.inner.reset(seed=int(self.np_random.integers(2**31)), options=states)
        self._goal_picture = self._shrunk(info["goal"])
        return self.render(), self._info()

    def step(
        self, action: Float[np.ndarray, " 2"]
    ) -> tuple[UInt8[np.ndarray, "H W 3"], float, bool, bool, dict[str, Any]]:
        self.inner.step(np.clip(np.asarray(action, float), -1, 1))
        return self.render(), 0.0, False, False, self._info()

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        return self._shrunk(self.inner.render())

    def ground_truth(self) -> dict[str, np.ndarray]:
        """Agent and block as rollout files keep them (`dlp_dyn.data.writer.Episode`)."""
        state = self.inner._get_obs()
        places = self._places(state)
        return {
            "position": places,
            "angle": np.array([0.0, state[4]], np.float32),
            "visible": np.asarray((np.abs(places) < 1).all(1)),  # fast things pass the thin walls
        }

    def _places(self, state: State) -> Float[np.ndarray, "2 2"]:
        """Of agent and block, in the units of particles."""
        return np.stack([in_picture(p, self.image_size, SIDE) for p in (state[:2], centre(state))])

    def _info(self) -> dict[str, Any]:
        state, goal = self.inner._get_obs(), np.asarray(self.inner.goal_state, float)
        turn = abs((state[4] - goal[4] + np.pi) % (2 * np.pi) - np.pi)
        return {
            "state": state,
            "goal_state": goal,
            "places": self._places(state),
            "goal_places": self._places(goal),
            "goal": self._goal_picture.copy(),
            "is_success": bool(np.linalg.norm(state[:4] - goal[:4]) < 20 and turn < np.pi / 9),
            "is_near": bool(np.linalg.norm(state[2:4] - goal[2:4]) < 10 and turn < np.pi / 18),
        }


def centre(state: State) -> Float[np.ndarray, " 2"]:
    """Of the T's area, in pixels of 512; `state` has the middle of its bar's outer edge."""
    cos, sin = np.cos(state[4]), np.sin(state[4])
    return state[2:4] + np.array([[cos, -sin], [sin, cos]]) @ CENTRE


class Weak:
    """PushT: the wheel's `WeakPolicy`: uniform actions, kept within 100 pixels of the block. For `dlp-dyn collect`."""

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        from stable_worldmodel.envs.pusht.expert_policy import (  # pyright: ignore[reportMissingImports]
            WeakPolicy,
        )

        world: Any = env.unwrapped
        self.policy: Any = WeakPolicy(dist_constraint=100, seed=int(rng.integers(2**31)))
        # Its own `set_env` wants environments by the wheel's id.
        self.policy.env = SimpleNamespace(envs=[world.inner], action_space=np.zeros((1, 2)))

    def __call__(self, observation: Any) -> Float[np.ndarray, " 2"]:  # noqa: ARG002
        return self.policy.get_action({})[0].astype(np.float32)
