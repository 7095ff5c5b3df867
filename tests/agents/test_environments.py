"""Environments for SB3: what agents see is what happened, encoded in one batch a step."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401 - registers
from agents import environments, fit_observation
from agents.config import AgentConfig
from agents.environments import AgentEnv
from dlp_dyn.errors import InputError
from dlp_dyn.observation import ParticleObservation

Push = Callable[..., AgentConfig]


def actions(env: AgentEnv, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, env.num_envs, 2)).astype(np.float32)


def bare(cfg: AgentConfig, seed: int, kind: str = "state") -> gym.Env[Any, Any]:
    pixels = cfg.env.pixel_settings if kind != "state" else {}
    env = gym.make(cfg.env.id, **cfg.env.settings, **pixels)
    env.reset(seed=seed)
    return env


def test_states_are_those_of_the_environments_played_alone(push: Push) -> None:
    cfg = push(kind="state")
    env = environments.make(cfg, 3)
    env.seed(5)
    seen = env.reset()
    assert set(seen) == {"observation", "desired_goal"}
    alone = [bare(cfg, 5 + i) for i in range(3)]
    for step, action in enumerate(actions(env, 20), 1):
        seen, rewards, dones, infos = env.step(action)
        assert isinstance(seen, dict)
        assert dones.all() == (step % 6 == 0)
        for i, single in enumerate(alone):
            expected, reward, _, truncated, info = single.step(action[i])
            last = infos[i]["terminal_observation"] if dones[i] else {k: v[i] for k, v in seen.items()}
            np.testing.assert_array_equal(last["observation"], expected["observation"])
            np.testing.assert_array_equal(last["desired_goal"], expected["desired_goal"])
            np.testing.assert_array_equal(infos[i]["achieved_state"], expected["achieved_goal"])
            np.testing.assert_array_equal(infos[i]["desired_state"], expected["desired_goal"])
            assert rewards[i] == np.float32(reward)
            assert infos[i]["TimeLimit.truncated"] == truncated == dones[i]
            assert infos[i]["is_success"] == info["is_success"]
            if truncated:
                assert infos[i]["episode"]["l"] == 6
                first, _ = single.reset()
                np.testing.assert_array_equal(seen["observation"][i], first["observation"])


def test_particles_are_those_of_the_single_wrapper_with_one_encoding_a_step(
    push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = push()
    encoder = fit_observation.encoder_for(cfg)
    assert encoder is not None
    env = environments.make(cfg, 3, encoder)
    calls: list[int] = []
    raw = encoder.raw

    def counted(frames: np.ndarray) -> np.ndarray:
        calls.append(len(frames))
        return raw(frames)

    monkeypatch.setattr(encoder, "raw", counted)
    env.seed(0)
    env.reset()
    assert calls.pop() == 6  # pictures and goals

    alone = []
    for i in range(3):
        assert cfg.observation.encoder is not None
        single = ParticleObservation(
            bare(cfg, i, "pixels"), cfg.observation.encoder, images=cfg.observation.images
        )
        single.observer.encoder.normalizer = encoder.normalizer
        single.reset(seed=i)
        alone.append(single)
    for step, action in enumerate(actions(env, 14), 1):
        seen, _, dones, infos = env.step(action)
        assert isinstance(seen, dict)
        # Goals stay, so only pictures of now; at an end, the last ones, and both of the next episode.
        assert calls.pop() <= (9 if step % 6 == 0 else 3)
        assert not calls
        for i, single in enumerate(alone):
            expected, *_ = single.step(action[i])
            last = infos[i]["terminal_observation"] if dones[i] else {k: v[i] for k, v in seen.items()}
            for key in ("observation", "desired_goal"):
                np.testing.assert_allclose(last[key], expected[key], atol=1e-4)
            if dones[i]:
                first, _ = single.reset()
                np.testing.assert_allclose(seen["observation"][i], first["observation"], atol=1e-4)


def test_pixels_are_the_pictures_with_channels_first(push: Push) -> None:
    env = environments.make(push(kind="pixels"), 2)
    seen = env.reset()
    space = env.observation_space
    assert isinstance(space, gym.spaces.Dict)
    assert space["observation"].shape == (3, 40, 40)
    for i in range(2):
        np.testing.assert_array_equal(seen["observation"][i], env.raw[i]["pixels"].transpose(2, 0, 1))
        np.testing.assert_array_equal(seen["desired_goal"][i], env.raw[i]["goal_pixels"].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["state", "pixels", "particles"])
def test_a_seed_repeats_everything_and_infos_hold_no_pictures(push: Push, kind: str) -> None:
    cfg = push(kind=kind)
    encoder = fit_observation.encoder_for(cfg)

    def run() -> list[np.ndarray]:
        env = environments.make(cfg, 2, encoder)
        env.seed(3)
        seen = [env.reset()]
        for action in actions(env, 13):
            now, _, _, infos = env.step(action)
            seen.append(now)
            for info in infos:
                kept = {k: v for k, v in info.items() if k != "terminal_observation"}
                assert all(np.asarray(v).nbytes < 100 for v in kept.values() if isinstance(v, np.ndarray))
            assert not set(now) & set(environments.STATES)
        return [x[key] for x in seen for key in ("observation", "desired_goal")]

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_compute_reward_is_the_environments_and_takes_no_particles(push: Push) -> None:
    cfg = push()
    env = environments.make(cfg, 2, fit_observation.encoder_for(cfg))
    seen = env.reset()
    _, rewards, _, infos = env.step(actions(env, 1)[0])
    achieved, desired = (np.stack([info[key] for info in infos]) for key in environments.STATES)
    np.testing.assert_array_equal(env.env_method("compute_reward", achieved, desired, [{}, {}])[0], rewards)
    with pytest.raises(InputError, match="of states"):
        env.env_method("compute_reward", seen["observation"], seen["desired_goal"], [{}, {}])


def test_what_cannot_be_seen_is_said_in_a_line(push: Push) -> None:
    for overrides, kind, message in (
        (["env.settings.image_size=40"], "particles", "40"),
        (["observation.images={observation: nothing}"], "pixels", "no key 'nothing'"),
        (["env.id=CartPole-v1", "env.settings={}"], "particles", "no pixels|no uint8|cannot be made"),
        (["env.id=Nothing-v0"], "state", "cannot be made"),
    ):
        cfg = push(*overrides, kind=kind)
        encoder = fit_observation.encoder_for(push()) if kind == "particles" else None
        with pytest.raises(InputError, match=message):
            environments.make(cfg, 1, encoder)
