"""Studios with random weights."""

from pathlib import Path

import pytest
import torch
from pages import Page, client
from video_runs import write_actions, write_image_run, write_run

from dlp_dyn.viewer.server import load_studio
from dlp_dyn.viewer.studio import Studio


@pytest.fixture(scope="session")
def video_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("video") / "run")


@pytest.fixture(scope="session")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return write_image_run(tmp_path_factory.mktemp("image") / "run")


@pytest.fixture(scope="session")
def action_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("actions") / "run", action_dim=2)


@pytest.fixture(scope="session")
def studio(video_run: Path, balls_file: Path) -> Studio:
    """Three episodes of 6 frames, 32x32, four particles; dynamics look back on 4 frames."""
    return load_studio(video_run, balls_file, "test")


@pytest.fixture(scope="session")
def image_studio(image_run: Path, balls_file: Path) -> Studio:
    return load_studio(image_run, balls_file, "test")


@pytest.fixture(scope="session")
def action_studio(action_run: Path) -> Studio:
    """Three episodes of 14 frames with actions."""
    return load_studio(action_run, write_actions(action_run.parent / "a.h5"), "test")


@pytest.fixture
def page(studio: Studio) -> Page:
    return Page(client(studio))
