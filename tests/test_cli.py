"""The command line as a user meets it: the README's way through, and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dlp_dyn import checkpoint
from dlp_dyn.cli import main
from dlp_dyn.data.rollouts import Rollouts

ROOT = Path(__file__).parents[1]
DOTS = """
import gymnasium as gym
import numpy as np

class Dots(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (48, 64, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, grey=0):
        self.picture = np.full((48, 64, 3), grey, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.picture, {}

    def step(self, action):
        return self.picture, 0.0, False, False, {}

gym.register("Dots-v0", entry_point=Dots)
"""
QUICK = [
    "device=cpu",
    "steps=4",
    "batch_size=4",
    "log_every=1",
    "eval_every=4",
    "eval_frames=4",
    "save_every=2",
]


def test_collect_train_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "balls.h5", tmp_path / "run"
    scene = ["--set", "length=5", "n_balls=2", "radius=4", "speed=1.5"]
    assert (
        main(["collect", "balls", "--out", str(data), "--episodes", "6,2,3", "--image-size", "32", *scene])
        == 0
    )
    rollouts = Rollouts(data)
    assert [len(rollouts.part(part)) for part in ("train", "validation", "test")] == [6, 2, 3]
    assert rollouts.image_size == (32, 32)

    assert main(["train", "tiny", f"data.path={data}", f"out={run}", *QUICK]) == 0
    assert capsys.readouterr().out == f"run folder: {run}\n"
    assert main(["train", "--resume", str(run), "steps=5"]) == 0
    assert checkpoint.load_training_state(run / "checkpoints" / "last")["step"] == 5
    capsys.readouterr()

    assert main(["evaluate", str(run), "--data", str(data), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["overall"]["frames"] == 15
    assert answer["part"] == "test"
    assert answer["by_objects"].keys() <= {"0", "1", "2"}
    assert (
        main(["evaluate", str(run / "checkpoints" / "last"), "--data", str(data), "--part", "validation"])
        == 0
    )
    table = capsys.readouterr().out
    assert "psnr" in table
    assert "recall" in table


def test_collect_plays_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dots.py").write_text(DOTS)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "dots.h5"
    arguments = [
        "--episodes",
        "4",
        "--max-steps",
        "3",
        "--image-size",
        "32",
        "--crop",
        "square",
        "--set",
        "grey=90",
    ]
    assert main(["collect", "dots:Dots-v0", "--out", str(out), *arguments]) == 0
    rollouts = Rollouts(out)
    assert rollouts.n_frames == 16
    assert rollouts.image_size == (32, 32)
    assert (rollouts.frames(np.arange(16)) == 90).all()


def test_shapes_take_one_number_of_episodes(tmp_path: Path) -> None:
    out = tmp_path / "shapes.h5"
    assert main(["collect", "shapes", "--out", str(out), "--episodes", "20"]) == 0
    rollouts = Rollouts(out)
    assert [len(rollouts.part(part)) for part in ("train", "validation", "test")] == [16, 2, 2]


def test_import_reads_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", np.zeros((4, 5, 20, 24, 3), np.uint8))
    out = tmp_path / "imported.h5"
    assert main(["import", str(tmp_path / "frames.npy"), "--out", str(out), "--crop", "2,0,22,20"]) == 0
    assert Rollouts(out).image_size == (20, 20)


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "balls", "--data", "film.gif", "--out", "film.gif"],
        ["predict", "balls", "--data", "film.gif", "--out", "link.gif"],
        ["export-data", "film.gif", "./film.gif", "--format", "worldmodel", "--overwrite"],
        ["import", "film.gif", "--out", "film.gif", "--overwrite"],
    ],
)
def test_what_is_read_is_not_written_over(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.gif").write_text("mine")
    (tmp_path / "link.gif").symlink_to("film.gif")
    assert main(words) == 2
    assert "is read, and would be written over" in capsys.readouterr().err
    assert (tmp_path / "film.gif").read_text() == "mine"


def test_help_is_fast_and_loads_no_torch() -> None:
    code = "import sys; from dlp_dyn.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    check = "assert not {'torch', 'numpy', 'yaml'} & sys.modules.keys()"
    answer = subprocess.run([sys.executable, "-c", code + check], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    for verb in ("collect", "import", "train", "evaluate", "convert"):
        assert verb in answer.stdout


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    endless = (["predict", "r", "--data", "d", "--horizon", "10001"], ["generate", "r", "--n", "1000000000"])
    for arguments in ([], ["fly"], ["evaluate", "run"], *endless):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    capsys.readouterr()


def test_sigterm_to_the_whole_group_saves_and_exits_with_143(balls_file: Path, tmp_path: Path) -> None:
    """As a job scheduler does it: the workers that read data get the signal too."""
    run = tmp_path / "run"
    settings = [
        f"data.path={balls_file}",
        f"out={run}",
        "device=cpu",
        "steps=100000",
        "batch_size=4",
        "log_every=1",
    ]
    every = [
        "save_every=100000",
        "eval_every=100000",
        "sample_every=100000",
        "data.workers=1",
        "eval_frames=2",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "dlp_dyn.cli", "train", "tiny", *settings, *every],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    line = errors.strip().splitlines()[-1]
    step = checkpoint.load_training_state(run / "checkpoints" / "last")["step"]
    assert line == f"dlp-dyn: saved after step {step}; go on with: dlp-dyn train --resume {run}"
    assert "Traceback" not in errors


def test_names_of_any_bytes_are_printed_to_any_terminal() -> None:
    code = "from dlp_dyn.commands.terminal import print_any_name; print_any_name(); print('a\\udcff\\u2026b')"
    for encoding, said in (("ascii", b"a\xff?b\n"), ("utf-8", b"a\xff\xe2\x80\xa6b\n")):
        words = [sys.executable, "-c", code]
        answer = subprocess.run(words, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
        assert answer.stdout == said, answer.stderr


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    answer = subprocess.run(
        f"rmdir {tmp_path / 'here'}; {sys.executable} -m dlp_dyn.cli demo --list",
        shell=True,
        cwd=tmp_path / "here",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 2
    assert answer.stderr == "dlp-dyn: error: the working folder is gone; change into another one\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_nobody_has_to_listen(closed: str) -> None:
    command = f"{sys.executable} -m dlp_dyn.cli demo --list {closed}"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m dlp_dyn.cli train tiny --show | head -n 1"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert len(answer.stdout.splitlines()) == 1
    assert "Traceback" not in answer.stderr
