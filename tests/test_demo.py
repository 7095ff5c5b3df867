"""`dlp-dyn demo` as a user meets it: with what is bundled, with a run, and where something is missing."""

import sys
from pathlib import Path

import gymnasium as gym
import h5py
import imageio.v3 as iio
import numpy as np
import pytest
from video_runs import write_actions, write_image_run, write_run

from dlp_dyn import checkpoint
from dlp_dyn.bundled import BALLS, MODELS
from dlp_dyn.cli import main
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.excerpt import excerpt
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import dataset
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.video import evaluate_video
from dlp_dyn.viewer.run_data import CLIPS, data_of

GREEN, RED = (80, 200, 120), (235, 90, 70)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("demo") / "run")


def rim(frame: np.ndarray) -> str:
    """Which colour the frame of the prediction has."""
    far = {name: np.abs(frame.astype(int) - c).sum(-1) for name, c in (("green", GREEN), ("red", RED))}
    return min(far, key=lambda name: -int((far[name] < 60).sum()))


def test_the_bundled_model_predicts_its_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--horizon", "12", "--episodes", "2"]) == 0
    shown = capsys.readouterr().out
    for word in ("model", "constant velocity", "step 10", "med_10", "psnr", "objects", "predicted.gif"):
        assert word in shown
    for command in ("dlp-dyn view", "dlp-dyn train balls", "dlp-dyn import"):
        assert command in shown
    frames = iio.imread(tmp_path / "predicted.gif")
    assert len(frames) == 22
    assert [rim(frame) for frame in frames] == ["green"] * 10 + ["red"] * 12


def test_the_bundled_model_is_as_good_as_its_run_was() -> None:
    report = evaluate_video(BALLS, BALLS / CLIPS, context=10, horizon=10)
    assert report.overall["model"]["med_10"] < 0.2  # 0.139; of all 50 test clips 0.149
    assert report.overall["model"]["med_10"] < report.overall["true constant velocity"]["med_10"] / 5
    assert report.overall["tracking"]["error"] < 0.005
    assert report.motion["model"]["objects"] == pytest.approx(3, abs=0.1)


def test_the_list_names_every_model_that_comes_along(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--list"]) == 0
    shown = capsys.readouterr().out
    for name, model in MODELS.items():
        assert name in shown
        assert model.about in shown


@pytest.mark.parametrize(("name", "worst"), [("push", 0.15), ("pusht", 0.4)])  # 0.091 and 0.238 of all clips
def test_models_with_actions_follow_them(
    name: str, worst: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.gif"
    words = ["--horizon", "10", "--episodes", "2", "--out", str(out)]
    assert main(["demo", name, *words]) == 0
    assert f"dlp-dyn view {name}" in capsys.readouterr().out
    assert len(iio.imread(out)) == 20
    report = evaluate_video(name, MODELS[name].folder / CLIPS, context=10, horizon=10, max_episodes=4)
    assert report.overall["model"]["med_10"] < worst
    assert report.overall["shuffled actions"]["med_10"] > 0.8


def test_push_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.gif"
    assert main(["demo", "plan", "--episodes", "1", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert [shown.count(word) for word in ("random", "straight", "planned", "1 of 1")] == [1, 1, 1, 1]
    assert out.is_file()


def test_without_the_environment_plan_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "envs", None)
    gone = [spec for spec in gym.registry if spec.startswith("envs")] + ["Push-v0"]
    for spec in gone:
        monkeypatch.delitem(gym.registry, spec, raising=False)
    assert main(["demo", "plan"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run it in a clone, after pip install -e '.[envs]'" in error
    assert main(["demo", "plan", "--episodes", "0"]) == 2


def test_the_viewer_opens_the_bundled_model_with_its_clips() -> None:
    pytest.importorskip("uvicorn", reason="the viewer's extra is not installed")
    from dlp_dyn.viewer.server import load_studio

    studio = load_studio(BALLS, None, "test")
    assert studio.title == "balls"
    assert list(studio.source.lengths) == [60] * 8


def test_any_run_with_its_data(
    run: Path, balls_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.webp"
    settings = ["--context", "3", "--horizon", "3"]
    assert main(["demo", str(run), "--data", str(balls_file), "--out", str(out), *settings]) == 0
    assert out.is_file()
    assert f"dlp-dyn view {run}" in capsys.readouterr().out


def test_a_run_with_actions(tmp_path: Path) -> None:
    data = write_actions(tmp_path / "actions.h5")
    run = write_run(tmp_path / "run", action_dim=2)
    out = ["--out", str(tmp_path / "x.gif"), "--context", "4", "--horizon", "3"]
    assert main(["demo", str(run), "--data", str(data), *out]) == 0


def test_clips_beside_the_weights_come_before_the_training_data(run: Path, balls_file: Path) -> None:
    with pytest.raises(InputError, match="trained on x, which is not there; give a file of data"):
        data_of(run)
    clips = checkpoint.resolve(run) / CLIPS
    excerpt(balls_file, clips, episodes=2, length=5)
    assert data_of(run) == clips
    clips.unlink()


def test_an_excerpt_is_compressed_and_holds_the_same(balls_file: Path, tmp_path: Path) -> None:
    excerpt(balls_file, tmp_path / "few.h5", episodes=2, length=5)
    few, whole = Rollouts(tmp_path / "few.h5"), Rollouts(balls_file)
    assert few.part("test").tolist() == [0, 1]
    for i, j in enumerate(whole.part("test")[:2]):
        a, b = few.episode(i), whole.read(int(whole.episode_starts[j]), 5)
        np.testing.assert_array_equal(a.frames, b.frames)
        assert a.states is not None
        assert b.states is not None
        np.testing.assert_array_equal(a.states["position"], b.states["position"])
    with h5py.File(tmp_path / "few.h5") as file:
        assert dataset(file, "frames").compression == "gzip"
    with pytest.raises(InputError, match="no episode of 99 frames in the test part"):
        excerpt(balls_file, tmp_path / "none.h5", length=99)


def test_bad_input_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    larger = tmp_path / "larger.h5"
    write_balls(larger, (1, 1, 2), 8, image_size=48, n_balls=1, radius=5.0)
    image_run = write_image_run(tmp_path / "image")
    out = ["--out", str(tmp_path / "x.gif")]
    for arguments, words in (
        ([str(tmp_path / "gone")], "gone: no such run folder or checkpoint"),
        ([str(image_run), "--data", str(larger)], "it has no dynamics; train some on it"),
        ([str(run)], "trained on x, which is not there; give a file of data"),
        ([str(run), "--data", str(tmp_path / "gone.h5")], "gone.h5: no such file"),
        ([str(run), "--data", str(larger)], "48"),
        (["--data", str(larger)], "48"),
        (["--horizon", "100"], "lower context or horizon"),
        (["--context", "0"], "context 0: give 1 frame or more"),
        (["--episodes", "0"], "episodes 0: give 1 or more"),
    ):
        assert main(["demo", *arguments, *out]) == 2, arguments
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1, error
    assert main(["demo", "--out", str(tmp_path / "x.txt")]) == 2
    assert "cannot write '.txt'" in capsys.readouterr().err
    assert not (tmp_path / "x.gif").exists()
