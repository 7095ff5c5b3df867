"""Which runs of Soft-IntroVAE on the plane are compared, and how they are drawn."""

from pathlib import Path

import imageio.v3 as iio
import pytest

from benchmarks import densities
from benchmarks.densities import PUBLISHED, VARIANTS, experiments
from dlp_dyn.config import load
from dlp_dyn.plotting.pictures import GAP, HEADER
from dlp_dyn.training.tasks import soft_intro as tasks


def test_every_set_is_trained_in_all_variants_that_differ_in_the_game_alone() -> None:
    runs = {name: load("soft_intro_2d", settings) for name, settings in experiments()}
    assert len(runs) == (len(PUBLISHED) + 2) * len(VARIANTS)
    for name, cfg in runs.items():
        data, variant, seed = name.split("-")
        assert (cfg.data.path, cfg.seed) == (data, int(seed))
        assert cfg.soft_intro is not None
        plays = cfg.soft_intro.game.fakes != "none"
        assert plays == (variant != "plain")
        assert cfg.soft_intro.game.attached_target == (variant != "detached")
        if plays:
            assert (cfg.soft_intro.game.kl, cfg.soft_intro.game.negative) == PUBLISHED[data]
        first = runs["8gaussians-attached-0"].soft_intro
        assert first is not None
        assert cfg.soft_intro.densities == first.densities


def test_runs_are_drawn_beside_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "_N_POINTS", 500)
    monkeypatch.setattr(tasks, "_N_JUDGED", 200)
    monkeypatch.setattr(densities, "_N", 300)
    out, runs = tmp_path / "drawn.png", tmp_path / "runs"
    names = [f"{data}-{variant}-0" for data in ("checkerboard", "rings") for variant in ("attached", "plain")]
    settings = ["steps=8", "lr=0.02", "batch_size=16", "soft_intro.densities.hidden_dim=8", "device=cpu"]
    words = ["--train", str(runs), "--only", *names, "--set", *settings, "--draw", str(out)]
    assert densities.main(words) == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row for row in rows if "another draw" not in row] == names
    picture = iio.imread(out)
    side = 240
    assert picture.shape == (HEADER + 2 * (side + GAP), GAP + 5 * (side + GAP), 3)
    tiles = [
        picture[HEADER + i * (side + GAP) :, GAP + j * (side + GAP) :][:side, :side].tobytes()
        for i in range(2)
        for j in range(5)
    ]
    assert len(set(tiles)) == len(tiles)  # sets, data, samples and likelihoods, of game and plain VAE
