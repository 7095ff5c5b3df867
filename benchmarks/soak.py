"""Does what runs for long grow? Memory and open files of its process, sampled while it runs.

    python -m benchmarks.soak tiny data.path=balls32.h5 steps=20000 out=runs/soak
    python -m benchmarks.soak viewer|vector|plan --seconds 600

Words are those of `dlp-dyn train`, or one of the loops in soak_loops.py.
Growth is the slope of a line through the second half of the samples.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.soak_loops import LOOPS
from dlp_dyn import config
from dlp_dyn.errors import InputError

SHOWN = 10  # samples in the table


@dataclass(frozen=True)
class Sample:
    """step: the last one that is in the log. resident: bytes in memory. files: open ones, sockets and pipes too."""

    step: int
    resident: int
    files: int


def watch(words: Sequence[str], every: float) -> list[Sample]:
    """Train in a process of its own, and look at it every so many seconds from its first line in the log on.

    Raises InputError for a config that makes no sense, and when the training fails.
    """
    run = Path(config.load(words[0], words[1:]).out)
    samples = []
    command = [sys.executable, "-m", "dlp_dyn.cli", "train", *words]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said) as training,
    ):
        process = psutil.Process(training.pid)
        while training.poll() is None:
            step = _last_step(run / "metrics.jsonl")
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
                if step:
                    samples.append(Sample(step, process.memory_info().rss, process.num_fds()))
            time.sleep(every)
        said.seek(0)
        last_line = said.read().strip().rpartition("\n")[2]
    if training.returncode:
        raise InputError(f"training ended with {training.returncode}: {last_line}")
    return samples


def watch_loop(turns: Iterator[None], every: float, seconds: float) -> list[Sample]:
    """Let a loop turn in this process for so long, and look at it every so many seconds. Steps are its turns."""
    process, samples = psutil.Process(), []
    begun = looked = time.monotonic()
    for turn, _ in enumerate(turns, 1):
        now = time.monotonic()
        if now - looked >= every:
            samples.append(Sample(turn, process.memory_info().rss, process.num_fds()))
            looked = now
        if now - begun >= seconds:
            break
    return samples


def _last_step(log: Path) -> int:
    """0 where nothing is logged yet."""
    if not log.exists():
        return 0
    lines = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return json.loads(lines[-1])["step"] if lines else 0


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """Bytes and files by which it grows in 1,000 steps. Raises InputError for samples of fewer than 3 steps."""
    late = samples[len(samples) // 2 :]
    steps = np.array([sample.step for sample in late], float)
    if len(set(steps)) < 3:
        raise InputError(f"{len(samples)} samples are too few: train longer, or look more often with --every")
    resident, files = (
        1000 * float(np.polyfit(steps, values, 1)[0])
        for values in ([sample.resident for sample in late], [sample.files for sample in late])
    )
    return resident, files


def table(samples: Sequence[Sample]) -> Table:
    found = Table("step", "MB in memory", "open files", title="soak")
    for i in np.unique(np.linspace(0, len(samples) - 1, SHOWN).round().astype(int)):
        sample = samples[i]
        found.add_row(f"{sample.step:,}", f"{sample.resident / 1e6:.1f}", str(sample.files))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input (one line on standard error)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description="Watch what runs for long."
    )
    parser.add_argument("words", nargs="+", metavar="CONFIG [KEY=VALUE ...]")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples (default: 5)")
    parser.add_argument("--seconds", type=float, default=600.0, help="that a loop turns (default: 600)")
    args = parser.parse_args(argv)
    try:
        if args.words[0] in LOOPS:
            samples = watch_loop(LOOPS[args.words[0]](), args.every, args.seconds)
        else:
            samples = watch(args.words, args.every)
        resident, files = growth(samples)
    except InputError as error:
        print(f"soak: error: {error}", file=sys.stderr)
        return 2
    Console().print(table(samples))
    print(f"in 1,000 steps: {resident / 1e6:+.3f} MB, {files:+.3f} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
