"""The command line that all scripts of this folder share, and the table that they print."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.count import Ceiling, ceiling
from benchmarks.measure import Cost, Row, Timing, machine

_QUIET_LOAD = 0.5  # average number of running processes above which times are not to be trusted
_COLUMNS = (
    "ms, ours",
    "ms, plain",
    "faster",
    "saved MB, ours",
    "plain",
    "peak MB, ours",
    "plain",
    "GFLOP/s",
    "GB/s",
)


def main(question: str, run: Callable[[torch.device, bool], list[Row]]) -> None:
    """Measure, then print a table or JSON."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it runs")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if (load := os.getloadavg()[0]) > _QUIET_LOAD:
        print(f"warning: the machine is busy (load {load:.2f}): do not trust the times", file=sys.stderr)
    about = machine(device)
    most = ceiling(device, args.quick)
    rows = run(device, args.quick)
    if args.json:
        found = [asdict(row) | {"speedup": row.speedup} for row in rows]
        print(json.dumps({"machine": about, "ceiling": asdict(most), "rows": found}, indent=2))
    else:
        _print(question, about, most, rows)


def _print(title: str, about: dict[str, Any], most: Ceiling, rows: list[Row]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=170)
    table = Table(title=title)
    table.add_column("what")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        costs = (row.ours, row.plain)
        table.add_row(
            f"{row.question}: {row.size}",
            *("-" if cost is None else _ms(cost.time) for cost in costs),
            "-" if row.speedup is None else f"{row.speedup:.2f}x",
            *("-" if cost is None else f"{cost.saved / 1e6:.1f}" for cost in costs),
            *(_peak(cost) for cost in costs),
            *_rates(row.ours, most),
        )
    console.print(table)
    console.print(
        "ms: median (quartiles). saved: kept for backward. peak: of a process (above its rest, with model and data).\n"
        "GFLOP/s, GB/s: of ours, and their share of what a large product or convolution and a large copy reach.\n"
        "Bytes are those that each operation reads and writes, cached or not: caches serve what is above 100 %."
    )
    reached = ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in most.flops.items())
    console.print(f"ceiling: {reached}, {most.bytes / 1e9:.1f} GB/s", highlight=False)
    for key, value in about.items():
        console.print(f"{key}: {value}", highlight=False)


def _rates(cost: Cost, most: Ceiling) -> tuple[str, str]:
    """FLOP/s and bytes/s, with their shares of the ceiling."""

    def rate(amount: int | None, ceiling: float) -> str:
        if not amount:
            return "-"
        reached = amount / cost.time.median
        return f"{reached / 1e9:.1f} ({reached / ceiling:.0%})"

    products = most.flops["bfloat16" if cost.half else "float32"]
    return rate(cost.flops, products), rate(cost.moved, most.bytes)


def _peak(cost: Cost | None) -> str:
    return (
        "-"
        if cost is None or cost.peak is None or cost.base is None
        else f"{cost.peak / 1e6:.0f} (+{(cost.peak - cost.base) / 1e6:.0f})"
    )


def _ms(t: Timing) -> str:
    return f"{1e3 * t.median:.2f} ({1e3 * t.low:.2f}-{1e3 * t.high:.2f})"
