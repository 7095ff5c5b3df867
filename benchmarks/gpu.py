"""Everything that is to be known of a GPU, in one call of less than ten minutes:

    python -m benchmarks.gpu --out gpu.json

First what the device reaches at most. Then the training step at the official obj3d128 sizes (4 clips of 11 frames),
without and with the perceptual loss, from the published way to all that makes it fast. Then the other questions, each
in a process of its own. The file is written anew after every answer: what was measured is kept when time runs out.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.clip_step import published
from benchmarks.count import Ceiling, ceiling, count, launches
from benchmarks.measure import machine, seconds, timing
from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.config import TrainConfig
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.training.step import TrainingStep
from dlp_dyn.video import VideoConfig, VideoModel

OBJ3D128 = (
    "batch_size=4", "data.clip_length=11", "model.image_size=128", "model.patch_size=16", "model.n_particles=12",
    "model.n_proposals=16", "model.feature_dim=8", "model.background_dim=8",
    "model.networks.background_channels=[32,64,128,256]",
)  # fmt: skip
SMALL = (
    "batch_size=1", "data.clip_length=5", "model.image_size=64", "model.patch_size=16", "model.n_particles=2",
    "model.n_proposals=4", "model.networks.background_channels=[32,64,128]", "dynamics.transformer.dim=16",
    "dynamics.transformer.n_layers=1",
)  # fmt: skip
SCRIPTS = ("composite", "crop", "training_step", "clip_step", "rollout", "encode", "loader")
SECONDS = 570.0  # for everything
ROUNDS = 10


@dataclass(frozen=True)
class Way:
    """One way to take the step. kernels: of `dlp_dyn.geometry.kernels`. exact: float32 products without TF32.

    compile: mode of torch.compile, or none.
    """

    name: str
    plain: bool = False
    exact: bool = False
    kernels: bool = True
    half: bool = False
    recompute: bool = False
    compile: str = "none"


WAYS = (
    Way("published", plain=True, exact=True, kernels=False),
    Way("published, TF32", plain=True, kernels=False),
    Way("ours, eager", kernels=False),
    Way("ours, fused compositor"),
    Way("ours, bf16", half=True),
    Way("ours, bf16, recompute", half=True, recompute=True),
    Way("ours, bf16, compiled", half=True, compile="default"),
    Way("ours, bf16, CUDA graphs", half=True, compile="reduce-overhead"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a GPU: see the head of this file.")
    parser.add_argument("--out", default="gpu.json", metavar="X.json", help="(default: gpu.json)")
    parser.add_argument("--device", default="cuda", help="(default: cuda)")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: shows that it runs")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    args = parser.parse_args()
    device = torch.device(args.device)
    if args.row:
        name, vgg, flops_ceiling, bytes_ceiling = json.loads(args.row)
        way = next(way for way in WAYS if way.name == name)
        print(json.dumps(step_row(way, vgg, device, args.quick, Ceiling(flops_ceiling, bytes_ceiling))))
    else:
        measure(device, args.quick, Path(args.out))


def measure(device: torch.device, quick: bool, out: Path) -> None:
    """Answer after answer, until the time is over."""
    deadline = time.monotonic() + SECONDS
    answer: dict[str, Any] = {"machine": machine(device), "steps": [], "scripts": {}, "left_out": []}
    flags = ["--device", str(device), *(["--quick"] if quick else [])]

    def apart(what: str, *command: str) -> Any:
        """What a process of its own prints; None, and a note, where it fails or there is no time."""
        left = max(deadline - time.monotonic(), 1)
        python = [sys.executable, "-m", *command, *flags]
        try:
            done = subprocess.run(python, stdout=subprocess.PIPE, text=True, timeout=left, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            keep("left_out", f"{what}: {type(error).__name__}")
            return None
        return json.loads(done.stdout)

    def keep(where: str, what: Any) -> None:
        answer[where].append(what) if isinstance(answer[where], list) else answer[where].update(what)
        out.write_text(json.dumps(answer, indent=2) + "\n")
        print(json.dumps(what), flush=True)

    most = ceiling(device, quick)
    answer["ceiling"] = asdict(most)
    ways = WAYS[2:4] if quick else WAYS
    kinds = (False,) if quick else (False, True)
    for vgg in kinds:
        for way in ways:
            if way.compile == "none":
                keep("steps", step_row(way, vgg, device, quick, most))
    for script in SCRIPTS:
        if (found := apart(script, f"benchmarks.{script}", "--json")) is not None:
            keep("scripts", {script: found["rows"]})
    # Last, since it takes as long as it likes.
    for vgg in kinds:
        for way in ways:
            request = json.dumps([way.name, vgg, most.flops, most.bytes])
            if (
                way.compile != "none"
                and (row := apart(way.name, "benchmarks.gpu", "--row", request)) is not None
            ):
                keep("steps", row)


def step_row(way: Way, vgg: bool, device: torch.device, quick: bool, most: Ceiling) -> dict[str, Any]:
    """Milliseconds, memory, launches and shares of the ceiling of one training step."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not way.exact
    torch.backends.cudnn.benchmark = True
    changes = (*OBJ3D128, *(SMALL if quick else ()), f"model.reconstruction={'vgg' if vgg else 'mse'}")
    cfg = config.load(
        "balls_ddlp", ["data.path=unused", *changes, f"model.networks.recompute={way.recompute}".lower()]
    )
    with _without_download(), _as(way, cfg.data.clip_length):
        model, step = build(cfg, way, device)
        for _ in range(1 if quick else 4):  # CUDA graphs are recorded in the second
            step()
        cuda = device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        taken = timing([seconds(step, device, 1) for _ in range(1 if quick else ROUNDS)])
        peak = torch.cuda.max_memory_allocated(device) if cuda else None
        started = launches(step, device)
        counted = count(step) if way.compile == "none" else None
    parameters = sum(p.numel() for p in model.parameters())
    row = {"way": way.name, "vgg": vgg, "parameters": parameters, "launches": started, "peak_bytes": peak}
    row |= {
        "seconds": asdict(taken),
        "frames_per_second": cfg.batch_size * cfg.data.clip_length / taken.median,
    }
    if counted is not None:
        ceiling_flops = most.flops["bfloat16" if way.half else "float32"]
        row |= {"mfu": counted.flops / taken.median / ceiling_flops} | asdict(counted)
        row |= {"bandwidth_share_if_uncached": counted.moved / taken.median / most.bytes}
    return row


def build(cfg: TrainConfig, way: Way, device: torch.device) -> tuple[VideoModel, Callable[[], None]]:
    """A model with random weights and its training step on random clips."""
    torch.manual_seed(0)
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics)).to(device)
    model.to(memory_format=torch.contiguous_format if way.plain else torch.channels_last)
    side = cfg.model.image_size
    frames = torch.randint(0, 256, (cfg.batch_size, cfg.data.clip_length, side, side, 3), dtype=torch.uint8)
    clip = Clip(frames).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, fused=not way.plain)
    objective = ClipElbo(model)
    weights = objective.weights(cfg.weights)
    if way.compile != "none":
        objective.compile(mode=way.compile)

    take_step = TrainingStep(objective, {"model": optimizer})

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=way.half):
            take_step([clip], weights)

    return model, step


@contextmanager
def _as(way: Way, n_frames: int) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(published(n_frames) if way.plain else nullcontext())
        if not way.kernels:
            stack.enter_context(mock.patch("dlp_dyn.geometry.kernels.usable", return_value=False))
        yield


@contextmanager
def _without_download() -> Iterator[None]:
    """The perceptual network with random weights, which take as long as others."""
    from torchvision.models import vgg16

    def random(instead: str) -> torch.nn.Sequential:  # noqa: ARG001
        features = vgg16(weights=None).features.eval().requires_grad_(False)
        assert isinstance(features, torch.nn.Sequential)
        for layer in features:
            if isinstance(layer, torch.nn.ReLU):
                layer.inplace = False
        return features

    with mock.patch("dlp_dyn.nn.pretrained.vgg16_features", random):
        yield


if __name__ == "__main__":
    main()
