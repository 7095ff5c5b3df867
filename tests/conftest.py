"""Shared by all tests: one thread, checked shapes, and a small rollout file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"

import jaxtyping
from jaxtyping import install_import_hook

# Shapes and types of every annotated signature are checked while tests run.
install_import_hook("dlp_dyn", "typecheck.check")

import hypothesis
import pytest
import torch

from dlp_dyn import config
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.balls import write_balls

hypothesis.settings.register_profile("busy", deadline=None)  # on a busy machine every example may be late
hypothesis.settings.load_profile("busy")


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training flushes them for the rest of its process, in which hypothesis then refuses to draw numbers."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without checks of shapes and types, for loops of hundreds of steps: they would take half of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between runs is not kept between tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def balls_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 episodes of 6 frames, 32x32, two balls, with ground truth."""
    path = tmp_path_factory.mktemp("data") / "balls32.h5"
    write_balls(path, (6, 3, 3), 6, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    return path


@pytest.fixture
def tiny(balls_file: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """`tiny(steps=3, ...)`: the tiny config, smaller still, writing to tmp_path/run."""

    def build(**overrides: object) -> TrainConfig:
        settings = {
            "data.path": balls_file, "out": tmp_path / "run", "device": "cpu", "steps": 6, "batch_size": 4,
            "log_every": 1, "eval_every": 3, "eval_frames": 4, "save_every": 3, "sample_every": 100,
        }  # fmt: skip
        settings |= {name.replace("__", "."): value for name, value in overrides.items()}
        return config.load("tiny", [f"{name}={value}" for name, value in settings.items()])

    return build
