"""A run has one owner, who goes on from what was saved, or says that nothing was."""

import copy
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from dlp_dyn import checkpoint, folders
from dlp_dyn.config import TrainConfig
from dlp_dyn.errors import InputError
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.run_log import RunLog, owned


def held_by_another(folder: Path) -> int:
    """A process that holds a folder until it is killed, itself with a child, as a DataLoader has."""
    if pid := os.fork():
        while not (folder / folders.LOCK).exists() or not (folder / folders.LOCK).read_text().endswith("\n"):
            time.sleep(0.01)
        return pid
    with owned(folder, new=False):
        os.fork()
        time.sleep(10)
    os._exit(0)


def test_a_run_in_use_is_refused_until_its_owner_is_dead(tiny: Callable[..., TrainConfig]) -> None:
    run = train(tiny(steps=2, save_every=1))
    (run / folders.LOCK).unlink()
    owner = held_by_another(run)
    before = (run / "metrics.jsonl").read_bytes()
    try:
        with pytest.raises(InputError, match=f"in use by process {owner} on "):
            resume(run, ["steps=3"])
        assert (run / "metrics.jsonl").read_bytes() == before
    finally:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
    resume(run, ["steps=3"])  # its child lives on, and holds nothing
    assert checkpoint.load_training_state(run / "checkpoints" / "last")["step"] == 3


def test_two_trainings_into_one_folder(tmp_path: Path) -> None:
    with owned(tmp_path / "run", new=True):
        with pytest.raises(InputError, match="in use by process"), owned(tmp_path / "run", new=True):
            pass
        (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(InputError, match="exists already"), owned(tmp_path / "run", new=True):
        pass


def test_a_training_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"), owned(tmp_path / "run", new=True):
        raise InputError("x.h5: no such file")
    assert not (tmp_path / "run").exists()


def test_leftovers_of_killed_writes_are_removed_by_the_owner(tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.abc.part").touch()
    with owned(tmp_path, new=False):
        assert [path.name for path in tmp_path.iterdir()] == [folders.LOCK]


def test_a_run_killed_while_it_wrote_its_first_file_leaves_a_folder_to_begin_in(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "last.part").mkdir(parents=True)
    (run / "checkpoints" / "last.part" / "config.yaml").touch()
    (run / folders.LOCK).touch()
    (run / ".x7.part").write_text("seed: ")
    with pytest.raises(InputError, match="no checkpoints/last in it"):
        resume(run)
    with owned(run, new=True):
        assert not (run / ".x7.part").exists()


@pytest.mark.parametrize("file", ["config.yaml", "checkpoints/last/model.safetensors", "film.part"])
def test_a_folder_with_anything_else_in_it_is_taken(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    with pytest.raises(InputError, match="exists already"), owned(tmp_path, new=True):
        pass


@pytest.mark.parametrize("killed_at", ["config.yaml", "train", "validation"])
def test_a_run_killed_before_it_saves_again_goes_on_from_its_beginning(
    tiny: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """Before its own config is written, after a row, and after `best`, which stays unless there is a better one."""
    few = {"steps": 4, "eval_every": 1, "save_every": 4}
    whole = train(tiny(**few, out=tmp_path / "whole"))
    write, write_file = RunLog.write, folders.write_file

    def row(log: RunLog, step: int, group: str, metrics: Mapping[str, float]) -> None:
        if step == 3 and group == killed_at:
            raise MemoryError
        write(log, step, group, metrics)

    def file(path: Path, data: folders.Data) -> None:
        if path.name == killed_at:
            raise MemoryError
        write_file(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", row)
        patch.setattr(folders, "write_file", file)
        with pytest.raises(MemoryError):
            train(tiny(**few))
    run = tmp_path / "run"
    assert (run / "checkpoints" / "best").is_dir() == (killed_at != "config.yaml")
    resume(run)
    for name in ("last", "best"):
        found, expected = (checkpoint.load_weights(folder / "checkpoints" / name) for folder in (run, whole))
        assert all(found[key].equal(weight) for key, weight in expected.items())
    assert len((run / "metrics.jsonl").read_text().splitlines()) == len(
        (whole / "metrics.jsonl").read_text().splitlines()
    )


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/last"])
def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(
    tiny: Callable[..., TrainConfig], gone: str
) -> None:
    run = train(tiny(steps=4, save_every=2))
    (run / gone).rename(run / "gone")
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match="no checkpoints/last in it"):
        resume(run)
    with pytest.raises(InputError, match="exists already"):
        train(tiny(steps=4))
    assert (run / "metrics.jsonl").read_bytes() == before


def test_weights_alone_cannot_be_gone_on_from(tiny: Callable[..., TrainConfig]) -> None:
    run = train(tiny(steps=2))
    (run / "checkpoints" / "last" / checkpoint.TRAINING_STATE).unlink()
    with pytest.raises(InputError, match="training cannot go on from it"):
        resume(run, ["steps=3"])
    assert len([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]) == 3


def test_a_training_state_of_something_else_is_one_line(tiny: Callable[..., TrainConfig]) -> None:
    run = train(tiny(steps=2))
    last = run / "checkpoints" / "last"
    state = checkpoint.load_training_state(last)
    moments = copy.deepcopy(state["optimizers"])
    for one in next(iter(moments.values()))["state"].values():
        one["exp_avg"] = torch.zeros(7)
    others = (
        {},
        [1],
        None,
        torch.zeros(3),
        {"step": -1},
        {"step": "x"},
        {"random": [{}]},
        {"optimizers": moments},
    )
    for other in others:
        torch.save(
            state | other if isinstance(other, dict) and other else other, last / checkpoint.TRAINING_STATE
        )
        with pytest.raises(InputError, match="not of this run"):
            resume(run, ["steps=3"])
