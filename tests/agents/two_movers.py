"""Two coloured movers among six distractors, in slots that may be dealt anew at every step."""

from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float

SLOTS = 8
MOVERS = 2
COLUMNS = ("x", "y", "red", "blue")
STEP = 0.5  # the farthest that a mover goes
REACHED = 0.2  # a mover this near to its goal has reached it
HORIZON = 8

Observation = dict[str, Float[np.ndarray, "8 4"]]


class TwoMovers(gym.Env[Observation, Float[np.ndarray, " 4"]]):
    """Bring the red and the blue mover to their goals; what is neither red nor blue is in nobody's way.

    Observation, achieved and desired goal are sets of 8 things, each set in an order of its own: with `shuffled`
    another one at every step. Action: by how much each mover goes, in units of 0.5. Reward: minus the mean
    distance of the movers to their goals. Positions lie in [-1, 1]; an episode takes 8 steps.
    """

    def __init__(self, shuffled: bool = True) -> None:
        self.shuffled = shuffled
        things = gym.spaces.Box(-1, 1, (SLOTS, len(COLUMNS)), np.float32)
        keys = ("observation", "achieved_goal", "desired_goal")
        self.observation_space: gym.Space = gym.spaces.Dict({key: things for key in keys})
        self.action_space = gym.spaces.Box(-1, 1, (2 * MOVERS,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.things = self._place()
        goal = self._place()
        self.goal = self._deal(goal)
        self.left = HORIZON
        return self._observe(), {}

    def step(self, action: Float[np.ndarray, " 4"]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        places = self.things[:MOVERS, :2]
        places[:] = (places + STEP * np.reshape(action, (MOVERS, 2)).clip(-1, 1)).clip(-1, 1)
        self.left -= 1
        observation = self._observe()
        apart = _apart(observation["achieved_goal"], observation["desired_goal"])
        return (
            observation,
            -float(apart.mean()),
            False,
            self.left == 0,
            {"is_success": bool((apart < REACHED).all())},
        )

    def compute_reward(
        self,
        achieved: Float[np.ndarray, "*B 8 4"],
        desired: Float[np.ndarray, "*B 8 4"],
        info: object,  # noqa: ARG002
    ) -> Float[np.ndarray, "*B"]:
        return -_apart(achieved, desired).mean(-1)

    def _place(self) -> Float[np.ndarray, "8 4"]:
        """Row 0 is the red mover, row 1 the blue one."""
        things = np.zeros((SLOTS, len(COLUMNS)), np.float32)
        things[:, :2] = self.np_random.uniform(-1, 1, (SLOTS, 2))
        things[0, 2] = things[1, 3] = 1
        return things

    def _deal(self, things: Float[np.ndarray, "8 4"]) -> Float[np.ndarray, "8 4"]:
        return self.np_random.permutation(things) if self.shuffled else things.copy()

    def _observe(self) -> Observation:
        now = self._deal(self.things)
        return {"observation": now, "achieved_goal": now, "desired_goal": self._deal(self.goal)}


def _apart(
    achieved: Float[np.ndarray, "*B 8 4"], desired: Float[np.ndarray, "*B 8 4"]
) -> Float[np.ndarray, "*B 2"]:
    """How far each mover is from its goal; movers are found by their colour, wherever they stand."""
    pairs = [(_of_colour(achieved, column), _of_colour(desired, column)) for column in (2, 3)]
    return np.stack([np.linalg.norm(now - goal, axis=-1) for now, goal in pairs], -1)


def _of_colour(things: Float[np.ndarray, "*B 8 4"], column: int) -> Float[np.ndarray, "*B 2"]:
    return np.take_along_axis(things, things[..., column].argmax(-1)[..., None, None], -2)[..., 0, :2]
