"""What can be counted exactly, on any machine: operations, bytes, launches; and what a device reaches at most."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler_util import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.measure import seconds


@dataclass(frozen=True)
class Count:
    """operations: calls of a kernel, views left out. moved: bytes that they read and write, each on its own."""

    operations: int
    moved: int


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.moved = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not _is_view(func):
            self.operations += 1
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
            self.moved += sum({id(x): x.nbytes for x in tensors}.values())
        return result


def _is_view(func: Any) -> bool:
    """Views write nothing, and neither does making an empty tensor."""
    returns = func._schema.returns
    aliases = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
    return aliases or "empty" in func._schema.name


def count(call: Callable[[], Any]) -> Count:
    """Of one call, backward included. So many bytes would move if nothing stayed in a cache."""
    with _Counter() as counter:
        call()
    return Count(counter.operations, counter.moved)


def launches(call: Callable[[], Any], device: torch.device) -> int:
    """Kernels that a call starts on a GPU, copies included; on a CPU, operations that are not views."""
    if device.type != "cuda":
        return count(call).operations
    call()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize(device)
    events = profiler.events() or []
    return sum(event.device_type == DeviceType.CUDA for event in events)


@dataclass(frozen=True)
class Ceiling:
    """What a device reaches at most: FLOP/s of a product by type of number, and bytes read and written a second."""

    flops: dict[str, float]
    bytes: float


def ceiling(device: torch.device, quick: bool = False) -> Ceiling:
    """Measured with a large product of square matrices and a large copy. float32 products may use TF32."""
    side, length, rounds = (256, 2**20, 1) if quick or device.type == "cpu" else (8192, 2**29, 10)
    torch.backends.cuda.matmul.allow_tf32 = True
    reached = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        reached[str(dtype).removeprefix("torch.")] = (
            2 * side**3 / _least(lambda a=a, b=b: a @ b, device, rounds)
        )
    source = torch.zeros(length, device=device)
    target = torch.empty_like(source)
    return Ceiling(reached, 2 * source.nbytes / _least(lambda: target.copy_(source), device, rounds))


def _least(call: Callable[[], Any], device: torch.device, rounds: int) -> float:
    seconds(call, device, 2)
    return min(seconds(call, device, 3) for _ in range(rounds))
