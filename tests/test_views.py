"""A camera beside the first can be what a model is trained on, judged by and looked at with."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlp_dyn import checkpoint, config
from dlp_dyn.cli import main
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError
from dlp_dyn.training.loop import train

N, LENGTH = 6, 5


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares that move, in 32 x 48 pixels; the camera `wrist` sees them in 32 x 32, in other colours."""
    path, rng = tmp_path_factory.mktemp("cameras") / "two.h5", np.random.default_rng(0)
    with RolloutWriter(path, attributes={"camera": "top"}) as writer:
        for _ in range(N):
            frames = np.full((LENGTH, 32, 48, 3), 20, np.uint8)
            for t in range(LENGTH):
                x, y = rng.integers(0, 24, 2)
                frames[t, y : y + 8, x : x + 8] = (220, 60, 60)
            position = rng.uniform(-1, 1, (LENGTH, 1, 2))
            writer.append(
                Episode(frames, states={"position": position}, views={"wrist": 255 - frames[:, :, :32]})
            )
    return path


def test_a_store_is_seen_by_the_camera_that_is_named(two_cameras: Path) -> None:
    first, wrist = Rollouts(two_cameras), Rollouts(two_cameras, "wrist")
    rows = np.arange(3)
    np.testing.assert_array_equal(wrist.frames(rows), first.frames(rows, "wrist"))
    assert (wrist.image_size, wrist.view_names, wrist.state_names) == ((32, 32), (), ())
    assert first.fingerprint() != wrist.fingerprint()
    assert Rollouts(two_cameras, "top").fingerprint() == first.fingerprint()
    episode = wrist.episode(2)
    np.testing.assert_array_equal(episode.frames, first.episode(2).columns()["views/wrist"])
    assert episode.states is None
    assert episode.views is None
    np.testing.assert_array_equal(ClipDataset(wrist, clip_length=2)[0].frames, wrist.frames(rows[None, :2]))
    with pytest.raises(InputError, match="no view 'left'; there are top, wrist"):
        Rollouts(two_cameras, "left")


def test_a_run_keeps_to_its_camera(
    two_cameras: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames of the first one are too wide for the model: it would be refused."""
    settings = ["data.view=wrist", "steps=2", "eval_every=2", "eval_frames=4", "sample_every=100"]
    run = train(config.load("tiny", [f"data.path={two_cameras}", f"out={tmp_path / 'run'}", *settings]))
    assert checkpoint.view_of(run) == "wrist"
    assert main(["evaluate", str(run), "--data", str(two_cameras), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "recall" not in answer["overall"]  # the truth is that of the first camera
    assert main(["inspect", str(two_cameras), "--view", "wrist", "--json"]) == 0
    video = ["dynamics.kind=graph", "stage=dynamics", f"image={run}", "dynamics.window=2"]
    small = ["dynamics.rollout_steps=2", "steps=2", "eval_every=2", "sample_every=100"]
    followed = train(
        config.load("tiny", [f"data.path={two_cameras}", f"out={tmp_path / 'video'}", *video, *small])
    )
    assert checkpoint.view_of(followed) == "wrist"
    shown = tmp_path / "predicted.gif"
    asked = ["--context", "2", "--horizon", "2", "--episodes", "1", "--out", str(shown)]
    assert main(["predict", str(followed), "--data", str(two_cameras), *asked]) == 0
    assert shown.is_file()


def test_training_on_several_views_at_once_is_refused(two_cameras: Path, tmp_path: Path) -> None:
    several = ["model.encoder.grid=true", "model.encoder.views=2"]
    with pytest.raises(InputError, match="training reads one camera at a time"):
        train(config.load("tiny", [f"data.path={two_cameras}", f"out={tmp_path / 'run'}", *several]))
