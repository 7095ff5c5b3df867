"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

PLAIN_INTERVAL_S = 10.0
RATE_WINDOW_S = 30.0  # of which the rate is told: the pace of work may change


class Tracker:
    """Handed out by `track`; says how far the work has come."""

    def __init__(self, label: str, total: int | None, unit: str, start: int, console: Console) -> None:
        self._label, self._total, self._unit, self._told = label, total, unit, start
        self._console = console
        self._done = start
        self._last_line = time.monotonic()
        self._marks = deque([(self._last_line, start)])  # (second, done), a second apart or more
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True)),
                TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
                TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
                console=console,
                expand=True,
            )
            self._task = self._bar.add_task(label, total=total, completed=start, rate="", note="")
            self._bar.start()

    def advance(self, n: int = 1, note: str = "") -> None:
        """n more units are done. `note` (figures worth seeing) stays on screen until the next one."""
        self._done += n
        self._mark()
        if self._bar is not None:
            self._bar.update(self._task, advance=n, rate=f"{self._rate():.3g} {self._unit}/s")
            if note:
                self._bar.update(self._task, note=note)
        elif time.monotonic() - self._last_line >= PLAIN_INTERVAL_S:
            self._line(note)

    def reach(self, done: int) -> None:
        """So many units are done, all in all."""
        self.advance(done - self._done)

    def say(self, message: str) -> None:
        """A line of its own, above the bar."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self._done))
        while len(self._marks) > 1 and self._marks[1][0] <= now - RATE_WINDOW_S:
            self._marks.popleft()

    def _rate(self) -> float:
        since, done = self._marks[0]
        return (self._done - done) / max(time.monotonic() - since, 1e-9)

    def _line(self, note: str) -> None:
        self._last_line, self._told = time.monotonic(), self._done
        rate, done, left = self._rate(), f"{self._done}", ""
        if self._total is not None:
            done += f"/{self._total}"
            left = time.strftime(
                "  %H:%M:%S left", time.gmtime(max(self._total - self._done, 0) / max(rate, 1e-9))
            )
        self.say(f"{self._label} {done}  {rate:.3g} {self._unit}/s{left}  {note}".rstrip())

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._done > self._told:
            self._line("")


@contextmanager
def track(
    label: str, total: int | None, unit: str = "it", start: int = 0, quiet: bool = False
) -> Iterator[Tracker]:
    """`with track("collect", 100, "episodes") as progress: progress.advance()`, written to standard error.

    total: None where it is not known. start: units done before, which do not count for the rate.
    quiet: nothing is shown (other DDP ranks).
    """
    tracker = Tracker(label, total, unit, start, Console(stderr=True, quiet=quiet))
    try:
        yield tracker
    finally:
        tracker._stop()
