"""Agents on environments of other packages, from their presets, through the real commands."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from agents import checkpoint, evaluate, train

SMALL = [
    "env.n_envs=2", "steps=120", "warm_up.steps=40", "algorithm.batch_size=8", "algorithm.gradient_steps=1",
    "algorithm.buffer_size=400", "algorithm.ppo.n_steps=20", "algorithm.ppo.n_epochs=1", "observation.stack=2",
    "observation.normalizer_frames=32", "log_every=40", "eval_every=1000", "eval_episodes=1", "save_every=1000",
    "network.entity.dim=8", "network.entity.hidden=[8]", "network.entity.head=[8]", "env.settings.image_size=32",
]  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "package", "short"),
    [
        ("pusht", "gym_pusht", ["env.settings.max_episode_steps=30"]),
        pytest.param(
            "pong",
            "ale_py",
            ["env.settings.max_episode_steps=60", "env.settings.noop_max=1"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_preset_learns_on_particles_and_is_measured(
    preset: str, package: str, short: list[str], encoder_run: Path, tmp_path: Path, capsys: Any
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is an extra of its own: see pyproject.toml")
    run = tmp_path / "run"
    words = [preset, f"observation.encoder={encoder_run}", f"out={run}", *SMALL, *short]
    assert train.main(words) == 0, capsys.readouterr().err
    assert checkpoint.find(run, "last").step >= 120
    capsys.readouterr()
    assert evaluate.main([str(run), "--episodes", "2", "--json", "--gif", str(tmp_path / "x.gif")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["episodes"] == 2
    assert train.main(["--resume", str(run), "steps=160"]) == 0
