"""Whether two checkouts train alike: every loss and gradient norm of every step of a preset, compared with `==`."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

MACHINE = ("train/batches_per_second", "train/waiting_for_data")  # not of the model

Row = dict[str, float]


def train(checkout: Path, arguments: list[str], out: Path) -> list[Row]:
    """The rows that a training logs, one a step."""
    command = [sys.executable, "-m", "dlp_dyn.cli", "train", *arguments, f"out={out}", "log_every=1"]
    environment = os.environ | {"PYTHONPATH": str(checkout.absolute())}
    subprocess.run(command, check=True, cwd=checkout, env=environment, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in MACHINE} for row in rows if "train/loss" in row]


def compared(before: list[Row], after: list[Row]) -> dict[str, str]:
    """Of each quantity, in how many steps it is equal, and the largest difference relative to its value."""
    lines = {}
    for name in sorted(before[0].keys() | after[0].keys()):
        if name not in before[0] or name not in after[0]:
            lines[name] = "before alone" if name in before[0] else "after alone"
            continue
        pairs = [(a[name], b[name]) for a, b in zip(before, after, strict=True)]
        off = max(abs(a - b) / max(abs(a), abs(b), sys.float_info.min) for a, b in pairs)
        lines[name] = f"{sum(a == b for a, b in pairs)} of {len(pairs)}" + (
            f", {off:.1e} apart" if off else ""
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_losses", description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of another commit")
    parser.add_argument("arguments", nargs="+", metavar="PRESET [KEY=VALUE ...]", help="as for dlp-dyn train")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for both runs")
    args = parser.parse_args()
    out = args.out.absolute()
    out.mkdir(parents=True)
    before, after = (
        train(checkout, args.arguments, out / name)
        for checkout, name in ((args.before, "before"), (Path.cwd(), "after"))
    )
    lines = compared(before, after)
    for name, line in lines.items():
        print(f"{name:40} {line}")
    return int(any("apart" in line for line in lines.values()))


if __name__ == "__main__":
    sys.exit(main())
