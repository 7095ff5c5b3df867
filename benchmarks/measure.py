"""Time and memory of two implementations of one thing, side by side in one run."""

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_QUIET_LOAD = 0.5  # average number of running processes above which times are not to be trusted
_SHORTEST = 0.05  # seconds that one measurement lasts at least, by repeating short calls


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median and quartiles over rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What one implementation takes, in bytes. saved: for backward. peak: held at most; base: at rest."""

    time: Timing
    saved: int
    peak: int | None = None
    base: int | None = None


@dataclass(frozen=True)
class Row:
    """One question at one size. plain: None where only ours is of interest.

    flops: of a call of ours, None where nothing but sampling is done.
    """

    question: str
    size: str
    ours: Cost
    plain: Cost | None
    flops: int | None = None

    @property
    def speedup(self) -> float | None:
        return None if self.plain is None else self.plain.time.median / self.ours.time.median


def compare(
    ours: Callable[[], Any], plain: Callable[[], Any], device: torch.device, rounds: int
) -> tuple[Timing, Timing]:
    """Times of both, measured in turns so that a drift of the machine meets both alike."""
    calls = (ours, plain)
    repeats = [max(1, round(_SHORTEST / _warm(call, device))) for call in calls]
    times: tuple[list[float], list[float]] = ([], [])
    gc.collect()
    gc.disable()
    try:
        for i in range(rounds):
            for which in (0, 1) if i % 2 == 0 else (1, 0):
                times[which].append(seconds(calls[which], device, repeats[which]))
    finally:
        gc.enable()
    return timing(times[0]), timing(times[1])


def _warm(call: Callable[[], Any], device: torch.device) -> float:
    seconds(call, device, 2)
    return seconds(call, device, 1)


def seconds(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    _wait(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    _wait(device)
    return (time.perf_counter() - start) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timing(times: list[float]) -> Timing:
    if len(times) < 2:
        return Timing(times[0], times[0], times[0])
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, low, high)


def saved_bytes(forward: Callable[[], Any], parameters: Sequence[nn.Parameter] = ()) -> int:
    """Bytes of the storages that `forward` keeps for backward, each counted once, parameters left out."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    storages: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        alive = forward()
    total = sum(storages.values())
    del alive
    return total


def held_bytes(device: torch.device) -> tuple[int, int]:
    """Bytes held by this process now, and at most so far: resident, or of the GPU's allocator."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    status = Path(
        "/proc/self/status"
    )  # not getrusage: on Linux its peak is inherited from the parent process
    if status.is_file():
        words = dict(line.split(":", 1) for line in status.read_text().splitlines())
        now, most = (1024 * int(words[key].split()[0]) for key in ("VmRSS", "VmHWM"))
        return now, most
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return most, most


def peak_and_base(step: Callable[[], Any], device: torch.device) -> tuple[int, int]:
    """Bytes held at most during three steps, and before them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    base, _ = held_bytes(device)
    for _ in range(3):
        step()
    return held_bytes(device)[1], base


def flops(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call's products and convolutions, backward included."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure is worthless without."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "load_at_start": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", "-m", "benchmarks." + Path(sys.argv[0]).stem, *sys.argv[1:]]),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main(question: str, run: Callable[[torch.device, bool], list[Row]]) -> None:
    """The command line of every script of this folder: measure, then print a table or JSON."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it runs")
    parser.add_argument("--json", action="store_true", help="JSON on standard output instead of a table")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    about = machine(device)
    if about["load_at_start"] > _QUIET_LOAD:
        print(
            f"warning: the machine is busy (load {about['load_at_start']}): do not trust the times",
            file=sys.stderr,
        )
    rows = run(device, args.quick)
    if args.json:
        answer = {"machine": about, "rows": [asdict(row) | {"speedup": row.speedup} for row in rows]}
        print(json.dumps(answer, indent=2))
    else:
        _print(question, about, rows)


def _print(title: str, about: dict[str, Any], rows: list[Row]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    table = Table(title=title)
    table.add_column("what")
    for name in (
        "ms, ours",
        "ms, plain",
        "faster",
        "saved MB, ours",
        "plain",
        "peak MB, ours",
        "plain",
        "GFLOP/s",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        speed = f"{row.flops / 1e9 / row.ours.time.median:.0f}" if row.flops else "-"
        table.add_row(
            f"{row.question}: {row.size}",
            _ms(row.ours.time),
            "-" if row.plain is None else _ms(row.plain.time),
            "-" if row.speedup is None else f"{row.speedup:.2f}x",
            *("-" if cost is None else f"{cost.saved / 1e6:.1f}" for cost in (row.ours, row.plain)),
            *(_peak(cost) for cost in (row.ours, row.plain)),
            speed,
        )
    console.print(table)
    console.print(
        "ms: median (quartiles). saved: kept for backward. peak: of a process (above its rest, with model and data)."
    )
    for key, value in about.items():
        console.print(f"{key}: {value}", highlight=False)


def _peak(cost: Cost | None) -> str:
    return (
        "-"
        if cost is None or cost.peak is None or cost.base is None
        else f"{cost.peak / 1e6:.0f} (+{(cost.peak - cost.base) / 1e6:.0f})"
    )


def _ms(t: Timing) -> str:
    return f"{1e3 * t.median:.2f} ({1e3 * t.low:.2f}-{1e3 * t.high:.2f})"
