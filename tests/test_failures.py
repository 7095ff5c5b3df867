"""Bad input: one line that names the culprit and the remedy, exit code 2, and what was there before stays."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors.torch import save_file

from dlp_dyn import checkpoint
from dlp_dyn.cli import main
from dlp_dyn.config import TrainConfig
from dlp_dyn.sharing.weights import FORMAT
from dlp_dyn.training.loop import train

Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """`fails("train", ...)` is the single line that the command ends with."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        errors = [line for line in lines if line.startswith("dlp-dyn: error: ")]
        assert len(errors) == 1
        assert lines[-1] == errors[0]
        assert "Traceback" not in captured.err
        return errors[0]

    return run


def test_rollout_file_missing_truncated_or_something_else(
    fails: Fails, balls_file: Path, tmp_path: Path
) -> None:
    out = f"out={tmp_path / 'run'}"
    gone = tmp_path / "gone.h5"
    assert f"{gone}: no such file" in fails("train", "tiny", f"data.path={gone}", out)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(balls_file.read_bytes()[:20_000])
    assert f"{cut}: truncated or damaged" in fails("train", "tiny", f"data.path={cut}", out)
    text = tmp_path / "text.h5"
    text.write_text("hello")
    assert f"{text}: not a rollout file" in fails("train", "tiny", f"data.path={text}", out)
    assert not (tmp_path / "run").exists()


def test_frames_of_mixed_sizes(fails: Fails, tmp_path: Path) -> None:
    import imageio.v3 as iio
    import numpy as np

    folder = tmp_path / "episode"
    folder.mkdir()
    iio.imwrite(folder / "0.png", np.zeros((20, 20, 3), np.uint8))
    iio.imwrite(folder / "1.png", np.zeros((20, 24, 3), np.uint8))
    out = tmp_path / "out.h5"
    line = fails("import", folder, "--out", out)
    assert str(folder / "1.png") in line
    assert "give an image size" in line
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("setting", "needles"),
    [
        ("model.n_particels=3", ["unknown key 'model.n_particels'", "did you mean 'n_particles'"]),
        ("steps=many", ["steps", "'many'", "a whole number"]),
        ("model.patch_size=5", ["image_size=32", "patch_size=5"]),
        ("model.n_particles=99", ["n_particles=99", "16 proposals"]),
        ("model.image_size=64", ["frames of 32x32 pixels", "64x64", "at 64 pixels"]),
        ("weights.kl_colour=1", ["kl_colour", "did you mean"]),
        ("data.clip_length=100", ["clip_length"]),
        ("batch_size=0", ["batch_size is 0"]),
    ],
)
def test_settings_that_do_not_fit(
    fails: Fails, balls_file: Path, tmp_path: Path, setting: str, needles: list[str]
) -> None:
    line = fails("train", "tiny", f"data.path={balls_file}", f"out={tmp_path / 'run'}", "device=cpu", setting)
    for needle in needles:
        assert needle in line
    assert not (tmp_path / "run").exists()


def test_commands_that_miss_something(fails: Fails, tmp_path: Path) -> None:
    assert "no config named 'bals' (did you mean 'balls'?)" in fails("train", "bals", "data.path=x")
    assert "data.path is missing" in fails("train", "pusht")
    assert "one CONFIG" in fails("train", "steps=3")
    assert "no run folder" in fails("train", "--resume", tmp_path)
    assert "leave 'tiny' out" in fails("train", "tiny", "--resume", tmp_path)
    assert "holds no checkpoint" in fails("evaluate", tmp_path, "--data", "x.h5")
    assert "no such file" in fails(
        "convert", tmp_path / "a.pth", "--hparams", "b.json", "--out", tmp_path / "run"
    )
    assert "--set" in fails("collect", "balls", "--out", tmp_path / "b.h5", "--set", "colour=red")
    assert "--episodes" in fails("collect", "balls", "--out", tmp_path / "b.h5", "--episodes", "many")
    assert "--crop" in fails("import", tmp_path, "--out", tmp_path / "b.h5", "--crop", "1,2")
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_is_taken_stays_as_it_is(fails: Fails, tiny: Callable[..., TrainConfig]) -> None:
    cfg = tiny(steps=1)
    run = train(cfg)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    line = fails("train", "tiny", f"data.path={cfg.data.path}", f"out={run}")
    assert f"{run}: exists already; resume it, or choose another run folder" in line
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_rollout_file_that_exists_is_kept(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    assert "exists already" in fails("collect", "balls", "--out", tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_text() == "mine"


def test_a_checkpoint_of_another_version(
    fails: Fails, tiny: Callable[..., TrainConfig], balls_file: Path
) -> None:
    run = train(tiny(steps=1))
    for name in ("best", "last"):
        folder = run / "checkpoints" / name
        weights = checkpoint.load_weights(folder)
        save_file(weights, folder / checkpoint.WEIGHTS, {"format": FORMAT, "version": "7"})
    needle = "checkpoint format 7, this dlp_dyn reads 1 and 2"
    assert needle in fails("evaluate", run, "--data", balls_file)
    assert needle in fails("train", "--resume", run, "steps=2")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond this fail as on a full disk: with an OSError from the operating system."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_checkpoint_before(fails: Fails, tiny: Callable[..., TrainConfig]) -> None:
    run = train(tiny(steps=2))
    last = run / "checkpoints" / "last"
    before = checkpoint.content_hash(last)
    with largest_file((last / "model.safetensors").stat().st_size // 2):
        line = fails("train", "--resume", run, "steps=4")
    assert "checkpoints/best.part/model.safetensors: cannot be written" in line or "last.part" in line
    assert "make room" in line
    assert checkpoint.content_hash(last) == before
    assert sorted(p.name for p in last.parent.iterdir()) == ["best", "last"]
    assert main(["train", "--resume", str(run), "steps=4"]) == 0
    assert checkpoint.load_training_state(last)["step"] == 4


def test_a_full_disk_while_metrics_are_written(fails: Fails, tiny: Callable[..., TrainConfig]) -> None:
    run = train(tiny(steps=2))
    size = (run / "metrics.jsonl").stat().st_size
    with largest_file(max(size, 6000)):
        line = fails("train", "--resume", run, "steps=200", "log_every=1", "save_every=200", "eval_every=200")
    assert "metrics.jsonl: cannot be written" in line
    assert checkpoint.load_training_state(run / "checkpoints" / "last")["step"] == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("length=abc", "--set: length is 'abc'; give a whole number"),
        ("n_balls=2.5", "--set: n_balls is 2.5; give a whole number"),
        ("speed=nan", "--set: speed is 'nan'; give a number"),
        ("mode=fast", "--set: mode is 'fast'; give one of"),
    ],
)
def test_wrong_kinds_of_settings_of_a_source_are_one_line(
    fails: Fails, tmp_path: Path, word: str, message: str
) -> None:
    line = fails("collect", "balls", "--episodes", "3", "--set", word, "--out", tmp_path / "x.h5")
    assert message in line
    assert not list(tmp_path.iterdir())
