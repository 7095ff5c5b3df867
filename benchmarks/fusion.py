"""How many operations a training step on clips starts: as published, ours, and ours compiled. Takes minutes.

    python -m benchmarks.fusion

DDLP with obj3d128's 11 frames and layers, images and channels small, because numbers of operations do not depend on
them. On a CPU the compiler fuses what it would on a GPU, so this tells about how many launches are left there; the
compositor's kernel counts as one operation and runs in Triton's interpreter. With CUDA graphs, every compiled part is
one launch forward and one backward.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

from collections import Counter
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor
from torch._inductor import config as inductor
from torch.profiler import ProfilerActivity, profile

from benchmarks.clip_step import published
from benchmarks.count import count
from benchmarks.gpu import OBJ3D128, SMALL
from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.video import VideoConfig, VideoModel

LAYERS = "dynamics.transformer.n_layers=6"
PARTS = 4  # that a tracked model is compiled in; one of them is called for every frame but the first
# What a compiled step calls beside its fused loops, and how many kernels each is on a GPU.
CALLS = {
    "aten::mm": 1, "aten::addmm": 1, "aten::bmm": 1, "aten::baddbmm": 1, "aten::convolution": 1,
    "aten::convolution_backward": 2, "dlp_dyn::composite": 1, "dlp_dyn::composite_backward": 1,
    "aten::_scaled_dot_product_flash_attention_for_cpu": 1,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": 1, "aten::_sample_dirichlet": 1,
    "aten::_dirichlet_grad": 1, "aten::grid_sampler_2d": 1, "aten::grid_sampler_2d_backward": 1,
}  # fmt: skip


def build(n_frames: int) -> tuple[ClipElbo, Callable[[], tuple[Tensor, ...]]]:
    """An objective of a model with random weights, and the gradients of a step on a random clip."""
    changes = ("data.path=unused", *OBJ3D128, *SMALL, LAYERS, f"data.clip_length={n_frames}")
    cfg = config.load("balls_ddlp", changes)
    torch.manual_seed(0)
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics))
    objective = ClipElbo(model)
    weights = objective.weights(cfg.weights)
    side = cfg.model.image_size
    clip = Clip(torch.randint(0, 256, (1, n_frames, side, side, 3), dtype=torch.uint8))

    def step() -> tuple[Tensor, ...]:
        loss = weighted_sum(objective(clip).terms, weights["model"])[0]
        return torch.autograd.grad(loss, list(model.parameters()))

    return objective, step


def _always(device: torch.device) -> bool:  # noqa: ARG001
    return True


def main(n_frames: int = 11) -> None:
    inductor.cpp.enable_kernel_profile = True
    objective, step = build(n_frames)
    with published(n_frames):
        print(f"published: {count(step).operations} operations")
    with mock.patch("dlp_dyn.geometry.kernels.usable", _always):
        print(f"ours: {count(step).operations} operations")
        objective.compile(fullgraph=True)
        step()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            step()
    called = Counter(event.name for event in profiler.events() or [])
    fused = sum(times for name, times in called.items() if "cpp_fused" in name)
    calls = {name: times * called[name] for name, times in CALLS.items() if called[name]}
    print(f"compiled: {fused + sum(calls.values())} operations, of which {fused} fused loops; {calls}")
    print(f"with CUDA graphs: {2 * (PARTS - 1 + n_frames - 1)} launches, and those of the optimiser")


if __name__ == "__main__":
    main()
