"""`dlp-dyn view` as a user meets it."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from video_runs import write_actions, write_gif, write_run

from dlp_dyn.cli import main
from dlp_dyn.config import read, save
from dlp_dyn.viewer.server import load_studio


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["view", *map(str, words), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_serves_the_bundled_model_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "dlp_dyn.cli", "view", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.match(r"(http://127\.0\.0\.1:\d+/) shows balls; Ctrl-C ends it", line)
        assert match, (line, process.communicate(timeout=5))
        with urllib.request.urlopen(match[1], timeout=20) as answer:
            assert b"<canvas" in answer.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert errors == ""


def test_a_port_in_use(video_run: Path, balls_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["view", str(video_run), "--data", str(balls_file), "--port", str(port)]) == 2
    expected = f"dlp-dyn: error: port {port}: in use; give another, or 0 for any that is free\n"
    assert capsys.readouterr().err == expected


def test_a_port_and_a_host_that_are_none(video_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(video_run), "--port", "70000"]) == 2
    assert "port 70000: give 0 to 65535" in capsys.readouterr().err
    assert "host 192.0.2.1, port 0: cannot listen there" in refused(capsys, video_run, "--host", "192.0.2.1")


def test_a_run_that_is_not_there(
    tmp_path: Path, balls_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nowhere: no such run" in refused(capsys, tmp_path / "nowhere", "--data", balls_file)


def test_data_that_does_not_fit(
    video_run: Path, image_run: Path, action_run: Path, balls_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    big = write_actions(tmp_path / "big.h5", side=64)
    for run in (video_run, image_run):
        assert "at 32 pixels" in refused(capsys, run, "--data", big)
        assert "frames of 16x16 pixels" in refused(
            capsys, run, "--data", write_gif(tmp_path / "a.gif", side=16)
        )
        assert "no such file" in refused(capsys, run, "--data", tmp_path / "none.h5")
    assert "no actions in it" in refused(capsys, action_run, "--data", balls_file)
    assert "a video has none: give a rollout file" in refused(
        capsys, action_run, "--data", write_gif(tmp_path / "b.gif", side=32)
    )


def test_an_empty_part(video_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dlp_dyn.data.balls import write_balls

    write_balls(tmp_path / "b.h5", (3, 0, 0), 6, image_size=32, n_balls=2, radius=4.0)
    assert "no episode in the test part; choose another part" in refused(
        capsys, video_run, "--data", tmp_path / "b.h5"
    )


def test_without_data_the_training_file_is_shown(
    tmp_path: Path, balls_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    assert "trained on x, which is not there; give a file of data" in refused(capsys, run)
    file = run / "checkpoints" / "best" / "config.yaml"
    save(read(file, [f"data.path={balls_file}"]), file)
    assert list(load_studio(run, None, "test").source.lengths) == [6, 6, 6]


def test_a_video_is_one_episode(video_run: Path, tmp_path: Path) -> None:
    studio = load_studio(video_run, write_gif(tmp_path / "a.gif"), "test")
    assert list(studio.source.lengths) == [6]
    assert len(studio.history(0, 5).background) == 4


def test_without_the_extra(
    video_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "dlp_dyn.viewer.server")
    monkeypatch.delattr("dlp_dyn.viewer.server")
    line = refused(capsys, video_run)
    assert "view needs uvicorn, which is not installed: pip install 'dlp_dyn[viewer]'" in line
