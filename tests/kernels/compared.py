"""The fused compositor beside the eager one, case by case; prints the largest differences of each as JSON.

    TRITON_INTERPRET=1 python tests/kernels/compared.py cpu
    TRITON_INTERPRET=1 python tests/kernels/compared.py cpu compiled
    python tests/kernels/compared.py cuda
    python tests/kernels/compared.py cuda compiled

A process of its own: Triton asks for its interpreter once, when it is imported, and does not read functions that
pytest's type checks have wrapped.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
import torch._dynamo.utils
from torch import Tensor

from dlp_dyn import config, geometry
from dlp_dyn.clip import Clip
from dlp_dyn.geometry.kernels import composite as kernel
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Objective, weighted_sum
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.particles import mean
from dlp_dyn.video import VideoConfig, VideoModel

SMALL_CLIPS = (
    "model.n_particles=2", "model.n_proposals=3", "model.patch_size=16", "tracking.static_frames=1",
    "dynamics.transformer.dim=16", "dynamics.transformer.n_layers=1", "dynamics.transformer.dropout=0",
)  # fmt: skip
NAMES = ("glimpses", "position", "size", "transparency", "depth")
Inputs = list[Tensor]


def drawn(b: int = 1, n: int = 2, side: int = 8, low: float = 0.1, high: float = 0.6) -> Inputs:
    torch.manual_seed(0)
    return [
        torch.rand(b, n, 4, side, side),
        2 * torch.rand(b, n, 2) - 1,
        low + (high - low) * torch.rand(b, n, 2),
        torch.rand(b, n, 1),
        torch.randn(b, n, 1),
    ]


def near(**sizes: int) -> Inputs:
    """What the kernel itself takes: nearness in place of depth."""
    return changed(drawn(**sizes), 4, torch.sigmoid)


def changed(inputs: Inputs, index: int, change: Callable[[Tensor], Tensor]) -> Inputs:
    return [change(x) if i == index else x for i, x in enumerate(inputs)]


def strided(inputs: Inputs) -> Inputs:
    """The same numbers, none of them contiguous."""
    glimpses, *others = inputs
    last = (
        glimpses.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, glimpses.shape[:2])
    )
    return [last, *(torch.stack([x, x], -1)[..., 0] for x in others)]


def on_pixels() -> Inputs:
    """Every pixel of the canvas on one of the glimpse, where tents have their tips."""
    inputs = changed(drawn(), 1, torch.zeros_like)
    return changed(inputs, 2, torch.ones_like)


# Name: (inputs, side of the canvas, align_corners).
CASES: dict[str, tuple[Inputs, int, bool]] = {
    "plain": (drawn(b=2), 20, True),
    "pixel borders": (drawn(), 16, False),
    "odd canvas": (drawn(n=3), 17, True),
    "odd glimpse": (drawn(side=7), 15, False),
    "large glimpse": (drawn(n=1, side=19), 12, True),
    "one particle": (drawn(n=1), 16, True),
    "not contiguous": (strided(drawn(b=2)), 13, True),
    "outside": (changed(drawn(), 1, lambda x: 3 * x.sign() + x), 16, True),
    "half outside": (changed(drawn(), 1, torch.sign), 15, True),
    "larger than the canvas": (changed(drawn(), 2, lambda x: x + 1.5), 12, True),
    "tiny": (changed(changed(drawn(), 1, torch.zeros_like), 2, lambda x: x * 1e-2), 17, True),
    "not there": (changed(drawn(), 3, torch.zeros_like), 16, True),
    "one of them not there": (changed(drawn(), 3, lambda x: x * (x > x.min())), 16, True),
    "near and far": (changed(drawn(), 4, lambda x: 30 * x), 16, True),
    "on pixels": (on_pixels(), 8, True),
}


def compare(inputs: Inputs, canvas: int, align_corners: bool, device: str) -> dict[str, float]:
    """Largest difference of results, and of gradients in units of the largest one."""
    inputs = [x.to(device).requires_grad_() for x in inputs]
    eager, fused = (eager_or_fused(inputs, canvas, align_corners, fused) for fused in (False, True))
    last = {"memory_format": torch.channels_last}  # gradients come in any layout
    weights = [torch.randn(x.shape).to(device).contiguous(**last) for x in eager]
    gradients = [torch.autograd.grad(x, inputs, weights) for x in (eager, fused)]
    found = {"image": max(float((a - b).detach().abs().max()) for a, b in zip(eager, fused, strict=True))}
    for name, a, b in zip(NAMES, *gradients, strict=True):
        found[name] = float((a - b).abs().max() / a.abs().max().clamp_min(1))
    return found


def eager_or_fused(inputs: Inputs, canvas: int, align_corners: bool, fused: bool) -> tuple[Tensor, Tensor]:
    glimpses, position, size, transparency, depth = inputs
    return geometry.composite(
        glimpses, position, size, transparency, depth, canvas, align_corners=align_corners, fused=fused
    )


def kernel_alone(*inputs: Tensor, canvas: int) -> tuple[Tensor, Tensor]:
    glimpses, position, size, transparency, nearness = inputs
    return kernel.composite(glimpses, position, size, transparency, nearness, canvas)


def check_gradients(device: str) -> bool:
    """Against finite differences, in double precision."""
    inputs = [x.double().to(device).requires_grad_() for x in near(side=3)]
    return torch.autograd.gradcheck(partial(kernel_alone, canvas=7), inputs, fast_mode=True)


def model_terms(device: str) -> dict[str, float]:
    """A model's loss and gradients, with kernels and without."""
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        cfg = config.load("tiny", ["data.path=unused"])
        model = DLP(cfg.model).to(device)
        clip = Clip(torch.randint(0, 256, (1, 1, 32, 32, 3), dtype=torch.uint8)).to(device)
        objective = ImageElbo(model, sample=mean)
        with mock.patch("dlp_dyn.geometry.kernels.usable", return_value=fused):
            terms = objective(clip).terms
        loss = weighted_sum(terms, objective.weights(cfg.weights)["model"])[0]
        gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        found.append((loss.detach(), torch.cat([g.flatten() for g in gradients if g is not None])))
    (loss, gradient), (fused_loss, fused_gradient) = found
    return {
        "loss": float((loss - fused_loss).abs() / loss.abs()),
        "gradient": float((gradient - fused_gradient).abs().max() / gradient.abs().max()),
    }


def compiled_terms(video: bool, device: str) -> dict[str, float]:
    """A model's loss and gradients, compiled without a single break, and as it is; the kernel draws both."""
    torch.manual_seed(0)
    if video:
        cfg = config.load("balls_ddlp", ["data.path=unused", *SMALL_CLIPS])
        model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics)).to(device)
        objective: Objective = ClipElbo(model, sample=mean)
    else:
        cfg = config.load("tiny", ["data.path=unused"])
        objective = ImageElbo(DLP(cfg.model).to(device), sample=mean)
    length, side = (3 if video else 1), cfg.model.image_size
    clip = Clip(torch.randint(0, 256, (1, length, side, side, 3), dtype=torch.uint8)).to(device)
    parameters, weights = list(objective.parameters()), objective.weights(cfg.weights)["model"]
    found = []
    with (
        mock.patch("dlp_dyn.geometry.kernels.usable", _always),  # a plain function: the compiler reads it
    ):
        for compile in (False, True):
            if compile and device == "cpu":  # all of the compiler but the kernels that it writes
                objective.compile(backend="aot_eager", fullgraph=True)
            elif compile:
                objective.compile(mode="reduce-overhead", fullgraph=True)
            for _ in range(
                3 if compile and device != "cpu" else 1
            ):  # CUDA graphs are replayed from the third on
                torch.compiler.cudagraph_mark_step_begin()
                loss = weighted_sum(objective(clip).terms, weights)[0]
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
                found = [
                    *found[:1],
                    (loss.detach().clone(), [g if g is None else g.clone() for g in gradients]),
                ]
    (loss, gradients), (compiled_loss, compiled_gradients) = found
    pairs = [
        (a, b) for a, b in zip(gradients, compiled_gradients, strict=True) if a is not None and b is not None
    ]
    largest = max(a.abs().max() for a, _ in pairs)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return {
        "loss": float((loss - compiled_loss).abs() / loss.abs()),
        "gradient": float(max((a - b).abs().max() for a, b in pairs) / largest),
        "graphs": graphs,
    }


def _always(device: torch.device) -> bool:  # noqa: ARG001
    return True


def operators_hold(device: str) -> bool:
    """What a compiler is told of the operators is true of them: shapes, layouts, gradients."""
    glimpses, *places = (x.to(device).requires_grad_() for x in near())
    tensors = (glimpses.detach().flatten(0, 1).requires_grad_(), *places)
    torch.library.opcheck(kernel._forward, (*tensors, 16, True))
    still = [x.detach() for x in tensors]
    torch.library.opcheck(kernel._backward, (*still, torch.randn(1, 5, 16, 16, device=device), True))
    return True


def broken(device: str) -> bool:
    """Whether a place that is no number shows in the picture."""
    inputs = [x.to(device) for x in changed(near(), 1, lambda x: x * float("nan"))]
    return bool(kernel_alone(*inputs, canvas=16)[0].isnan().any())


def _main(device: str) -> None:
    answer: dict[str, object] = {name: compare(*case, device) for name, case in CASES.items()}
    answer |= {
        "gradcheck": check_gradients(device),
        "model": model_terms(device),
        "operators": operators_hold(device),
        "broken shows": broken(device),
    }
    repeats = [torch.stack([x.sum() for x in _gradients(device)]) for _ in range(2)]
    answer["repeats"] = torch.equal(*repeats)
    print(json.dumps(answer))


def _compiled(device: str) -> None:
    print(json.dumps({"images": compiled_terms(False, device), "clips": compiled_terms(True, device)}))


def _gradients(device: str) -> tuple[Tensor, ...]:
    inputs = [x.to(device).requires_grad_() for x in near()]
    return torch.autograd.grad(kernel_alone(*inputs, canvas=16)[0].square().sum(), inputs)


if __name__ == "__main__":
    (_compiled if "compiled" in sys.argv else _main)(sys.argv[1])
