"""What shows a run's log: TensorBoard in its folder, others by their packages, and one line where there is none."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import config as agent_config
from dlp_dyn.cli import main
from dlp_dyn.config import Tracker, load
from dlp_dyn.errors import InputError
from dlp_dyn.training import trackers
from dlp_dyn.training.run_log import RunLog

CPU = torch.device("cpu")


class Package(ModuleType):
    """A tracker's package that keeps what it was told."""

    def __init__(self, name: str, refuses: str = "") -> None:
        super().__init__(name)
        self.__spec__ = SimpleNamespace(name=name)  # pyright: ignore[reportAttributeAccessIssue]
        self.refuses, self.begun, self.rows, self.ended = refuses, [], [], 0

    def init(self, **settings: Any) -> "Package":
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.begun.append(settings)
        return self

    def log(self, row: dict[str, float], step: int) -> None:
        self.rows.append((step, row))

    def finish(self) -> None:
        self.ended += 1


def installed(monkeypatch: pytest.MonkeyPatch, package: Package) -> Package:
    monkeypatch.setitem(sys.modules, package.__name__, package)
    return package


def rows(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def test_tensorboard_is_the_default_and_lies_in_the_run_folder(tmp_path: Path) -> None:
    cfg = load("tiny", ["data.path=x"])
    with RunLog(tmp_path, cfg, CPU) as log:
        log.write(1, "train", {"loss": 2.0})
        log.write(2, "train", {"loss": 1.5})
    assert len(list(tmp_path.glob("events.out.*"))) == 1
    assert rows(tmp_path) == [(1, 2.0), (2, 1.5)]
    with RunLog(tmp_path, cfg, CPU, first_step=1) as log:
        log.write(2, "train", {"loss": 1.0})
    assert rows(tmp_path) == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_others_get_the_settings_and_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Tracker
) -> None:
    package = installed(monkeypatch, Package(name))
    cfg = load("tiny", ["data.path=x", f"log_with={name}"])
    run = tmp_path / "mine"
    for first in (0, 1):
        with RunLog(run, cfg, CPU, first, cfg.log_with) as log:
            log.write(first + 1, "train", {"loss": 2.0})
    assert package.rows == [(1, {"train/loss": 2.0}), (2, {"train/loss": 2.0})]
    assert package.ended == 2
    first, second = package.begun
    assert (first["project"], first["name"], first["resume"]) == ("dlp_dyn", "mine", "allow")
    assert first["config"]["lr"] == cfg.lr
    json.dumps(first["config"])
    assert first.get("id") == second.get("id")  # one run, however often it is resumed
    assert not list(run.glob("events.out.*"))
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_what_cannot_begin_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Package("wandb", refuses="api_key not configured.\n Call wandb.login()"))
    with pytest.raises(
        InputError, match=r"wandb cannot begin \(.*api_key not configured.*tensorboard needs none$"
    ):
        RunLog(tmp_path, load("tiny", ["data.path=x"]), CPU, log_with="wandb")


def test_a_package_that_is_missing_is_named_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], balls_file: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # noqa: ARG005
    out = tmp_path / "run"
    words = [f"data.path={balls_file}", f"out={out}", "log_with=trackio"]
    assert main(["train", "tiny", *words]) == 2
    assert (
        "log_with=trackio, which is not installed: pip install 'dlp_dyn[trackio]'" in capsys.readouterr().err
    )
    assert not out.exists()
    with pytest.raises(InputError, match="which is not installed"):
        trackers.check("wandb")


def test_a_name_of_no_tracker_is_one_line() -> None:
    for read, words in ((load, ["tiny", ["data.path=x"]]), (agent_config.load, ["push1", []])):
        name, settings = words
        with pytest.raises(InputError, match=r"log_with.*tensorboard, trackio") as caught:
            read(name, [*settings, "log_with=tensorbored"])
        assert "\n" not in str(caught.value)
