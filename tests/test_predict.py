"""`dlp-dyn predict` and `evaluate` of video models: files, figures with a known answer, and bad input in one line."""

import json

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dlp_dyn import checkpoint, cli, losses
from dlp_dyn.config import DataConfig, TrainConfig, to_yaml
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.dynamics.config import DynamicsConfig, GraphConfig
from dlp_dyn.evaluate_video import judge
from dlp_dyn.image.config import DLPConfig, IdentityConfig, NetworkConfig
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.predict import read_video
from dlp_dyn.video import VideoConfig, VideoModel

NETWORKS = NetworkConfig(
    proposal_channels=[8, 16], glimpse_channels=[8, 16], background_channels=[8, 16], stem_channels=8,
    map_channels=8, hidden_dim=32,
)  # fmt: skip
IMAGE = DLPConfig(image_size=32, n_particles=4, networks=NETWORKS)
CONTEXT = 4


def write_run(folder, action_dim=0):
    """A run folder with random weights."""
    torch.manual_seed(0)
    dynamics = DynamicsConfig("graph", window=4, action_dim=action_dim, graph=GraphConfig(hidden_dim=16))
    cfg = TrainConfig(DataConfig("x"), model=IMAGE, identity=IdentityConfig("match"), dynamics=dynamics)
    model = VideoModel(VideoConfig(cfg.model, cfg.identity, cfg.dynamics))
    checkpoint.save(folder / "checkpoints" / "best", model.state_dict(), to_yaml(cfg))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "balls.h5"
    write_balls(path, (2, 2, 3), 14, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def predict(run, data, out, *more):
    args = ["predict", str(run), "--data", str(data), "--out", str(out), "--context", str(CONTEXT)]
    return cli.main([*args, *more])


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("more", [[], ["--samples", "2"]])
def test_predict_writes_a_video(run, data, tmp_path, suffix, more):
    out = tmp_path / f"x{suffix}"
    assert predict(run, data, out, "--horizon", "3", "--episodes", "2", *more) == 0
    frames = iio.imread(out)
    assert len(frames) == CONTEXT + 3
    assert frames.shape[2] > frames.shape[1]


def test_the_horizon_may_go_past_the_episode(run, data, tmp_path):
    assert predict(run, data, tmp_path / "x.gif", "--horizon", "15", "--episodes", "1") == 0
    assert len(iio.imread(tmp_path / "x.gif")) == CONTEXT + 15


def test_predict_from_a_video_file(run, data, tmp_path):
    frames = Rollouts(data).episode(0).frames
    video = tmp_path / "in.mp4"
    iio.imwrite(video, frames, fps=10, macro_block_size=1)
    assert predict(run, video, tmp_path / "x.gif", "--horizon", "2") == 0


def bad_gif(path, alpha=False, side=32):
    frames = np.random.default_rng(0).integers(0, 255, (6, side, side, 4 if alpha else 3), np.uint8)
    if alpha:
        frames[..., 3] = 0
    iio.imwrite(path, frames, duration=50, loop=0)
    return path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["--horizon", "0"], "--horizon 0"),
        (["--context", "0"], "--context 0"),
        (["--context", "40"], "the longest episode of the test part has 14 frames, 40 are needed"),
        (["--samples", "-1"], "--samples -1"),
        (["--out", "x.png"], "cannot write '.png'"),
        (["--data", "{side}"], "frames of 24x24 pixels, the model sees 32x32"),
        (["--data", "{alpha}"], "transparent"),
        (["--data", "{broken}"], "not readable as a video"),
        (["--data", "{short}"], "6 frames, --context 10"),
        (["--data", "nowhere.mp4"], "no such file"),
    ],
)
def test_bad_input_is_one_line(run, data, tmp_path, capsys, change, match):
    (tmp_path / "broken.gif").write_bytes(b"GIF89a no")
    files = {
        "side": bad_gif(tmp_path / "side.gif", side=24),
        "alpha": bad_gif(tmp_path / "alpha.webp", alpha=True),
        "broken": tmp_path / "broken.gif",
        "short": bad_gif(tmp_path / "short.gif"),
    }
    more = ["--context", "10"] if "{short}" in change else []
    assert predict(run, data, tmp_path / "x.gif", *more, *(word.format(**files) for word in change)) == 2
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1


def test_a_model_with_actions_wants_them(data, tmp_path, capsys):
    run = write_run(tmp_path / "run", action_dim=2)
    assert predict(run, data, tmp_path / "x.gif", "--horizon", "3") == 2
    assert "no actions in it" in capsys.readouterr().err


def test_a_run_without_dynamics(data, tmp_path, capsys):
    cfg = TrainConfig(DataConfig("x"), model=IMAGE)
    model = VideoModel(VideoConfig(IMAGE, dynamics=DynamicsConfig("graph")))
    checkpoint.save(tmp_path / "checkpoints" / "best", model.image.state_dict(), to_yaml(cfg))
    assert predict(tmp_path, data, tmp_path / "x.gif") == 2
    assert "has no dynamics" in capsys.readouterr().err


def test_evaluate_prints_figures_of_the_model_and_the_baselines(run, data, capsys):
    command = ["evaluate", str(run), "--data", str(data), "--context", str(CONTEXT)]
    assert cli.main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["overall"]) == {"model", "last frame", "constant velocity", "true constant velocity"}
    assert len(report["per_step"]["model"]["error"]) == 10
    assert cli.main([*command, "--horizon", "2"]) == 0
    assert "constant velocity" in capsys.readouterr().out
    assert cli.main([*command, "--horizon", "11"]) == 2
    assert "shortest episode" in capsys.readouterr().err


class Straight(VideoModel):
    """Sees the true particles, in another order, and lets them fly on straight."""

    truth: torch.Tensor

    def predict(self, video, horizon, actions=None, samples=0, generator=None):
        assert actions is None
        assert samples == 0
        assert generator is None
        n = video.shape[1]
        seen = self.truth[:, :n].flip(2)
        step = torch.arange(1, horizon + 1)[:, None, None]
        position = torch.cat([seen, seen[:, -1:] + step * (seen[:, -1:] - seen[:, -2:-1])], 1)
        on = torch.ones(*position.shape[:3], 1)
        particles = Particles(
            position, torch.zeros_like(position), on, on, on.expand(-1, -1, -1, IMAGE.feature_dim)
        )
        return Scene(particles, torch.zeros(*position.shape[:2], IMAGE.background_dim))


def test_errors_have_the_known_answer(data):
    rollouts = Rollouts(data)
    episodes = [rollouts.episode(int(i)) for i in rollouts.part("test")]
    model = Straight(VideoConfig(IMAGE, dynamics=DynamicsConfig("graph")))
    truth = np.stack([e.states["position"] for e in episodes if e.states is not None])
    model.truth = torch.from_numpy(truth).float()
    figures = judge(model, episodes, CONTEXT, {"psnr": losses.psnr})
    velocity = truth[:, CONTEXT - 1] - truth[:, CONTEXT - 2]
    straight = truth[:, CONTEXT - 1, None] + np.arange(1, 11)[:, None, None] * velocity[:, None]
    expected = np.linalg.norm(straight - truth[:, CONTEXT:], axis=-1).mean(-1) * (31 / 64)
    for method in ("model", "constant velocity", "true constant velocity"):
        assert_allclose(figures[method]["error"], expected, rtol=1e-3, atol=1e-5)
    still = np.linalg.norm(truth[:, CONTEXT - 1, None] - truth[:, CONTEXT:], axis=-1).mean(-1) * (31 / 64)
    assert_allclose(figures["last frame"]["error"], still, rtol=1e-3, atol=1e-5)


def test_read_video_gives_colours(tmp_path):
    assert read_video(bad_gif(tmp_path / "x.gif")).shape == (6, 32, 32, 3)
