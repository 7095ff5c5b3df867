"""`dlp-dyn predict`: files that it writes, and bad input in one line."""

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch.testing import assert_close
from video_runs import write_actions, write_gif, write_image_run, write_latent_run, write_run

from dlp_dyn import cli
from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter, dataset
from dlp_dyn.errors import InputError
from dlp_dyn.predict import predict as predict_scenes
from dlp_dyn.predict import read_video

CONTEXT = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "balls.h5"
    write_balls(path, (2, 2, 3), 14, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The run of a model that follows goals and texts of at most 3 tokens of width 6."""
    return write_latent_run(tmp_path_factory.mktemp("told"), goal=True, language_dim=6, language_length=3)


@pytest.fixture
def fails(capsys):
    """The single line that a command ends with."""

    def run(command):
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1
        return error

    return run


def predict_command(run, data, out, *more):
    return ["predict", str(run), "--data", str(data), "--out", str(out), "--context", str(CONTEXT), *more]


def predict(run, data, out, *more):
    return cli.main(predict_command(run, data, out, *more))


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("more", [[], ["--samples", "2"]])
def test_predict_writes_a_video(run, data, tmp_path, suffix, more):
    out = tmp_path / f"x{suffix}"
    assert predict(run, data, out, "--horizon", "3", "--episodes", "2", *more) == 0
    frames = iio.imread(out)
    assert len(frames) == CONTEXT + 3
    assert frames.shape[2] > frames.shape[1]


def test_the_horizon_may_go_past_the_episode(run, data, tmp_path):
    assert predict(run, data, tmp_path / "x.mp4", "--horizon", "15", "--episodes", "1") == 0
    assert len(iio.imread(tmp_path / "x.mp4")) == CONTEXT + 15


def test_predict_from_a_video_file(run, data, tmp_path):
    frames = Rollouts(data).episode(0).frames
    video = tmp_path / "in.mp4"
    iio.imwrite(video, frames, fps=10, macro_block_size=1)
    assert predict(run, video, tmp_path / "x.mp4", "--horizon", "2") == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["--horizon", "0"], "horizon 0"),
        (["--context", "0"], "context 0"),
        (["--context", "40"], "the longest episode of the test part has 14 frames, 40 are needed"),
        (["--samples", "-1"], "samples -1"),
        (["--episodes", "0"], "episodes 0"),
        (["--device", "abacus"], "--device abacus: torch cannot use it here"),
        (["--out", "x.png"], "cannot write '.png'"),
        (["--data", "{side}"], "frames of 24x24 pixels, the model sees 32x32"),
        (["--data", "{side_h5}"], "frames of 24x24 pixels, the model sees 32x32"),
        (["--data", "{alpha}"], "not opaque"),
        (["--data", "{broken}"], "not an image, or damaged"),
        (["--data", "{short}"], "6 frames, context 10"),
        (["--data", "{floats}"], "frames of float32, expected uint8"),
        (["--data", "nowhere.mp4"], "no such file"),
        (["--data", "nowhere.h5"], "no such file"),
    ],
)
def test_bad_input_is_one_line(run, data, tmp_path, fails, change, match):
    (tmp_path / "broken.gif").write_bytes(b"GIF89a no")
    files = {
        "side": write_gif(tmp_path / "side.gif", side=24),
        "side_h5": write_actions(tmp_path / "side.h5", side=24),
        "alpha": write_gif(tmp_path / "alpha.webp", alpha=True),
        "broken": tmp_path / "broken.gif",
        "short": write_gif(tmp_path / "short.gif"),
        "floats": write_floats(tmp_path / "floats.h5"),
    }
    more = ["--context", "10"] if "{short}" in change else []
    command = predict_command(run, data, tmp_path / "x.gif", *more, *(w.format(**files) for w in change))
    assert match in fails(command)


def write_steering(folder):
    """A goal, texts and a video, by name."""
    rng = np.random.default_rng(0)
    files = {name: folder / f"{name}.npy" for name in ("text", "other", "long", "flat")}
    for path, shape in zip(files.values(), ((3, 6), (3, 6), (4, 6), (6,)), strict=True):
        np.save(path, rng.normal(size=shape).astype(np.float32))
    files["goal"] = folder / "goal.png"
    iio.imwrite(files["goal"], rng.integers(0, 255, (32, 32, 3), np.uint8))
    return files | {"video": write_gif(folder / "replayed.gif")}


def test_a_goal_and_a_text_steer_a_prediction(told, data, tmp_path):
    files = write_steering(tmp_path)
    found = [
        predict_scenes(told, data, tmp_path / "x.gif", 2, 3, goal=files["goal"], text=files[text])
        for text in ("text", "text", "other")
    ]
    one, again, other = (scene.particles.position for scene in found)
    assert_close(one, again)
    assert_close(one[:, :2], other[:, :2])
    assert not np.allclose(one[:, 2:], other[:, 2:])


def test_a_video_is_replayed(data, tmp_path):
    run, files = write_latent_run(tmp_path / "run"), write_steering(tmp_path)
    assert predict(run, data, tmp_path / "x.gif", "--horizon", "2", "--replay", str(files["video"])) == 0


def test_what_happened_to_tracked_particles_happens_to_those_that_look_like_them(data, tmp_path):
    run, files = write_run(tmp_path / "run", family="latent_graph"), write_steering(tmp_path)
    assert predict(run, data, tmp_path / "x.gif", "--horizon", "2", "--replay", str(files["video"])) == 0
    assert predict(run, data, tmp_path / "y.gif", "--horizon", "2", "--samples", "2") == 0


def test_tracked_particles_of_a_model_with_actions_are_replayed_too(tmp_path):
    """What moved them is told from the video, whose actions nobody knows."""
    run, files = write_run(tmp_path / "run", action_dim=2, family="latent_graph"), write_steering(tmp_path)
    command = predict_command(run, write_actions(tmp_path / "x.h5"), tmp_path / "x.gif", "--horizon", "2")
    assert cli.main([*command, "--replay", str(files["video"])]) == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ([], "trained with goals, and there is none"),
        (["--goal", "{goal}"], "trained with texts, and there is none"),
        (["--goal", "{goal}", "--text", "{long}"], "4 tokens of width 6, the model takes 3"),
        (["--goal", "{goal}", "--text", "{flat}"], "of shape (6,)"),
        (["--goal", "{goal}", "--text", "{goal}"], "no npy file"),
        (["--goal", "nowhere.png"], "no such file"),
    ],
)
def test_steering_that_does_not_fit_is_one_line(told, data, tmp_path, fails, change, match):
    words = (word.format(**write_steering(tmp_path)) for word in change)
    assert match in fails(predict_command(told, data, tmp_path / "x.gif", *words))


@pytest.mark.parametrize(("flag", "file"), [("--goal", "goal"), ("--text", "text"), ("--replay", "video")])
def test_other_dynamics_refuse_to_be_steered(run, data, tmp_path, fails, flag, file):
    error = fails(predict_command(run, data, tmp_path / "x.gif", flag, str(write_steering(tmp_path)[file])))
    assert "latent_actions" in error


def write_floats(path):
    """A rollout file that somebody made by hand, with NaN."""
    write_actions(path)
    with h5py.File(path, "r+") as file:
        frames = dataset(file, "frames")[:].astype(np.float32) / 255
        frames[3, 0] = np.nan
        del file["frames"]
        file["frames"] = frames
    return path


def test_frames_that_are_not_numbers_do_not_become_a_rollout_file(tmp_path, capsys):
    frames = np.zeros((6, 32, 32, 3), np.float32)
    frames[2, 0, 0] = np.nan
    np.save(tmp_path / "nan.npy", frames)
    assert cli.main(["import", str(tmp_path / "nan.npy"), "--out", str(tmp_path / "x.h5")]) == 2
    understood, line = capsys.readouterr().err.strip().splitlines()
    assert "1 episodes of arrays" in understood
    assert "NaN" in line
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("file", "match"),
    [
        ("balls", "no actions in it, the model was trained with actions of width 2"),
        ("wide", "actions of width 3 between frames (stride 1), the model was trained with width 2"),
        ("broken", "the actions of episode 2 hold NaN"),
        ("short", "5 frames"),
    ],
)
def test_actions_that_do_not_fit(data, tmp_path, fails, verb, file, match):
    run = write_run(tmp_path / "run", action_dim=2)
    files = {
        "balls": data,
        "wide": write_actions(tmp_path / "wide.h5", width=3),
        "broken": write_actions(tmp_path / "broken.h5", broken=True),
        "short": write_actions(tmp_path / "short.h5", length=5),
    }
    command = [verb, str(run), "--data", str(files[file]), "--context", str(CONTEXT), "--horizon", "3"]
    assert match in fails(command if verb == "evaluate" else [*command, "--out", str(tmp_path / "x.gif")])


def test_views_that_are_missing(data, tmp_path, fails):
    """Two episodes are no two views of a scene."""
    run, out, gif = (
        write_latent_run(tmp_path / "run", views=2),
        tmp_path / "y.gif",
        write_gif(tmp_path / "x.gif"),
    )
    for command in (
        predict_command(run, data, out, "--episodes", "2"),
        predict_command(run, gif, out),
        ["evaluate", str(run), "--data", str(data), "--context", str(CONTEXT)],
        ["view", str(run), "--data", str(gif), "--port", "0"],
    ):
        assert "one view of each scene is read from it, the model sees 2 together" in fails(command)


def test_clips_that_are_not_all_views_of_a_scene(tmp_path):
    model = load_video_model(write_latent_run(tmp_path, views=2))
    assert model.predict(torch.rand(4, 2, 3, 32, 32), 1).background.shape[:2] == (4, 3)
    with pytest.raises(InputError, match="3 clips, the model sees 2 views of each scene together"):
        model.predict(torch.rand(3, 2, 3, 32, 32), 1)


def test_a_video_has_no_actions(tmp_path, fails):
    run = write_run(tmp_path / "run", action_dim=2)
    command = predict_command(run, write_gif(tmp_path / "x.gif"), tmp_path / "y.gif")
    assert "a video has none" in fails(command)


def test_a_run_without_dynamics(data, tmp_path, fails):
    run = write_image_run(tmp_path)
    assert "has no dynamics" in fails(predict_command(run, data, tmp_path / "x.gif"))


def test_every_second_frame_for_a_model_that_was_trained_on_those(data, tmp_path):
    """A prediction of a stride-2 model is that of the same model on a video with every second frame."""
    run, slow = write_run(tmp_path / "run"), write_run(tmp_path / "slow", stride=2)
    frames = Rollouts(data).episode(int(Rollouts(data).part("test")[0])).frames
    with RolloutWriter(tmp_path / "half.h5") as writer:
        writer.append(Episode(frames[::2]), "test")
    a = predict_scenes(slow, data, tmp_path / "a.mp4", CONTEXT, 3, episodes=1)
    b = predict_scenes(run, tmp_path / "half.h5", tmp_path / "b.mp4", CONTEXT, 3, episodes=1)
    assert_close(list(a), list(b))


def test_read_video_gives_colours(tmp_path):
    assert read_video(write_gif(tmp_path / "x.gif")).shape == (6, 32, 32, 3)
