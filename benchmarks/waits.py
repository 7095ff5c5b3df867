"""How often a training step makes a GPU wait for the host, counted on any machine:

    python -m benchmarks.waits

A read takes a number from the GPU into Python, a copy moves a tensor between the two: in both the host waits until the
GPU has done all that it was given. The step runs on fake tensors, which have a device and a shape but no numbers, so
no GPU is needed. Backward passes cannot be run so on CUDA, and are counted on fake tensors of a CPU (reads only).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models import vgg

from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.objectives import reconstruction
from dlp_dyn.particles import Particles
from dlp_dyn.tracking.matching import Matcher
from dlp_dyn.training import setup
from dlp_dyn.training.divergence import DivergenceWatch
from dlp_dyn.training.run_log import Meter
from dlp_dyn.training.step import TrainingStep

CONFIGS = (
    "shapes_dlpv2", "shapes_dlpv3", "balls", "balls_ddlp", "balls_ddlp model.reconstruction=vgg", "balls_joint",
)  # fmt: skip
_READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
# Torch cannot tell the shape of what these give: that of what they take.
_SHAPELESS = (torch.ops.aten._sample_dirichlet.default, torch.ops.aten._dirichlet_grad.default)


@dataclass
class Waits:
    """By the line of this package that made them."""

    reads: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits = Waits()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _READS:
            self.waits.reads[_line()] += 1
            return 1 if func is _READS[0] else args[0].new_zeros((1, args[0].ndim), dtype=torch.long)
        if func in _SHAPELESS:
            return torch.empty_like(args[0])
        result = func(*args, **kwargs)
        devices = {x.device.type for x in tree_leaves((args, result)) if isinstance(x, Tensor) and x.ndim}
        if len(devices) > 1:
            self.waits.copies[_line()] += 1
        return result


def _line() -> str:
    """The innermost line of the package."""
    root = Path(config.__file__).parent
    for frame in reversed(traceback.extract_stack()):
        if root in Path(frame.filename).parents:
            return f"{Path(frame.filename).relative_to(root)}:{frame.lineno}"
    return "elsewhere"


def _make_fake(model: nn.Module, device: str) -> None:
    """Weights of the same shapes, inside of a FakeTensorMode."""
    for module in model.modules():
        for name, x in module.named_parameters(recurse=False):
            module.register_parameter(name, nn.Parameter(_like(x, device), x.requires_grad))
        for name, x in module.named_buffers(recurse=False):
            module.register_buffer(name, _like(x, device))


def _like(x: Tensor, device: str) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=device)


@contextmanager
def _fakes(device: str) -> Iterator[None]:
    """What fake tensors cannot do, or would have to fetch: cuDNN's own operators, a Hungarian match, VGG16."""
    network = reconstruction._Features(vgg.make_layers(vgg.cfgs["D"])).eval().requires_grad_(False)

    def in_place(self: Matcher, state: object, found: Particles) -> Tensor:  # noqa: ARG001
        return torch.arange(found.position.shape[1]).expand(len(found.position), -1)

    with (
        FakeTensorMode(allow_fallback_kernels=False),
        torch.backends.cudnn.flags(enabled=False),
        mock.patch("dlp_dyn.geometry.kernels.usable", return_value=True),
        mock.patch.object(Matcher, "_order", in_place),
        mock.patch("dlp_dyn.objectives.reconstruction._vgg16", return_value=network),
    ):
        _make_fake(network, device)
        yield


def waits(name: str, device: str, backward: bool, step: int | None = None) -> Waits:
    """Of one step of a config on a fake device: all of it but the backward pass, or its loss and the backward pass.

    step: which step of training it is, the first one after all phases where none is given.
    """
    base, *changes = name.split()
    cfg = config.load(base, ["data.path=unused", "batch_size=2", *changes])
    step = step or cfg.phases.warm_up_steps + cfg.phases.noisy_steps + 1
    side = cfg.model.image_size
    objective = setup.build_objective(cfg, setup.build_model(cfg))
    weights = objective.weights(cfg.weights)
    with (
        _fakes(device),
        mock.patch.object(Tensor, "backward", _backward if backward else _no_backward(objective)),
    ):
        _make_fake(objective, device)
        optimizer = torch.optim.AdamW(objective.parameters(), 1e-5, fused=True)
        watch, meter = (
            DivergenceWatch({"model": list(weights["model"])}, torch.device(device), {"model": 1.0}),
            Meter(),
        )
        clip = Clip(torch.empty(2, cfg.data.clip_length, side, side, 3, dtype=torch.uint8, device=device))

        def inspect(update: str, terms: dict[str, Tensor]) -> None:
            watch.add_terms(step, update, list(terms.values()))

        take_step = TrainingStep(objective, {"model": optimizer}, None, 1.0, inspect)
        with _Watch() as counter:
            try:
                logged = take_step([clip], weights, step)
            except _AfterBackward:
                return counter.waits
            watch.add_grad_norm(step, "model", logged.pop("grad_norm"))
            meter.add(logged)
    return counter.waits


class _AfterBackward(Exception):
    """Ends a step: fake gradients cannot be stepped along on every device."""


_real_backward = Tensor.backward


def _backward(loss: Tensor) -> None:
    _real_backward(loss)
    raise _AfterBackward


def _no_backward(objective: nn.Module) -> Callable[[Tensor], None]:
    def backward(loss: Tensor) -> None:  # noqa: ARG001
        for parameter in objective.parameters():
            parameter.grad = torch.empty_like(parameter)

    return backward


def main() -> None:
    for name in CONFIGS:
        forward, backward = waits(name, "cuda", False), waits(name, "cpu", True)
        print(f"{name}: {forward.reads.total()} reads, {forward.copies.total()} copies; backward: ", end="")
        print(f"{(backward.reads - forward.reads).total()} reads")
        for line, times in (forward.reads + forward.copies).most_common():
            print(f"    {times:3d} at {line}")


if __name__ == "__main__":
    main()
