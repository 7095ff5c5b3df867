"""Curves of agents, read from the logs of their runs."""

import json
from pathlib import Path

import imageio.v3 as iio
import pytest

from benchmarks.learning_curves import main, read


def log(folder: Path, success: list[float]) -> Path:
    folder.mkdir()
    names = [f"evaluation/success{end}" for end in ("", "_low", "_high")]
    rows = [
        {"step": 100 * i} | dict(zip(names, (s, s - 0.1, s + 0.1), strict=True))
        for i, s in enumerate(success)
    ]
    rows.insert(0, {"step": 0, "train/q": 1.0})
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def test_one_run_has_its_own_interval(tmp_path: Path) -> None:
    curve = read([log(tmp_path / "a", [0.2, 0.5])])
    assert curve.steps.tolist() == [0, 100]
    assert curve.success.tolist() == [0.2, 0.5]
    assert curve.high.tolist() == pytest.approx([0.3, 0.6])


def test_seeds_are_averaged_as_far_as_all_have_come(tmp_path: Path) -> None:
    curve = read([log(tmp_path / "a", [0.2, 0.5, 0.9]), log(tmp_path / "b", [0.4, 0.7])])
    assert curve.success.tolist() == pytest.approx([0.3, 0.6])
    assert curve.low.tolist() == [0.2, 0.5]
    assert curve.high.tolist() == [0.4, 0.7]


def test_a_picture_shows_every_agent(tmp_path: Path) -> None:
    runs = log(tmp_path / "a", [0.0, 1.0]), log(tmp_path / "b", [0.0, 0.5])
    assert main([f"state={runs[0]}", "--out", str(tmp_path / "one.png")]) == 0
    assert main([f"state={runs[0]}", f"flat={runs[1]}", "--out", str(tmp_path / "two.png")]) == 0
    one, two = iio.imread(tmp_path / "one.png"), iio.imread(tmp_path / "two.png")
    assert (one != two).any(-1).sum() > 500


@pytest.mark.parametrize(
    ("word", "hint"),
    [("state", "LABEL=RUN"), ("state=nowhere", "no log"), ("state={empty}", "no success")],
)
def test_bad_input_is_one_line(
    word: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = log(tmp_path / "empty", [])
    assert main([word.format(empty=empty), "--out", str(tmp_path / "x.png")]) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1
