"""Whether a long training grows, seen from outside."""

from pathlib import Path

import pytest

from benchmarks.soak import Sample, growth, main


def test_growth_is_that_of_the_second_half() -> None:
    """What is loaded at the start does not count; 2 MB and half a file more every 1,000 steps do."""
    start = [Sample(step, 10_000_000 * step, step) for step in range(1, 5)]
    then = [Sample(1000 * i, 500_000_000 + 2_000_000 * i, 20 + i // 2) for i in range(1, 9)]
    resident, files = growth(start + then)
    assert resident == pytest.approx(2e6)
    assert files == pytest.approx(0.5, abs=0.1)


def test_a_training_is_watched(balls_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tiny", f"data.path={balls_file}", f"out={tmp_path / 'run'}", "steps=90", "log_every=2"]
    assert main([*words, "--every", "0.05"]) == 0
    said = capsys.readouterr().out
    assert "open files" in said
    assert "in 1,000 steps" in said


def test_a_training_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny", "data.path=nowhere.h5", f"out={tmp_path / 'run'}", "--every", "0.1"]) == 2
    error = capsys.readouterr().err
    assert "nowhere.h5" in error
    assert error.count("\n") == 1
