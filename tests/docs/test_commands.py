"""Every command and Python block of README.md and docs/ runs, page by page, in order, at sizes of seconds.

<!-- not run: why --> above a block leaves it out. <!-- test begins with: NAME ... --> on a page says which of
`PREPARED` lie in its folder at the start.
"""

import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from agents import evaluate as agents_evaluate
from agents import train as agents_train
from benchmarks import scaling
from dlp_dyn import cli
from dlp_dyn.bundled import BALLS

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for p in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if "```" in p.read_text())
LANGUAGES = ("bash", "python")
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
BEGINS_WITH = re.compile(r"<!-- test begins with: (.+?) -->")
TRAIN = (
    "device=cpu", "steps=2", "batch_size=2", "log_every=1", "eval_every=2", "eval_frames=2", "save_every=2",
    "sample_every=2", "dynamics.rollout_steps=2",
)  # fmt: skip
AGENT = (
    "env.settings.time_limit=5", "env.n_envs=2", "warm_up.steps=20", "steps=40", "algorithm.batch_size=8",
    "algorithm.gradient_steps=1", "algorithm.buffer_size=200", "log_every=20", "eval_every=40", "eval_episodes=2",
    "save_every=40", "network.entity.dim=8", "network.entity.hidden=[8]", "network.entity.head=[8]",
    "network.flat=[8]", "observation.normalizer_frames=16", "reward.foreground_steps=120",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    mark: str


def blocks(text: str) -> list[Block]:
    found = [Block(m["language"], m["text"], m["mark"] or "") for m in BLOCK.finditer(text)]
    return [b for b in found if b.language in LANGUAGES and not b.mark.startswith("not run: ")]


def commands(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def with_value(words: list[str], flag: str, value: str) -> list[str]:
    """The words with another value behind a flag."""
    if flag not in words:
        return [*words, flag, value]
    at = words.index(flag) + 1
    return [*words[:at], value, *words[at + 1 :]]


def small(words: list[str]) -> list[str]:
    """A `dlp-dyn` command that takes a second."""
    verb = words[0]
    if verb == "train" and "--resume" not in words:
        return [*words, *TRAIN]
    if verb == "collect":
        if words[1] == "balls":
            return [*with_value(words, "--episodes", "3,1,1"), "--set", "length=24"]
        return with_value(with_value(words, "--episodes", "4"), "--max-steps", "24")
    if verb in ("evaluate", "predict", "demo"):
        words = with_value(words, "--episodes", "1")
        words = with_value(words, "--horizon", "3") if "--horizon" in words or verb != "evaluate" else words
    return words


def small_evaluation(words: list[str]) -> list[str]:
    """A `python -m agents.evaluate` that takes a second."""
    return [*with_value(words, "--episodes", "2"), "--gif-episodes", "1"]


def scaling_tables(words: list[str]) -> int:
    assert not words, f"benchmarks.scaling takes no words: {shlex.join(words)}"
    scaling.main()
    return 0


def figures(words: list[str]) -> int:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(*words)
    return 0


# The first words of a command, and how it runs in this process.
RUNNERS: dict[tuple[str, ...], Callable[[list[str]], int]] = {
    ("dlp-dyn",): lambda words: cli.main(small(words)),
    ("python", "-m", "agents.train"): lambda words: agents_train.main([*words, *AGENT]),
    ("python", "-m", "agents.evaluate"): lambda words: agents_evaluate.main(small_evaluation(words)),
    ("python", "-m", "benchmarks.scaling"): scaling_tables,
    ("python", "docs/figures.py"): figures,
}


def run(words: list[str]) -> None:
    for start, runner in RUNNERS.items():
        if tuple(words[: len(start)]) == start:
            assert runner(words[len(start) :]) == 0, shlex.join(words)
            return
    pytest.fail(f"{shlex.join(words)}: mark its block with <!-- not run: why -->, or say here how it runs")


def videos(folder: Path) -> None:
    """A square on its way through eight films."""
    folder.mkdir()
    for k in range(8):
        film = np.zeros((24, 48, 64, 3), np.uint8)
        for t in range(24):
            film[t, 4 * k : 4 * k + 12, 2 * t : 2 * t + 12] = (250, 40 * k % 255, 90)
        iio.imwrite(folder / f"{k}.mp4", film, fps=12)


def model(folder: Path) -> None:
    shutil.copytree(BALLS, folder / "checkpoints" / "best")


PREPARED: dict[str, Callable[[Path], None]] = {
    "my_videos": videos,
    "runs/balls_video": model,
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.timeout(900)  # ten seconds on a machine that does nothing else
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_commands_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    text = page.read_text()
    for names in BEGINS_WITH.findall(text):
        for name in names.split():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            PREPARED[name](tmp_path / name)
    variables: dict[str, object] = {}
    for block in blocks(text):
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), variables)
        else:
            for words in commands(block.text):
                run(words)
    capsys.readouterr()
    sys.modules.pop("pushing", None)


def test_an_unknown_command_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="not run"):
        run(["make", "check"])


def test_blocks_are_found_and_marks_leave_them_out() -> None:
    page = (
        "<!-- not run: slow -->\n```bash\na\n```\ntext\n```bash\nb \\\n  --c 1  # why\n```\n```text\nd\n```\n"
    )
    (block,) = blocks(page)
    assert commands(block.text) == [["b", "--c", "1"]]
