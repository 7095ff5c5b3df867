"""Laws of acting in what a video model imagines."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from video_runs import IMAGE, write_run

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.errors import InputError
from dlp_dyn.imagination import Goals, Imagination, Trust
from dlp_dyn.particles import ParticleLayout, Scene
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.goals import Places
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoModel

SPACE = ActionSpace.of(gym.spaces.Box(-1, 1, (2,), np.float32), 2)
LAYOUT = ParticleLayout(IMAGE.feature_dim)
BELIEVE = Trust(spread=1e9, motion=1e9, objects=99)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    model = load_video_model(write_run(tmp_path_factory.mktemp("imagine") / "run", action_dim=4, stride=2))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.dynamics.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    return torch.rand(5, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def starts(model: VideoModel, video: torch.Tensor) -> Scene:
    with torch.no_grad():
        scene = model.encode(video)[0].scene
    scene.particles.transparency.fill_(0.9)
    return scene


def world(model: VideoModel, starts: Scene, **settings: object) -> Imagination:
    settings = {"n_envs": 3, "steps": 4, "trust": BELIEVE, "blocks": torch.zeros(5, 1, 4)} | settings
    return Imagination(model, SPACE, starts, Goals([Places({1: (0.2, 0.0)})]), **settings)  # type: ignore[arg-type]


def test_it_imagines_what_the_dynamics_predict(model: VideoModel, starts: Scene) -> None:
    """Two frames go in, and each step sees the last ones, up to as many as the model looks back on."""
    env = world(model, starts, n_envs=1, steps=9)
    env.reset(seed=0)
    first = env.history[:, -2:]
    actions = torch.rand(3, 4) * 2 - 1
    seen = [env.step(action[None].numpy())[0] for action in actions]
    history, known = first, torch.zeros(1, 1, 4)
    with torch.no_grad():
        for action, observation in zip(actions, seen, strict=True):
            known = torch.cat([known, action[None, None]], 1)[:, -4:]
            scene = model.dynamics.step(history, Conditions(known), None).drawn
            np.testing.assert_allclose(
                observation, LAYOUT.pack(scene.particles).numpy(), rtol=1e-4, atol=1e-5
            )
            history = cat([history, scene.map(lambda x: x[:, None])], 1)[:, -4:]


def test_the_reward_is_minus_the_distance(model: VideoModel, starts: Scene) -> None:
    env = world(model, starts)
    env.reset(seed=0)
    observation, reward, _, _, _ = env.step(np.zeros((3, 4), np.float32))
    far = np.linalg.norm(observation[:, 1, :2] - [0.2, 0.0], axis=-1) / 2
    np.testing.assert_allclose(reward, -(far + 1 - observation[:, 1, 5]), atol=1e-4)


def test_episodes_end_in_time_and_begin_anew(model: VideoModel, starts: Scene) -> None:
    env = world(model, starts)
    env.reset(seed=0)
    for t in range(10):
        observation, _, _, ends, info = env.step(env.action_space.sample())
        assert ends.tolist() == [t % 4 == 3] * 3
        if ends.any():
            assert info["_final_obs"].all()
            assert np.abs(info["final_obs"] - observation).max() > 1e-3
            begins = LAYOUT.pack(starts.particles[:, -1]).numpy()
            assert all(np.abs(begins - row).max((1, 2)).min() < 1e-6 for row in observation)


def test_lost_rollouts_are_told(model: VideoModel, starts: Scene) -> None:
    for trust in (Trust(0.0, 1e9, 99), Trust(1e9, 0.0, 99)):
        env = world(model, starts, trust=trust)
        env.reset(seed=0)
        _, _, terminated, truncated, info = env.step(np.ones((3, 4), np.float32))
        assert info["lost"].all()
        assert truncated.all()
        assert not terminated.any()


def test_a_lost_rollout_leaves_the_others_as_they_are(model: VideoModel, starts: Scene) -> None:
    """One that is begun anew has a shorter history than the others; nobody else's future may change by that."""
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 3, 4)).astype(np.float32)
    alone = world(model, starts, steps=9)
    alone.reset(seed=0)
    expected = [alone.step(a)[0] for a in actions]
    env = world(model, starts, steps=9)
    env.reset(seed=0)
    seen = []
    for t, a in enumerate(actions):
        env.taken[1] = 8 if t == 1 else t  # the second ends in its second step
        seen.append(env.step(a)[0])
    for before, after in zip(expected, seen, strict=True):
        np.testing.assert_allclose(before[[0, 2]], after[[0, 2]], rtol=1e-4, atol=1e-5)
    assert np.abs(expected[1][1] - seen[1][1]).max() > 1e-3


def test_particles_that_vanish_or_appear_are_not_believed(model: VideoModel, starts: Scene) -> None:
    env = world(model, starts, trust=Trust(1e9, 1e9, 0))
    env.reset(seed=0)
    env.begun.particles.transparency[0, 1] = 0.0  # one more than at the start, and in the third one fewer
    env.history.particles.transparency[2, :, 1] = 0.0
    _, _, _, _, info = env.step(np.zeros((3, 4), np.float32))
    assert info["lost"].tolist() == [True, False, True]


def test_seeds_repeat_it(model: VideoModel, starts: Scene) -> None:
    runs = []
    for seed in (0, 0, 1):
        env = world(model, starts, sampled=True)
        env.reset(seed=seed)
        runs.append(np.stack([env.step(np.zeros((3, 4), np.float32))[0] for _ in range(6)]))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_what_does_not_fit(model: VideoModel, starts: Scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the 1 blocks of actions between them"):
        world(model, starts, blocks=None)
    with pytest.raises(InputError, match="n_envs 0"):
        world(model, starts, n_envs=0)
    env = Imagination(model, SPACE, starts, Goals([Places({9: (0.0, 0.0)})]), blocks=torch.zeros(5, 1, 4))
    with pytest.raises(InputError, match="no particle 9"):
        env.reset(seed=0)
    blind = load_video_model(write_run(tmp_path / "run"))
    with pytest.raises(InputError, match="trained without actions"):
        world(blind, starts)
