"""Small agents for tests: presets shrunk, and encoders with random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agents import config as agent_config
from agents.config import AgentConfig
from dlp_dyn import checkpoint, config
from dlp_dyn.image.model import DLP


@pytest.fixture(scope="session")
def write_encoder() -> Callable[..., Path]:
    """`write_encoder(folder, seed=0)`: the run folder of an image model for pictures of 32 pixels."""

    def write(folder: Path, seed: int = 0) -> Path:
        cfg = config.load("tiny", ["data.path=none", "model.networks.hidden_dim=32"])  # some particles are on
        torch.manual_seed(seed)
        weights = DLP(cfg.model).state_dict()
        checkpoint.save(folder / "checkpoints" / "best", weights, config.to_yaml(cfg))
        return folder

    return write


@pytest.fixture(scope="session")
def encoder_run(tmp_path_factory: pytest.TempPathFactory, write_encoder: Callable[..., Path]) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoders") / "encoder")


@pytest.fixture
def push(tmp_path: Path, encoder_run: Path) -> Callable[..., AgentConfig]:
    """`push("steps=40", kind="state")`: the one-object preset, far smaller, writing to tmp_path/agent."""
    small = [
        f"out={tmp_path / 'agent'}", "env.settings.time_limit=6", "env.settings.image_size=32", "env.n_envs=3",
        "warm_up.steps=60", "steps=120", "algorithm.batch_size=8", "algorithm.gradient_steps=1",
        "algorithm.buffer_size=300", "log_every=30", "eval_every=60", "eval_episodes=4", "save_every=60",
        "network.entity.dim=8", "network.entity.n_heads=2", "network.entity.hidden=[8]", "network.entity.head=[8]",
        "network.flat=[8]", "observation.normalizer_frames=32",
    ]  # fmt: skip

    def build(*overrides: str, kind: str = "particles", preset: str = "push1") -> AgentConfig:
        seen = [f"observation.kind={kind}"]
        seen += [f"observation.encoder={encoder_run}"] if kind == "particles" else []
        seen += ["network.kind=cnn", "env.settings.image_size=40"] if kind == "pixels" else []
        return agent_config.load(preset, [*small, *seen, *overrides])

    return build
