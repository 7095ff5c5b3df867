"""The line that long work writes about itself."""

import io

import pytest
from rich.console import Console

from dlp_dyn import progress


def test_the_time_left_follows_a_change_of_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 units in the first second, as a warm-up does, then one a second."""
    clock = [0.0]
    monkeypatch.setattr("dlp_dyn.progress.time.monotonic", lambda: clock[0])
    out = io.StringIO()
    tracker = progress.Tracker("train", 1200, "steps", 0, Console(file=out))
    clock[0] = 1.0
    tracker.advance(1000)
    for _ in range(100):
        clock[0] += 1.0
        tracker.advance(1)
    assert out.getvalue().splitlines()[-1] == "train 1099/1200  1 steps/s  00:01:41 left"


def test_units_of_an_earlier_run_have_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("dlp_dyn.progress.time.monotonic", lambda: clock[0])
    out = io.StringIO()
    tracker = progress.Tracker("train", 600, "steps", 500, Console(file=out))
    clock[0] = 10.0
    tracker.advance(20)
    assert out.getvalue() == "train 520/600  2 steps/s  00:00:40 left\n"


def test_more_than_was_asked_for_leaves_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """PPO ends a round of its own."""
    clock = [0.0]
    monkeypatch.setattr("dlp_dyn.progress.time.monotonic", lambda: clock[0])
    out = io.StringIO()
    tracker = progress.Tracker("train", 5000, "steps", 0, Console(file=out))
    clock[0] = 10.0
    tracker.advance(5120)
    assert out.getvalue() == "train 5120/5000  512 steps/s  00:00:00 left\n"
