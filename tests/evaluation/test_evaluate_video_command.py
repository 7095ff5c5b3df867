"""`dlp-dyn evaluate` of video models: tables, JSON, curves, and bad input in one line."""

import json
import shutil

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from video_runs import write_actions, write_image_run, write_run

from benchmarks import curves as benchmark_curves
from dlp_dyn import cli
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.writer import dataset

CONTEXT, HORIZON = 4, 12


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "balls.h5"
    write_balls(path, (2, 2, 3), CONTEXT + HORIZON, image_size=32, n_balls=2, radius=4.0, speed=1.5)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def command(run, data, *more):
    return ["evaluate", str(run), "--data", str(data), "--context", str(CONTEXT), *more]


def read_strictly(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


class Spread(torch.nn.Module):
    """A network as `--fvd` wants one."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert return_features
        assert not rescale
        assert not resize
        return x.flatten(3).std(3).flatten(1)


def test_evaluate_through_the_command_line(run, data, tmp_path, capsys):
    network, plot = tmp_path / "net.pt", tmp_path / "x.png"
    torch.jit.script(Spread()).save(str(network))
    assert cli.main(command(run, data, "--json", "--fvd", str(network), "--plot", str(plot))) == 0
    told = read_strictly(capsys.readouterr().out)
    baselines = {"last frame", "constant velocity", "true constant velocity", "tracking"}
    assert set(told["overall"]) == {"model"} | baselines
    assert set(told["motion"]) == {"truth", "tracking", "model"}
    assert all(len(curve) == HORIZON for row in told["per_step"].values() for curve in row.values())
    assert all(len(curve) == HORIZON for row in told["motion_per_step"].values() for curve in row.values())
    assert told["overall"]["model"]["fvd"] > 0
    assert told["overall"]["last frame"]["fvd"] > 0
    assert iio.imread(plot).std() > 10

    (tmp_path / "a.json").write_text(json.dumps(told))
    words = [f"{label}={tmp_path / 'a.json'}" for label in ("graph", "transformer")]
    assert benchmark_curves.main([*words, "--out", str(tmp_path / "y.png")]) == 0
    assert iio.imread(tmp_path / "y.png").std() > 10
    assert benchmark_curves.main([f"a={plot}", "--out", str(tmp_path / "z.png")]) == 2
    assert "not what dlp-dyn evaluate --json prints" in capsys.readouterr().err


def test_tables_hold_every_method(run, data, capsys):
    assert cli.main(command(run, data, "--horizon", "2")) == 0
    out = capsys.readouterr().out
    for word in ("model", "last frame", "constant velocity", "tracking", "truth", "steps 2 to 2", "W1"):
        assert word in out


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--horizon", "0"], "horizon 0: give 1 frame or more"),
        (["--context", "0"], "context 0: give 1 frame or more"),
        (["--horizon", "13"], "the shortest episode has 16 frames, 4 are seen and 13 predicted"),
        (["--context", "16"], "the shortest episode has 16 frames, 16 are seen and 1 predicted"),
        (["--episodes", "0"], "episodes 0"),
        (["--device", "abacus"], "--device abacus: torch cannot use it here"),
        (["--fvd", "nowhere.pt"], "nowhere.pt: no such file; fvd wants"),
        (["--plot", "x.gif"], "x.gif: curves are drawn as .png"),
        (["--data", "nowhere.h5"], "nowhere.h5: no such file"),
    ],
)
def test_bad_input_is_one_line(run, data, capsys, more, match):
    assert cli.main(command(run, data, *more)) == 2
    error = capsys.readouterr().err
    assert match in error
    assert len(error.strip().splitlines()) == 1


def test_frames_of_another_size_and_positions_that_are_not_numbers(run, data, tmp_path, capsys):
    assert cli.main(command(run, write_actions(tmp_path / "small.h5", side=24))) == 2
    assert "frames of 24x24 pixels, the model sees 32x32" in capsys.readouterr().err
    broken = shutil.copy(data, tmp_path / "broken.h5")
    with h5py.File(broken, "r+") as file:
        dataset(file, "states/position")[-1, 0] = np.nan
    assert cli.main(command(run, broken)) == 2
    assert "states/position of episode 6 holds NaN: say in states/visible" in capsys.readouterr().err


def test_a_model_of_single_images_has_no_curves(data, tmp_path, capsys):
    run = write_image_run(tmp_path)
    for more in (["--plot", "x.png"], ["--fvd", "x.pt"]):
        assert cli.main(command(run, data, *more)) == 2
        assert f"{more[0]}: " in capsys.readouterr().err
