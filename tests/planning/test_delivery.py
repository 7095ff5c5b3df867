"""Laws of deliveries: what is told, what is paid, and that real environments are seen as imagined ones are."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from agents.vector import OfGymnasium
from dlp_dyn.bundled import PUSH
from dlp_dyn.errors import InputError
from dlp_dyn.imagination import Imagination
from dlp_dyn.particles import Particles
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.delivery import Deliveries, Delivery, starts_of
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.stage import Stage
from dlp_dyn.planning.watched import Watched

CLIPS = PUSH / "clips.h5"


def scene(actor: tuple[float, float], thing: tuple[float, float]) -> Particles:
    position = torch.tensor([[actor, thing]])
    rest = [torch.zeros(1, 2, n) for n in (2, 1)]
    return Particles(position, rest[0], rest[1], torch.ones(1, 2, 1), torch.zeros(1, 2, 6))


@pytest.fixture(scope="module")
def control() -> Controller:
    return controller_of(PUSH, gym.spaces.Box(-1, 1, (2,), np.float32))


def watched(control: Controller, n: int) -> Watched:
    stages = [Stage("envs:Push-v0", 64, {"n_objects": 1}) for _ in range(n)]
    return Watched(control.model, control.planner, stages, 1, 25)


def test_the_reward_by_hand() -> None:
    """The thing is .6 from its place, which costs .3; what acts is .5 from behind it, which costs .2 x .25."""
    delivery = Delivery(torch.tensor([[[0.6, 0.0]]]))
    assert delivery.reward(scene((-0.25, 0.5), (0.0, 0.0))).item() == pytest.approx(-0.35, abs=1e-4)
    assert delivery.reward(scene((-0.25, 0.0), (0.0, 0.0))).item() == pytest.approx(-0.3, abs=1e-4)
    assert delivery.reward(scene((-0.9, 0.9), (0.6, 0.0))).item() == pytest.approx(0.0, abs=1e-4)


def test_what_is_told_by_hand() -> None:
    told = Delivery(torch.tensor([[[0.6, 0.0]]])).observe(scene((-0.25, 0.5), (0.0, 0.0)))[0] / 2
    expected = [-0.25, 0.5, 0, 0, 0.6, 0, 0.25, -0.5, 0.6, 0, 0, -0.5]
    np.testing.assert_allclose(told.numpy(), expected, atol=1e-6)


def test_imagined_deliveries_begin_in_the_file_with_what_acts(control: Controller) -> None:
    """The pusher is white: of the three things and it, the file's ground truth says which is where."""
    starts = starts_of(control.model, control.planner, CLIPS, 1, torch.Generator().manual_seed(0), "test")
    assert starts.particles.position.shape[1:] == (1, 2, 2)
    aims = Deliveries(starts.particles[:, 0])
    env = Imagination(control.model, control.planner.space, starts, aims, 4, 3)
    told, _ = env.reset(seed=0)
    assert told.shape == (4, 12)
    assert env.single_observation_space.contains(told[0])
    places = told[:, 4:6].copy()
    told, reward, _, _, _ = env.step(np.zeros((4, 4), np.float32))
    np.testing.assert_array_equal(told[:, 4:6], places)  # the errand stays
    np.testing.assert_allclose(reward, Delivery(aims.places).reward(env.now.particles).numpy(), atol=1e-6)
    with pytest.raises(InputError, match="ask for fewer things"):
        starts_of(control.model, control.planner, CLIPS, 9, torch.Generator(), "test")


def test_real_environments_are_seen_through_the_model(control: Controller) -> None:
    """What is told agrees with the table's own numbers, which nobody showed it."""
    env = watched(control, 2)
    told, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for row, stage in zip(told / 2, env.stages, strict=True):
            truth = stage.observation
            for got, key, i in (
                (row[:2], "observation", 0),
                (row[2:4], "achieved_goal", 0),
                (row[4:6], "desired_goal", 0),
            ):
                np.testing.assert_allclose(got, truth[key][i, :2], atol=0.1)
        told, _, _, _, _ = env.step(rng.uniform(-1, 1, (2, 4)).astype(np.float32))
    env.close()


def test_real_episodes_end_with_what_the_environment_says(control: Controller) -> None:
    env = OfGymnasium(watched(control, 1))
    env.seed(3)
    env.reset()
    still = np.zeros((1, 4), np.float32)
    assert not any(env.step(still)[2][0] for _ in range(24))
    observation: Any
    observation, _, done, infos = env.step(still)
    assert done[0]
    assert infos[0]["TimeLimit.truncated"]
    assert infos[0]["is_success"] in (False, np.False_)
    assert np.abs(infos[0]["terminal_observation"] - observation[0]).max() > 0.1
    env.close()


def test_other_ways_of_beginning_anew_are_refused() -> None:
    env = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    with pytest.raises(InputError, match=r"needs AutoresetMode\.SAME_STEP"):
        OfGymnasium(env)


def test_the_command_trains_plays_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agents.imagined import main

    out = tmp_path / "agent"
    words = ["push", "--env", "envs:Push-v0", "--set", "n_objects=1", "--steps", "32", "--episodes", "16"]
    assert main([*words, "--out", str(out)]) == 2
    assert "give --data FILE" in capsys.readouterr().err
    assert main([*words, "--data", str(CLIPS), "--part", "test", "--out", str(out)]) == 0
    assert "of 16 episodes" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == {"agent.safetensors", "result.json"}
    assert main([*words, "--data", str(CLIPS), "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
