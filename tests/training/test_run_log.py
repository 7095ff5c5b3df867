"""The run folder is written as a whole, and what is damaged in it stops no resume."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch

from dlp_dyn import folders
from dlp_dyn.config import load
from dlp_dyn.errors import InputError
from dlp_dyn.training.interrupt import interrupts
from dlp_dyn.training.run_log import RunLog

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "damage", [b"\0" * 64 + b"\n", b"\n", b"\xff\n", b"{}\n", b"3\n", b"[" * 10**5 + b"\n", b'{"step": 2']
)
@pytest.mark.parametrize("first", [True, False])
def test_damaged_rows_are_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes, first: bool
) -> None:
    rows = b'{"step": 1}\n{"step": 2}\n'
    if first and not damage.endswith(b"\n"):
        pytest.skip("only the last row can be cut short")
    (tmp_path / "metrics.jsonl").write_bytes(damage + rows if first else rows + damage)
    with RunLog(tmp_path, load("tiny", ["data.path=x"]), CPU, first_step=2):
        pass
    assert (tmp_path / "metrics.jsonl").read_bytes() == rows
    assert "1 damaged" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"started": "20', "", "[]", "[" * 10**5, '{"earlier": 3}'])
def test_a_damaged_environment_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "environment.json").write_text(text)
    with RunLog(tmp_path, load("tiny", ["data.path=x"]), CPU):
        pass
    assert json.loads((tmp_path / "environment.json").read_text())["earlier"] == []


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "metrics.jsonl"])
def test_a_full_disk_leaves_every_file_of_a_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cfg = load("tiny", ["data.path=x"])
    with RunLog(tmp_path, cfg, CPU) as log:
        log.write(1, "train", {"loss": 1.0})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    replace = Path.replace

    def full(source: Path, target: Path) -> Path:
        if target.name == name:
            raise OSError(28, "No space left on device")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        RunLog(tmp_path, cfg, CPU, first_step=1)
    assert (tmp_path / name).read_bytes() == before[name]
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_a_file_replaced_may_be_read_by_others(tmp_path: Path) -> None:
    folders.write_file(tmp_path / "a", b"1")
    (tmp_path / "b").write_bytes(b"1")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_ask_to_stop_are_noted(sent: signal.Signals) -> None:
    with interrupts() as request:
        os.kill(os.getpid(), sent)
        assert request.signum == sent


def test_a_folder_that_is_moved_is_told_without_a_trace_of_tensorboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, hook = tmp_path / "run", threading.excepthook
    run.mkdir()

    def write() -> None:
        with RunLog(run, load("tiny", ["data.path=x"]), CPU) as log:
            log.write(1, "train", {"loss": 1.0})
            run.rename(tmp_path / "moved")
            log.write(2, "train", {"loss": 1.0})

    with pytest.raises(InputError, match="was moved"):
        write()
    assert not capsys.readouterr().err
    assert threading.excepthook is hook
