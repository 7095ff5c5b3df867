"""Scripted pushers: what they solve, and that they keep things moving."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.policies import RestlessPusher, ScriptedPusher


def solved(episodes: int, **settings: Any) -> float:
    """The share of episodes that end in success."""
    env = gym.make("envs:Push-v0", **settings)
    successes = 0
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        policy = ScriptedPusher(env, np.random.default_rng(seed))
        truncated = False
        while not truncated:
            observation, _, _, truncated, info = env.step(policy(observation))
        successes += info["is_success"]
    return successes / episodes


@pytest.mark.parametrize(
    ("settings", "at_least"),
    [
        ({}, 0.9),
        ({"shape": "disc", "small_table": True}, 0.9),
        ({"n_objects": 2}, 0.6),
        ({"n_objects": 2, "task": "ordered"}, 0.6),
        ({"n_objects": 3, "task": "sort"}, 0.7),
    ],
    ids=str,
)
def test_scripted_pusher_solves(settings: dict[str, Any], at_least: float) -> None:
    assert solved(12, **settings) >= at_least


def test_restless_pusher_is_repeatable_and_never_rests() -> None:
    traces = []
    for _ in range(2):
        env = gym.make("envs:Push-v0", time_limit=200)
        observation, _ = env.reset(seed=4)
        policy = RestlessPusher(env, np.random.default_rng(4))
        trace = []
        for _ in range(200):
            observation, *_ = env.step(policy(observation))
            trace.append(observation["achieved_goal"][0, :4])
        traces.append(np.stack(trace))
    np.testing.assert_array_equal(*traces)
    moved = np.linalg.norm(np.diff(traces[0][:, :2], axis=0), axis=1)
    assert all(part.sum() > 0.2 for part in np.array_split(moved, 4))
