"""A film of 10 s and one of 3 min, 1080p to 64 pixels, each in a process of its own: peak memory and time.

Beside ffmpeg's own decoding, and beside the reader of an earlier commit where its worktree is given by DLP_BEFORE.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data_trials.ffmpeg import ffmpeg, run
from benchmarks.data_trials.trial import Result

LENGTHS = (10, 180)  # seconds
_LIMIT_MB = 400
_SPREAD_MB = 40  # how far two peaks may lie apart and be the same
_IMPORT = (
    "import resource, sys, time; from dlp_dyn.data.convert import convert; start = time.perf_counter(); "
    "convert(sys.argv[1], sys.argv[2], image_size=64); "
    "took = time.perf_counter() - start; "
    "own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)); "
    "print(own.ru_maxrss // 1024, took, sum(u.ru_utime + u.ru_stime for u in (own, others)))"
)


def imported(film: Path, package: Path) -> tuple[int, float, float]:
    """Peak memory in MB, seconds, and those of the processor, of an import with the package below a folder.

    The processor's seconds are those of the processes that it starts as well: an earlier reader had ffmpeg decode.
    """
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, str(film), str(film.with_suffix(".h5"))],
        cwd=package, env={**os.environ, "PYTHONPATH": str(package)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    peak, seconds, processor = done.stdout.split()
    return int(peak), float(seconds), float(processor)


def trials(place: Path) -> Iterator[Result]:
    packages = {"here": Path(__file__).parents[2]}
    if folder := os.environ.get("DLP_BEFORE"):
        packages["before"] = Path(folder)
    peaks: dict[str, list[int]] = {name: [] for name in packages}
    for seconds in LENGTHS:
        film = place / f"{seconds}_s.mp4"
        source = f"testsrc2=s=1920x1080:r=30:d={seconds}"
        run(
            "-f",
            "lavfi",
            "-i",
            source,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            film,
        )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([ffmpeg(), "-v", "error", "-i", str(film), "-f", "null", "-"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        decoding = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        for name, package in packages.items():
            try:
                peak, took, processor = imported(film, package)
            except subprocess.CalledProcessError as error:
                yield Result(f"memory, {name}", film.name, "wrong", error.stderr.strip().splitlines()[-1:][0])
                continue
            peaks[name].append(peak)
            said = (
                f"{seconds} s of 1080p: peak {peak} MB, {took:.1f} s ({processor:.1f} s of the processor); "
                f"ffmpeg decodes it in {decoding:.1f} s of the processor"
            )
            print(f"{name}: {said}", flush=True)
            flat = max(peaks[name]) - min(peaks[name]) <= _SPREAD_MB
            yield Result(
                f"memory, {name}", film.name, "right" if peak < _LIMIT_MB and flat else "wrong", said
            )
