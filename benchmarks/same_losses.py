"""Whether two checkouts train alike: every loss and gradient norm of every step of one preset, compared with `==`."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

# What a run logs of the machine instead of the model.
TIMES = ("per_second", "cpu_seconds", "waiting", "looking")


def train(
    checkout: Path, module: str, arguments: list[str], out: Path, log_every: int
) -> list[dict[str, float]]:
    """The rows of the training part of the log, a row a step."""
    command = [sys.executable, "-m", *module.split(), *arguments, f"out={out}", f"log_every={log_every}"]
    environment = os.environ | {"PYTHONPATH": str(checkout.absolute())}
    subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if any(name.startswith("train/") for name in row)]


def compared(before: list[dict[str, float]], after: list[dict[str, float]]) -> dict[str, str]:
    """By quantity: in how many steps it is equal to the last bit, and the largest relative difference."""
    lines = {}
    for name in sorted(before[0].keys() | after[0].keys()):
        if any(time in name for time in TIMES):
            continue
        if name not in before[0] or name not in after[0]:
            lines[name] = "only before" if name in before[0] else "only after"
            continue
        pairs = [(a[name], b[name]) for a, b in zip(before, after, strict=True)]
        equal = sum(a == b for a, b in pairs)
        off = max(abs(a - b) / max(abs(a), abs(b), 1e-30) for a, b in pairs)
        lines[name] = f"{equal} of {len(pairs)}" + (f", {off:.1e} apart" if off else "")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_losses", description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of another commit")
    parser.add_argument("arguments", nargs="+", metavar="PRESET [KEY=VALUE ...]", help="as for train")
    parser.add_argument("--before-preset", metavar="NAME", help="its preset there, if it has another name")
    parser.add_argument("--module", default="dlp_dyn.cli train", help="(default: %(default)s)")
    parser.add_argument("--log-every", type=int, default=1, help="for environments: how many step at once")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for both runs")
    args = parser.parse_intermixed_args()
    preset, *settings = args.arguments
    args.out.mkdir(parents=True)
    out = args.out.absolute()
    there, here = [args.before_preset or preset, *settings], args.arguments
    before = train(args.before, args.module, there, out / "before", args.log_every)
    after = train(Path.cwd(), args.module, here, out / "after", args.log_every)
    lines = compared(before, after)
    for name, line in lines.items():
        print(f"{name:40} {line}")
    return int(any("apart" in line for line in lines.values()))


if __name__ == "__main__":
    sys.exit(main())
