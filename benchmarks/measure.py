"""Time and memory of two implementations of one thing, side by side in one run."""

import datetime
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SHORTEST = 0.05  # seconds that one measurement lasts at least, by repeating short calls


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median and quartiles over rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What one implementation takes, in bytes. saved: for backward. peak: held at most; base: at rest.

    flops, moved: see `count.Count`; None where they say nothing. half: its products are of bfloat16.
    """

    time: Timing
    saved: int
    peak: int | None = None
    base: int | None = None
    flops: int | None = None
    moved: int | None = None
    half: bool = False


@dataclass(frozen=True)
class Row:
    """One question at one size. plain: None where only ours is of interest."""

    question: str
    size: str
    ours: Cost
    plain: Cost | None

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
