"""Soft-IntroVAE through the real `train`: every family, exact resume, what is told, what stops."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from dlp_dyn import checkpoint, cli, config
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.balls import write_balls
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.game import game_warnings
from dlp_dyn.generate import draw_mixed, draw_translated
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.tasks import soft_intro as tasks

Make = Callable[..., TrainConfig]
FAMILIES = {
    "soft_intro_2d": {"soft_intro.densities.hidden_dim": 16, "soft_intro.game.warm_up_steps": 2},
    "soft_intro_images": {
        "soft_intro.images.channels": "[8, 8]",
        "soft_intro.images.latent_dim": 4,
        "soft_intro.game.warm_up_steps": 2,
    },
    "soft_intro_style": {
        "soft_intro.style.image_size": 8,
        "soft_intro.style.start_channels": 4,
        "soft_intro.style.latent_dim": 4,
        "soft_intro.style.grow_every": 2,
    },
    "soft_intro_translation": {
        "soft_intro.translation.channels": "[8, 8]",
        "soft_intro.translation.latent_dim": 4,
        "soft_intro.translation.class_dim": 2,
        "soft_intro.translation.frames": 2,
        "soft_intro.game.warm_up_steps": 2,
    },
    "soft_intro_clouds": {
        "soft_intro.point_clouds.n_points": 24,
        "soft_intro.point_clouds.encoder_channels": "[8]",
        "soft_intro.point_clouds.encoder_hidden": 8,
    },
}


@pytest.fixture(scope="session")
def balls8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "balls8.h5"
    write_balls(path, (4, 2, 2), 4, image_size=8, n_balls=1, radius=2.0, speed=0.5)
    return path


@pytest.fixture
def small(balls_file: Path, balls8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(tasks, "_N_POINTS", 500)
    monkeypatch.setattr(tasks, "_N_JUDGED", 200)
    monkeypatch.setattr(tasks, "_N_CLOUDS", (24, 8))

    def build(family: str, **overrides: object) -> TrainConfig:
        settings: dict[str, Any] = {
            "out": tmp_path / "run", "device": "cpu", "steps": 6, "batch_size": 4, "log_every": 1, "eval_every": 3,
            "eval_frames": 8, "save_every": 3, "sample_every": 6,
        }  # fmt: skip
        if family in ("soft_intro_images", "soft_intro_style", "soft_intro_translation"):
            settings["data.path"] = balls8 if family == "soft_intro_style" else balls_file
        settings |= FAMILIES[family] | {k.replace("__", "."): v for k, v in overrides.items()}
        return config.load(family, [f"{name}={value}" for name, value in settings.items()])

    return build


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_and_goes_on_to_the_bit(family: str, small: Make, tmp_path: Path) -> None:
    whole = train(small(family, out=tmp_path / "whole"))
    half = train(small(family, out=tmp_path / "half", steps=3, optimizer__schedule="constant"))
    torch.rand(3)  # whatever else the process does
    resume(half, ["steps=6"])
    constant = train(small(family, out=tmp_path / "constant", optimizer__schedule="constant"))
    a, b = (checkpoint.load_weights(run / "checkpoints" / "last") for run in (constant, half))
    assert all(torch.equal(a[name], b[name]) for name in a)

    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[-1]["validation/kl_real"] > 0
    assert (whole / "samples" / "step_0000006.png").stat().st_size > 1000
    model = families.load(whole)
    assert model.sample(2).shape[0] == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_drawn_by_the_command(family: str, small: Make, tmp_path: Path) -> None:
    run, out = train(small(family, steps=1)), tmp_path / "samples.png"
    assert cli.main(["generate", str(run), "--out", str(out), "--n", "8", "--seed", "3"]) == 0
    picture = iio.imread(out)
    assert picture.std() > 0
    assert cli.main(["generate", str(run), "--out", str(out), "--n", "8", "--seed", "4"]) == 0
    assert not np.array_equal(picture, iio.imread(out))
    assert cli.main(["generate", str(run), "--out", str(tmp_path / "x.mp4")]) == 2


def test_commands_evaluate_and_draw_ways_between_frames(
    small: Make, balls_file: Path, balls8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(train(small("soft_intro_images", steps=1))), tmp_path / "between.png"
    data = ["--data", str(balls_file), "--part", "train"]
    capsys.readouterr()
    assert cli.main(["evaluate", run, *data, "--strangers", str(balls_file), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["overall"]
    assert figures["novelty_auroc"] == 0.5  # the same pictures
    assert figures["novelty_99"] > figures["novelty"]
    assert cli.main(["generate", run, "--between", str(balls_file), "--out", str(out), "--n", "2"]) == 0
    assert iio.imread(out).std() > 0
    for words in (
        ["evaluate", run, "--data", str(balls8)],
        ["evaluate", run, *data, "--lpips"],
        ["generate", run, "--between", str(balls_file), "--out", str(out), "--n", "9999"],
        ["generate", run, "--between", str(balls_file), "--out", str(tmp_path / "x.mp4")],
        ["evaluate", str(train(small("soft_intro_2d", steps=1, out=tmp_path / "2d"))), *data],
    ):
        capsys.readouterr()
        assert cli.main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_preset_of_images_plays_when_it_is_warm(small: Make) -> None:
    preset = config.load("soft_intro_images")
    assert preset.soft_intro is not None
    assert 0 < preset.soft_intro.game.warm_up_steps < preset.steps / 2
    run = train(small("soft_intro_images"))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    played = {row["step"]: row["train/loss/exp_sample"] > 0 for row in rows if "train/lr" in row}
    assert played == {1: False, 2: False, 3: True, 4: True, 5: True, 6: True}


def test_a_command_draws_contents_in_other_classes(
    small: Make, balls_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(train(small("soft_intro_translation", steps=3))), tmp_path / "translated.png"
    drawn = draw_translated(run, balls_file, out, n=2)
    assert drawn.shape[:2] == (2, 2)
    assert (drawn[0] != drawn[1]).any()
    assert cli.main(["generate", run, "--translate", str(balls_file), "--out", str(out), "--n", "2"]) == 0
    assert iio.imread(out).std() > 0
    other = str(train(small("soft_intro_images", steps=1, out=tmp_path / "images")))
    capsys.readouterr()
    assert cli.main(["generate", other, "--translate", str(balls_file), "--out", str(out)]) == 2
    assert "no codes of content and class" in capsys.readouterr().err


def test_a_command_draws_frames_with_the_finer_styles_of_others(
    small: Make, balls8: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = (
        str(train(small("soft_intro_style", steps=4))),
        tmp_path / "mixed.png",
    )  # the second side is faded in
    half, late = (draw_mixed(run, balls8, out, first, n=2) for first in (None, 3))
    assert half.shape == (2, 2, 3, 8, 8)
    changed = [(drawn[0] - drawn[1]).abs().mean() for drawn in (half, late)]
    assert changed[0] > changed[1] > 0  # by the other frame: two styles of four, one of four
    told = {
        "give 1 to 3": ["generate", run, "--mix", str(balls8), "--out", str(out), "--n", "2", "--first", "4"],
        "does not draw by styles": [
            "generate", str(train(small("soft_intro_images", steps=1, out=tmp_path / "images"))),
            "--mix", str(balls8), "--out", str(out),
        ],
    }  # fmt: skip
    assert cli.main(["generate", run, "--mix", str(balls8), "--out", str(out), "--n", "2"]) == 0
    assert iio.imread(out).std() > 0
    for message, words in told.items():
        capsys.readouterr()
        assert cli.main(words) == 2
        assert message in capsys.readouterr().err


def test_a_style_model_grows_while_it_trains(small: Make) -> None:
    sides = {1: 4, 3: 8}
    for steps, side in sides.items():
        run = train(small("soft_intro_style", steps=steps, out=f"{small('soft_intro_style').out}{steps}"))
        model = families.load(run)  # knows how far it has grown
        assert model.sample(2).shape == (2, 3, side, side)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_trains(family: str, small: Make) -> None:
    run = train(small(family, steps=3, precision="bf16"))
    assert all(x.isfinite().all() for x in checkpoint.load_weights(run / "checkpoints" / "last").values())


def test_the_rule_of_repulsion_is_told(small: Make, capsys: pytest.CaptureFixture[str]) -> None:
    train(small("soft_intro_2d", steps=1))
    told = capsys.readouterr()
    k = math.log(0.9 / 0.6) / (2 * 0.5 * 0.9)
    assert f"fakes are repelled up to a KL of about {k:.3g} nats (negative=0.9)" in told.err + told.out


def test_a_weak_game_is_told(small: Make, capsys: pytest.CaptureFixture[str]) -> None:
    train(small("soft_intro_2d", steps=1, soft_intro__game__negative=0.5))
    told = capsys.readouterr()
    assert "raise it above 0.6" in told.err + told.out


def test_latents_that_say_nothing_are_told(small: Make, capsys: pytest.CaptureFixture[str]) -> None:
    train(small("soft_intro_2d", steps=1, soft_intro__densities__hidden_dim=64))  # as at random weights
    told = capsys.readouterr()
    assert "latents say nothing; lower soft_intro.game.kl" in told.err + told.out


def test_a_nan_stops_the_run(small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    error = IntroVAE.error
    calls = 0

    def broken(self: IntroVAE, x: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return error(self, x, drawn) * (float("nan") if calls > 1 else 1.0)

    monkeypatch.setattr(IntroVAE, "error", broken)
    with pytest.raises(InputError, match=r"training broke at step 1: decoder_reconstruction is nan"):
        train(small("soft_intro_2d"))


def figures(**changes: float) -> dict[str, float]:
    return {"kl_real": 10.0, "kl_reconstruction": 12.0, "kl_sample": 15.0, "repulsion": 0.01} | changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"kl_real": 0.01}, "latents say nothing"),
        ({"kl_sample": 500.0, "repulsion": 1e-9}, "has run away"),
        ({"kl_sample": 50.0, "repulsion": 1e-9}, "not repelled any more"),
    ],
)
def test_what_is_wrong_with_a_game(changes: dict[str, float], told: str | None) -> None:
    lines = game_warnings(figures(**changes), plays=True)
    if told is None:
        assert lines == []
    else:
        assert [told in line for line in lines] == [True]
    if "repulsion" in changes:  # nothing is repelled in a warm-up
        assert game_warnings(figures(**changes), plays=False) == []


def test_falling_behind_is_told_when_it_lasts() -> None:
    task = tasks.GameTask(torch.zeros(1))
    task._plays = True
    behind = figures(kl_sample=5.0)
    assert [len(task.warnings(behind)) for _ in range(3)] == [0, 0, 1]
    assert task.warnings(figures()) == []
    task._plays = False  # a warm-up
    assert [len(task.warnings(behind)) for _ in range(4)] == [0, 0, 0, 0]


def test_clouds_from_files(small: Make, tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        np.save(folder / f"{i}.npy", rng.normal(size=(30, 3)))
    run = train(small("soft_intro_clouds", data__path=folder, steps=2, batch_size=2))
    assert (run / "checkpoints" / "last").is_dir()
    with pytest.raises(InputError, match="no such folder"):
        train(small("soft_intro_clouds", data__path=tmp_path / "nowhere", out=tmp_path / "other"))


def test_sets_of_points_have_names(small: Make) -> None:
    with pytest.raises(InputError, match=r"no set of points 'circles'; there are 8gaussians"):
        train(small("soft_intro_2d", data__path="circles"))
