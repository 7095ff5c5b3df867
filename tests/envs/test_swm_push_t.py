"""PushT where stable-worldmodel is installed: states are restored, and the picture shows what they say."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dlp_dyn.data.collect import load_policy
from envs.swm_push_t import CENTRE, centre

STATE = np.array([150.0, 300.0, 300.0, 200.0, 0.5, 0.0, 0.0])


def test_the_centre_turns_about_the_bar() -> None:
    still = centre(np.array([0.0, 0, 10, 20, 0, 0, 0]))
    np.testing.assert_allclose(still, CENTRE + np.array([10, 20]))
    turned = centre(np.array([0.0, 0, 10, 20, np.pi / 2, 0, 0]))
    np.testing.assert_allclose(turned, [10 - CENTRE[1], 20], atol=1e-12)


@pytest.fixture
def env() -> gym.Env:
    pytest.importorskip("stable_worldmodel.envs.pusht.env", reason="stable-worldmodel is not installed")
    return gym.make("envs:SWM-PushT-v0")


def test_a_state_is_restored_and_drawn(env: gym.Env) -> None:
    picture, info = env.reset(seed=0, options={"state": STATE, "goal_state": STATE})
    np.testing.assert_allclose(info["state"], STATE, atol=1e-3)
    assert info["is_success"]
    assert info["is_near"]
    blue = (picture[..., 2].astype(int) - picture[..., 0]).argmax()
    agent, block = (info["places"] + 1) * 31.5
    np.testing.assert_allclose(np.unravel_index(blue, (64, 64))[::-1], agent, atol=1.5)
    shades = np.abs(picture[..., :3].astype(int) - [143, 163, 184]).sum(-1) < 20
    np.testing.assert_allclose(np.argwhere(shades).mean(0)[::-1], block, atol=1.0)


def test_success_is_of_places_and_angles(env: gym.Env) -> None:
    def told(**change: float) -> tuple[bool, bool]:
        goal = STATE.copy()
        for name, x in change.items():
            goal[{"agent": 0, "block": 2, "angle": 4}[name]] += x
        info = env.reset(seed=0, options={"state": STATE, "goal_state": goal})[1]
        return info["is_success"], info["is_near"]

    assert told(agent=15) == (True, True)
    assert told(agent=25) == (False, True)
    assert told(block=15) == (True, False)
    assert told(angle=0.3) == (True, False)
    assert told(angle=2 * np.pi) == (True, True)
    assert told(angle=0.4) == (False, False)


def test_the_weak_policy_stays_near_the_block(env: gym.Env) -> None:
    observation, info = env.reset(seed=1)
    policy = load_policy("envs.swm_push_t:Weak")(env, np.random.default_rng(0))
    for _ in range(40):
        action = policy(observation, info)
        assert env.action_space.contains(action)
        observation, _, _, _, info = env.step(action)
    assert np.abs(info["state"][:2] - info["state"][2:4]).max() < 200


def test_what_is_outside_the_picture_is_not_visible(env: gym.Env) -> None:
    outside = np.array([-40.0, 256.0, 256.0, 256.0, 0.5, 0.0, 0.0])
    env.reset(seed=0, options={"state": outside, "goal_state": outside})
    world: Any = env.unwrapped
    assert world.ground_truth()["visible"].tolist() == [False, True]
