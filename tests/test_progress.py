"""The line that long work writes about itself."""

import io

import pytest
from rich.console import Console

from dlp_dyn import progress


class Work:
    """Work that is tracked, and the clock on the wall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int, start: int = 0) -> None:
        self.second = 0.0
        monkeypatch.setattr("dlp_dyn.progress.time.monotonic", lambda: self.second)
        self.out = io.StringIO()
        self.tracker = progress.Tracker("train", total, "steps", start, Console(file=self.out))

    def advance(self, n: int, seconds: float) -> None:
        self.second += seconds
        self.tracker.advance(n)

    @property
    def last_line(self) -> str:
        return self.out.getvalue().splitlines()[-1]


def test_the_time_left_follows_a_change_of_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 units in the first second, as a warm-up does, then one a second."""
    work = Work(monkeypatch, 1200)
    work.advance(1000, 1.0)
    for _ in range(100):
        work.advance(1, 1.0)
    assert work.last_line == "train 1099/1200  1 steps/s  00:01:41 left"


def test_units_of_an_earlier_run_have_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, 600, start=500)
    work.advance(20, 10.0)
    assert work.last_line == "train 520/600  2 steps/s  00:00:40 left"


def test_more_than_was_asked_for_leaves_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """PPO ends a round of its own."""
    work = Work(monkeypatch, 5000)
    work.advance(5120, 10.0)
    assert work.last_line == "train 5120/5000  512 steps/s  00:00:00 left"


def test_the_end_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, 8)
    for _ in range(8):
        work.advance(1, 2.0)
    work.tracker._stop()
    assert [line.split()[1] for line in work.out.getvalue().splitlines()] == ["5/8", "8/8"]
    work.tracker._stop()
    assert work.out.getvalue().count("8/8") == 1
