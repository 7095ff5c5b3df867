"""Data that a config draws for itself."""

from pathlib import Path

import pytest

from dlp_dyn import config
from dlp_dyn.cli import main
from dlp_dyn.data import synthetic
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.synthetic import local_file
from dlp_dyn.viewer.run_data import data_of

TINY = ["device=cpu", "steps=2", "batch_size=2", "log_every=1", "eval_frames=2"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(synthetic, "_EPISODES", {"balls": (2, 1, 1), "shapes": (4, 1, 1)})


@pytest.mark.parametrize("name", ["balls", "shapes"])
def test_a_source_is_drawn_once(name: str, tmp_path: Path) -> None:
    file = local_file(name, 32, quiet=True)
    assert file.parent == tmp_path / "cache" / "dlp_dyn"
    assert Rollouts(file).image_size == (32, 32)
    assert len(Rollouts(file).part("test")) == 1
    written = file.stat().st_mtime_ns
    assert local_file(name, 32) == file
    assert file.stat().st_mtime_ns == written
    assert local_file(name, 64, quiet=True) != file


def test_a_file_comes_before_a_source_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("balls").write_bytes(b"")
    assert local_file("balls", 32) == Path("balls")
    assert local_file("else.h5", 32) == Path("else.h5")


def test_training_needs_no_data_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "tiny", f"out={run}", *TINY]) == 0
    assert config.read(run / "config.yaml").data.path == "balls"  # on another machine it is drawn again
    assert data_of(run) == local_file("balls", 32)
    assert main(["train", "--resume", str(run), "steps=3"]) == 0


def test_balls_grow_with_the_image() -> None:
    for side in (32, 64):
        size = Rollouts(local_file("balls", side, quiet=True)).column("states/size")
        assert size == pytest.approx(0.25)


def test_a_cache_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cache").write_text("")
    assert main(["train", "tiny", f"out={tmp_path / 'run'}", *TINY]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert error.count("\n") == 1
