"""`bench`: the benchmarks of a clone."""

import argparse
import subprocess
import sys
from pathlib import Path

from dlp_dyn.commands.arguments import add_device, add_json
from dlp_dyn.errors import InputError


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it runs")
    add_json(sub)
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Run the benchmarks of a clone of the repository; exits with their exit code."""
    clone = Path(__file__).parents[2]
    if not (clone / "benchmarks" / "bench.py").is_file():
        raise InputError("bench needs a clone of the repository: the benchmarks are not part of the wheel")
    flags = [flag for flag, on in (("--quick", args.quick), ("--json", args.json)) if on]
    command = [sys.executable, "-m", "benchmarks.bench", "--device", args.device, *flags]
    sys.exit(subprocess.run(command, cwd=clone, check=False).returncode)
