"""What can be counted exactly, on any machine: operations, bytes, launches; and what a device reaches at most."""

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler_util import DeviceType  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import seconds


@dataclass(frozen=True)
class Count:
    """operations: calls of a kernel, views left out. moved: bytes that they read and write, each on its own.

    flops: floating-point operations of products and convolutions.
    """

    operations: int
    moved: int
    flops: int


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
    with FlopCounterMode(display=False, custom_mapping=_packed()) as flops, _Counter() as counter:
        call()
    gc.collect()  # the counter ties the graph of the call into a ring, gigabytes with it
    return Count(counter.operations, counter.moved, flops.get_total_flops())


def _packed() -> dict[Any, Any]:
    """Floating-point operations of `dlp_dyn.dynamics.packed`, which torch does not know."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return {}

    def linear(x: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
        return 2 * math.prod(out_shape) * x[-1]

    return {torch.ops.mkldnn._linear_pointwise: linear}


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
    """What a device reaches at most: FLOP/s by type of number, and bytes read and written a second."""

    flops: dict[str, float]
    bytes: float


@torch.no_grad()
def ceiling(device: torch.device, quick: bool = False) -> Ceiling:
    """Measured with a large copy, and with a product of square matrices or a convolution, whichever is faster.

    (On a CPU they may come from different libraries.) float32 may use TF32.
    """
    if quick:
        side, length, rounds = 256, 2**20, 1
    elif device.type == "cpu":
        side, length, rounds = 1024, 2**25, 10
    else:
        side, length, rounds = 8192, 2**29, 10
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    reached = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        product = 2 * side**3 / _least(lambda a=a, b=b: a @ b, device, rounds)
        layer = nn.Conv2d(64, 64, 3, padding=1, device=device, dtype=dtype).to(
            memory_format=torch.channels_last
        )
        maps = torch.randn(side // 128, 64, 128, 128, device=device, dtype=dtype)
        maps = maps.contiguous(memory_format=torch.channels_last)
        work = 2 * 64 * 64 * 9 * maps[:, 0].numel()
        convolution = work / _least(lambda layer=layer, maps=maps: layer(maps), device, rounds)
        reached[str(dtype).removeprefix("torch.")] = max(product, convolution)
    source = torch.zeros(length, device=device)
    target = torch.empty_like(source)
    return Ceiling(reached, 2 * source.nbytes / _least(lambda: target.copy_(source), device, rounds))


def _least(call: Callable[[], Any], device: torch.device, rounds: int) -> float:
    seconds(call, device, 2)
    return min(seconds(call, device, 3) for _ in range(rounds))
