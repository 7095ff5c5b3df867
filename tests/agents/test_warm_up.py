"""What is played before learning begins, in whatever actions the environment takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import checkpoint, environments, train
from agents.config import AgentConfig, WarmUpConfig
from agents.warm_up import Players
from dlp_dyn.errors import InputError

BUTTONS = """
env: {id: "buttons:Buttons-v0", n_envs: 2}
network: {entity: {dim: 8, n_heads: 2, hidden: [8], head: [8]}}
algorithm: {kind: ppo, batch_size: 20, ppo: {n_steps: 20, n_epochs: 1}}
observation: {normalizer_frames: 32}
steps: 80
eval_every: 40
eval_episodes: 2
"""


@pytest.fixture
def buttons(tmp_path: Path) -> Path:
    path = tmp_path / "buttons.yaml"
    path.write_text(BUTTONS)
    return path


def test_agents_with_discrete_actions_learn_on_particles(
    buttons: Path, encoder_run: Path, tmp_path: Path, capsys: Any
) -> None:
    words = [str(buttons), f"observation.encoder={encoder_run}", f"out={tmp_path / 'run'}"]
    assert train.main(words) == 0, capsys.readouterr().err
    assert checkpoint.find(tmp_path / "run", "last").step == 80


def test_noise_is_for_continuous_actions(
    buttons: Path, encoder_run: Path, tmp_path: Path, capsys: Any
) -> None:
    words = [
        str(buttons),
        f"observation.encoder={encoder_run}",
        f"out={tmp_path / 'run'}",
        "warm_up.noise=0.1",
    ]
    assert train.main(words) == 2
    error = capsys.readouterr().err
    assert "give warm_up.noise=0" in error
    assert error.strip().count("\n") == 0


def test_random_actions_fill_the_range_and_scripted_ones_are_disturbed_within_it(
    push: Callable[..., AgentConfig],
) -> None:
    env = environments.make(push(kind="state"), 3)
    env.seed(0)
    env.reset()
    at_random = Players(WarmUpConfig(), env, seed=0)
    drawn = np.stack([at_random() for _ in range(300)])
    assert drawn.shape == (300, 3, 2)
    assert drawn.dtype == np.float32
    assert np.abs(drawn.mean((0, 1))).max() < 0.1
    assert drawn.min() < -0.95
    assert drawn.max() > 0.95
    scripted = WarmUpConfig(policy="envs.policies:ScriptedPusher")
    exact, noisy = Players(scripted, env, 0), Players(WarmUpConfig(policy=scripted.policy, noise=0.2), env, 0)
    moves, disturbed = exact(), noisy()
    assert np.abs(disturbed - moves).max() > 0.01
    assert np.abs(disturbed).max() <= 1


def test_players_of_an_unknown_policy(push: Callable[..., AgentConfig]) -> None:
    env = environments.make(push(kind="state"), 1)
    with pytest.raises(InputError, match="nothing"):
        Players(WarmUpConfig(policy="envs.policies:nothing"), env, 0)
