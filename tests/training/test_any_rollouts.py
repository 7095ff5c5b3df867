"""`train image`, then `train video`, on rollout files of any size, with no other setting than where the data lie."""

from pathlib import Path

import numpy as np
import pytest

from dlp_dyn import config
from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.training.loop import train

FEW = ["steps=2", "eval_every=2", "save_every=2", "sample_every=2", "eval_frames=2", "batch_size=2"]


def rollouts(path: Path, side: int, episodes: int, actions: bool) -> Path:
    """A square that walks across, and begins anew at the edge."""
    length = 60 if episodes == 1 else 24
    with RolloutWriter(path) as writer:
        for i in range(episodes):
            frames = np.full((length, side, side, 3), 60, np.uint8)
            for t, frame in enumerate(frames):
                x, y = (3 * (t + i)) % (side - 8), (5 * i + 2 * t) % (side - 8)
                frame[y : y + 8, x : x + 8] = (220, 180, 30)
            writer.append(Episode(frames, np.zeros((length, 2), np.float32) if actions else None))
    return path


@pytest.mark.parametrize(
    ("side", "episodes", "actions"),
    [
        (64, 1, True),
        pytest.param(48, 1, False, marks=pytest.mark.slow),
        pytest.param(96, 20, False, marks=pytest.mark.slow),
        pytest.param(48, 20, True, marks=pytest.mark.slow),
    ],
)
def test_any_rollout_file_gives_an_image_model_and_then_a_video_model(
    tmp_path: Path, side: int, episodes: int, actions: bool
) -> None:
    data = f"data.path={rollouts(tmp_path / 'x.h5', side, episodes, actions)}"
    image = train(config.load("image", [data, f"out={tmp_path / 'image'}", *FEW]))
    video = train(config.load("video", [data, f"image={image}", f"out={tmp_path / 'video'}", *FEW]))
    cfg = load_video_model(video).cfg
    assert cfg.image.image_size == side
    assert cfg.dynamics.action_dim == (2 * cfg.stride if actions else 0)
