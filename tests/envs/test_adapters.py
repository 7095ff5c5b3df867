"""Pixel adapters: square uint8 pictures, actions in [-1, 1], rebuilt from their spec. Each needs its extra."""

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dlp_dyn.errors import InputError
from envs.adapters import SquarePixels

ADAPTERS = {
    "PushT-v0": ("gym_pusht", {}),
    "Atari-v0": ("ale_py", {}),
    "Fetch-v0": ("gymnasium_robotics", {}),
    "OGBench-v0": ("ogbench", {"task_id": 1}),
}


@pytest.mark.parametrize(("name", "module", "options"), [(k, *v) for k, v in ADAPTERS.items()])
def test_adapter(name: str, module: str, options: dict[str, Any]) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs the extra with {module}")
    # A process each: after gymnasium-robotics has closed its graphics context, OGBench gets none.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(check, name, options).result()


def check(name: str, options: dict[str, Any]) -> None:
    env = gym.make(f"envs:{name}", image_size=48)
    observation, info = env.reset(seed=0, options=options or None)
    assert env.observation_space.contains(observation)
    assert picture(observation).shape == (48, 48, 3)
    assert picture(observation).std() > 5
    if options:
        assert info["goal"].shape == (48, 48, 3)
    if isinstance(env.action_space, gym.spaces.Box):
        assert (env.action_space.low == -1).all()
        assert (env.action_space.high == 1).all()
    env.action_space.seed(0)
    moved = [picture(env.step(env.action_space.sample())[0]) for _ in range(5)][-1]
    assert (moved != picture(observation)).any()
    assert env.spec is not None
    again = gym.make(env.spec)
    np.testing.assert_array_equal(
        picture(again.reset(seed=0, options=options or None)[0]), picture(observation)
    )
    env.close()
    again.close()


def picture(observation: Any) -> np.ndarray:
    return observation["pixels"] if isinstance(observation, dict) else observation


def test_pixels_join_the_goals_of_a_dict() -> None:
    env = SquarePixels(gym.make("envs:Push-v0", render_mode="rgb_array", image_size=128), image_size=32)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"observation", "achieved_goal", "desired_goal", "pixels"}
    assert env.observation_space.contains(observation)
    assert observation["pixels"].shape == (32, 32, 3)


def test_a_crop_may_come_from_yaml() -> None:
    def picture(crop: Any) -> np.ndarray:
        env = gym.make("envs:Push-v0", render_mode="rgb_array", image_size=64)
        return SquarePixels(env, 32, crop).reset(seed=0)[0]["pixels"]

    np.testing.assert_array_equal(picture([0, 0, 32, 32]), picture((0, 0, 32, 32)))
    assert (picture([0, 0, 32, 32]) != picture(None)).any()
    for wrong in ("round", [1, 2, 3]):
        with pytest.raises(InputError, match="left, top, right and bottom"):
            picture(wrong)


def test_a_game_is_cropped() -> None:
    pytest.importorskip("ale_py", reason="needs the extra atari")
    whole = gym.make("envs:Atari-v0", image_size=64)
    field = gym.make("envs:Atari-v0", image_size=64, crop=(0, 34, 160, 194))
    assert field.spec is not None
    frame, _ = field.reset(seed=0)
    assert frame.shape == (64, 64, 3)
    assert frame[0].std(0).max() < 1  # no score above the field
    assert whole.reset(seed=0)[0][0].std(0).max() > 5
    np.testing.assert_array_equal(gym.make(field.spec).reset(seed=0)[0], frame)


def test_no_picture_or_no_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="render_mode rgb_array"):
        SquarePixels(gym.make("CartPole-v1"))
    monkeypatch.setitem(__import__("sys").modules, "ale_py", None)
    with pytest.raises(InputError, match=r"pip install 'dlp_dyn\[atari\]'"):
        gym.make("envs:Atari-v0")
