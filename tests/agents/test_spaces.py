"""Any environment's spaces: what agents are shown and what it takes, or one line."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from agents.environments import AgentEnv
from agents.evaluate import play
from agents.selection import Selection
from agents.spaces import Actions, entry_of, from_json, to_json
from dlp_dyn.errors import InputError

Box = spaces.Box


class Plain(gym.Env[Any, Any]):
    """Random observations of a space; an episode ends after four actions, all of which must be of the other space."""

    def __init__(self, observations: gym.Space, actions: gym.Space, told: bool = False) -> None:
        self.observation_space, self.action_space, self.told = observations, actions, told

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.taken: list[Any] = []
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        assert self.action_space.contains(action)
        self.taken.append(action)
        over = len(self.taken) == 4
        info = {"is_success": True} if self.told and over and self.np_random.random() < 0.5 else {}
        return self.observation_space.sample(), 1.0, over, False, info


@pytest.mark.parametrize(
    ("space", "seen"),
    [
        (Box(0, 255, (40, 30, 3), np.uint8), (3, 40, 30)),
        (Box(0, 255, (3, 40, 30), np.uint8), (3, 40, 30)),
        (Box(0, 255, (40, 30), np.uint8), (1, 40, 30)),
        (Box(0, 255, (40, 30, 1), np.uint8), (1, 40, 30)),
        (Box(0, 255, (4, 84, 84), np.uint8), (4, 84, 84)),
    ],
)
def test_pictures_get_their_channels_first(space: Box, seen: tuple[int, ...]) -> None:
    entry = entry_of(space, "it", picture=True)
    assert entry.space.shape == seen
    batch = np.stack([space.sample() for _ in range(2)])
    converted = entry.convert(batch)
    assert converted.shape == (2, *seen)
    assert all(entry.space.contains(one) for one in converted)
    np.testing.assert_array_equal(np.sort(converted.ravel()), np.sort(batch.ravel()))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([Box(-1, 1, (2,)), Box(-1, 1, (2,))]),
        spaces.Text(5),
        spaces.Sequence(Box(-1, 1, (2,))),
        spaces.Dict({"inner": Box(-1, 1, (2,))}),
        Box(-1, 1, ()),
        Box(-1, 1, (0,)),
        spaces.MultiDiscrete(np.array([[2, 3], [2, 2]])),
    ],
)
def test_what_is_no_array_is_one_line(space: gym.Space) -> None:
    with pytest.raises(InputError, match="which networks cannot read") as error:
        Selection(spaces.Dict({"inside": space}), {"inside": "inside"})
    assert "\n" not in str(error.value)


def test_a_dict_of_numbers_needs_no_goal_and_no_picture() -> None:
    space = spaces.Dict({"position": Box(-1, 1, (3,)), "gear": spaces.Discrete(3, start=2)})
    env = AgentEnv([Plain(space, spaces.Discrete(2))], Selection(space, {key: key for key in space}))
    seen = env.reset()
    assert isinstance(env.observation_space, spaces.Dict)
    assert env.observation_space["gear"] == spaces.Discrete(3)
    later: list[Any] = [env.step(np.zeros(1, int))[0] for _ in range(20)]
    assert all(0 <= step["gear"][0] <= 2 for step in later)
    assert set(seen) == {"position", "gear"}
    with pytest.raises(InputError, match="no picture of bytes"):
        Selection(space, {"observation": "position"}, pictures=["observation"])


@pytest.mark.parametrize(
    ("space", "presented"),
    [
        (spaces.Discrete(3, start=1), spaces.Discrete(3)),
        (spaces.Discrete(3), spaces.Discrete(3)),
        (spaces.MultiDiscrete([2, 3], start=[1, 5]), spaces.MultiDiscrete([2, 3])),
        (spaces.MultiBinary(4), spaces.MultiBinary(4)),
        (Box(-3, 7, (2,), np.int64), Box(-3, 7, (2,), np.float32)),
        (Box(-1, 1, (2, 2), np.float64), Box(-1, 1, (2, 2), np.float32)),
    ],
)
def test_actions_of_any_kind_are_those_that_the_environment_takes(space: Any, presented: gym.Space) -> None:
    env = AgentEnv([Plain(Box(-1, 1, (2,)), space)], Selection(Box(-1, 1, (2,)), {}))
    assert env.action_space == presented
    env.reset()
    presented.seed(0)
    for _ in range(30):
        action = np.asarray(presented.sample())
        env.step(action[None])  # the environment asserts
        np.testing.assert_allclose(env.actions.from_env(env.actions.to_env(action)), action, atol=0.5)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2)]),
        spaces.Dict({}),
        Box(-np.inf, np.inf, (2,)),
        Box(np.zeros(2, np.float32), np.array([1, 0], np.float32)),
        spaces.MultiDiscrete(np.array([[2, 3], [2, 2]])),
        spaces.MultiBinary([2, 2]),
    ],
)
def test_actions_that_no_algorithm_has_are_one_line(space: gym.Space) -> None:
    with pytest.raises(InputError, match="actions are"):
        Actions(space)


class Odd(Plain):
    """Tells other things than it should."""

    def __init__(self, **told: Any) -> None:
        super().__init__(Box(-1, 1, (2,)), spaces.Discrete(2))
        self.odd = told

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        seen, reward, over, _, info = super().step(action)
        told = {"observation": seen, "reward": reward, "info": info} | self.odd
        return told["observation"], told["reward"], over, False, told["info"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"reward": None}, "reward is None"),
        ({"reward": float("nan")}, "reward is nan"),
        ({"reward": [1.0, 2.0]}, r"reward is \[1.0"),
        ({"info": {"is_success": "no"}}, "is_success is 'no'"),
        ({"info": {"is_success": 0.3}}, "is_success is 0.3"),
        ({"observation": np.zeros(3, np.float32)}, r"observation of shape \(3,\)"),
        ({"observation": np.full(2, np.nan, np.float32)}, "NaN or infinity"),
    ],
)
def test_an_environment_that_tells_what_it_should_not_is_one_line(told: dict[str, Any], said: str) -> None:
    env = AgentEnv([Odd(**told)], Selection(Box(-1, 1, (2,)), {}))
    env.reset()
    with pytest.raises(InputError, match=said):
        env.step(np.zeros(1, int))


def test_spaces_survive_json() -> None:
    for space in (
        Box(0, 255, (3, 40, 40), np.uint8),
        Box(-np.inf, np.inf, (5, 4), np.float32),
        Box(np.array([-1, 0.1], np.float32), np.array([1, 0.7], np.float32), dtype=np.float32),
        spaces.Discrete(5),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Dict({"observation": Box(-1, 1, (2, 3)), "desired_goal": Box(-1, 1, (2, 3))}),
    ):
        assert from_json(json.loads(json.dumps(to_json(space)))) == space


class Still:
    def predict(self, observation: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:  # noqa: ARG002
        return np.zeros((len(observation), 2), np.float32), None


@pytest.mark.parametrize("seed", range(4))
def test_success_that_is_told_only_when_reached_is_measured(seed: int) -> None:
    box = Box(-1, 1, (2,))
    env = AgentEnv([Plain(box, box, told=True) for _ in range(2)], Selection(box, {}))
    record = play(Still(), env, 12, seed)
    assert record.success is not None
    assert 0 < record.success.mean() < 1
    assert record.score == (record.success.mean(), 4.0)
    silent = play(Still(), AgentEnv([Plain(box, box)], Selection(box, {})), 3, seed)
    assert silent.success is None
    assert "success" not in silent.figures()
    assert silent.score == (0.0, 4.0)


class Reusing(gym.Env[Any, Any]):
    """Writes into one array for ever."""

    observation_space = Box(0, 9, (2,), np.float32)
    action_space = Box(-1, 1, (2,), np.float32)

    def __init__(self) -> None:
        self.array = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.array[:] = 0
        return self.array, {"where": self.array}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:  # noqa: ARG002
        self.array += 1
        return self.array, 0.0, self.array[0] == 3, False, {"where": self.array}


def test_last_observations_outlive_the_array_they_came_in() -> None:
    env = AgentEnv([Reusing()], Selection(Reusing.observation_space, {}))
    env.reset()
    told = [env.step(np.zeros((1, 2)))[3][0] for _ in range(3)]
    assert [info["where"][0] for info in told] == [1, 2, 3]
    assert told[-1]["terminal_observation"][0] == 3
