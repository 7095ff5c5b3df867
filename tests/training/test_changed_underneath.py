"""What changes under a run while it rests or trains: one line, and nothing of the run is lost."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dlp_dyn import checkpoint
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.balls import write_balls
from dlp_dyn.errors import InputError
from dlp_dyn.sharing.weights import FORMAT, VERSION
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.run_log import RunLog

Tiny = Callable[..., TrainConfig]


def test_other_data_is_refused_and_a_copy_is_not(tiny: Tiny, balls_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.h5"
    shutil.copy(balls_file, data)
    run = train(tiny(steps=2, data__path=data))
    write_balls(data, (6, 3, 3), 6, image_size=32, n_balls=2, radius=4.0, speed=1.5, seed=1)
    with pytest.raises(InputError, match="trained on other data"):
        resume(run, ["steps=3"])
    resume(run, ["steps=3", f"data.path={balls_file}"])
    data.unlink()
    assert checkpoint.load_training_state(run / "checkpoints" / "last")["step"] == 3


def test_data_that_is_gone_is_asked_for(tiny: Tiny, balls_file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.h5"
    shutil.copy(balls_file, data)
    run = train(tiny(steps=1, data__path=data))
    data.unlink()
    with pytest.raises(InputError, match="say where with data"):
        resume(run)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_cut_short_while_it_is_read(
    tiny: Tiny, balls_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """One line, of a worker process too; what was saved before is there to go on from."""
    data = tmp_path / "data.h5"
    shutil.copy(balls_file, data)
    write = RunLog.write

    def cut(log: RunLog, step: int, *rest: object) -> None:
        write(log, step, *rest)  # pyright: ignore[reportArgumentType]
        if step == 3:
            os.truncate(data, 20_000)

    monkeypatch.setattr(RunLog, "write", cut)
    with pytest.raises(InputError) as told:
        train(tiny(steps=60, data__path=data, data__workers=workers, save_every=1, eval_every=100))
    assert str(told.value).startswith(f"{data}: was cut short while it was read")
    assert "\n" not in str(told.value)
    assert checkpoint.load_training_state(tmp_path / "run" / "checkpoints" / "last")["step"] >= 3


def test_a_run_moved_and_gone_on_with_from_another_folder(
    tiny: Tiny, balls_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(balls_file, tmp_path / "data.h5")
    monkeypatch.chdir(tmp_path)
    run = train(replace(tiny(steps=1, data__path="data.h5"), out="run"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / run).rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (
        checkpoint.load_training_state(resume("../moved", ["steps=2"]) / "checkpoints" / "last")["step"] == 2
    )


@pytest.mark.filterwarnings("ignore:Exception in thread")  # TensorBoard's, whose file is gone
def test_a_run_renamed_while_it_trains_stops_and_is_not_torn(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RunLog.write

    def rename(log: RunLog, step: int, *rest: object) -> None:
        write(log, step, *rest)  # pyright: ignore[reportArgumentType]
        if step == 4 and log.folder.name == "run":
            log.folder.rename(tmp_path / "renamed")

    monkeypatch.setattr(RunLog, "write", rename)
    with pytest.raises(InputError, match="was moved or removed"):
        train(tiny(steps=6))
    assert not (tmp_path / "run").exists()
    resume(tmp_path / "renamed")
    assert checkpoint.load_training_state(tmp_path / "renamed" / "checkpoints" / "last")["step"] == 6


def test_a_better_checkpoint_newer_than_last_is_kept(tiny: Tiny) -> None:
    run = train(tiny(steps=2, eval_every=1, save_every=1))
    best, last = run / "checkpoints" / "best", run / "checkpoints" / "last"
    weights = checkpoint.load_weights(best)
    checkpoint.save(best, weights, (last / "config.yaml").read_text(), score=1e9)
    resume(run, ["steps=4"])
    assert checkpoint.load_score(best) == 1e9
    kept = checkpoint.load_weights(best)
    assert all(kept[name].equal(weights[name]) for name in weights)


@pytest.mark.parametrize(
    "data", [b"", b"version https://git-lfs.github.com/spec/v1\n", *(bytes([i]) * 9 for i in range(256))]
)
def test_damaged_training_states(tmp_path: Path, data: bytes) -> None:
    (tmp_path / checkpoint.TRAINING_STATE).write_bytes(data)
    with pytest.raises(InputError, match="damaged or cut short"):
        checkpoint.load_training_state(tmp_path)


@pytest.mark.parametrize("kind", [torch.int32, torch.bool, float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tiny: Tiny, kind: torch.dtype | float) -> None:
    best = train(tiny(steps=1)) / "checkpoints" / "best"
    weights = checkpoint.load_weights(best)
    name = max(weights, key=lambda name: weights[name].numel())
    if isinstance(kind, torch.dtype):
        weights[name] = weights[name].to(kind)
    else:
        weights[name].view(-1)[-1] = kind
    save_file(weights, best / checkpoint.WEIGHTS, {"format": FORMAT, "version": VERSION})
    with pytest.raises(InputError, match=name):
        checkpoint.load(best)
