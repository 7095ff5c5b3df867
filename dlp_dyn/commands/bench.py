"""`bench`: the benchmarks of a clone."""

import argparse
import subprocess
import sys
from pathlib import Path

from dlp_dyn.errors import InputError


def bench(args: argparse.Namespace) -> None:
    """Run the benchmarks of a clone of the repository; exits with their exit code."""
    clone = Path(__file__).parents[2]
    if not (clone / "benchmarks" / "bench.py").is_file():
        raise InputError("bench needs a clone of the repository: the benchmarks are not part of the wheel")
    flags = [flag for flag, on in (("--quick", args.quick), ("--json", args.json)) if on]
    command = [sys.executable, "-m", "benchmarks.bench", "--device", args.device, *flags]
    sys.exit(subprocess.run(command, cwd=clone, check=False).returncode)
