"""The whole training step on clips: the tracked model at the official Balls sizes as it is, with recomputing, in half
precision too, and the lean model, all against the tracked model as published: float32, plain geometry, and
appearances encoded frame by frame."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.count import count
from benchmarks.measure import Cost, Row, compare, peak_and_base, saved_bytes
from benchmarks.plain import plain_geometry
from benchmarks.table import main
from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.image.appearance import AppearanceEncoder
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.training.step import TrainingStep
from dlp_dyn.video import VideoConfig, VideoModel

QUESTION = "one training step on clips: loss, backward, Adam"
BATCH = 8
PUBLISHED = "balls_ddlp"
OURS = ("balls_ddlp", "balls_ddlp recompute", "balls_ddlp bf16 recompute", "balls_joint")
QUICK = ("batch_size=1", "data.clip_length=5")


@contextmanager
def published(n_frames: int) -> Iterator[None]:
    """While open, models work the published way. The features of a frame are encoded before the next is looked at."""
    at_once = AppearanceEncoder.forward

    def frame_by_frame(
        self: AppearanceEncoder, glimpses: Float[Tensor, "B N 3 S S"]
    ) -> Float[Tensor, "B N D"]:
        frames = glimpses.unflatten(0, (-1, n_frames)).unbind(1)
        return torch.stack([at_once(self, frame) for frame in frames], 1).flatten(0, 1)

    with plain_geometry(), mock.patch.object(AppearanceEncoder, "forward", frame_by_frame):
        yield


def build(
    name: str, plain: bool, device: torch.device, quick: bool
) -> tuple[VideoModel, Callable[[], Tensor], Callable[[], None]]:
    """A model, its loss on random clips, and a whole step."""
    base, *variants = (PUBLISHED if plain else name).split()
    changes = [
        f"batch_size={BATCH}",
        f"model.networks.recompute={'recompute' in variants}".lower(),
        *(QUICK if quick else ()),
    ]
    training = config.load(base, ["data.path=unused", *changes])
    torch.manual_seed(0)
    model = VideoModel(VideoConfig(training.model, training.tracking, training.dynamics)).to(device)
    if plain:
        model.to(memory_format=torch.contiguous_format)
    length, side = training.data.clip_length, training.model.image_size
    frames = torch.randint(0, 256, (training.batch_size, length, side, side, 3), dtype=torch.uint8)
    clip = Clip(frames).to(device)
    objective = ClipElbo(model)
    weights = objective.weights(training.weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    take_step = TrainingStep(objective, {"model": optimizer})

    @contextmanager
    def way() -> Iterator[None]:
        half = torch.autocast(device.type, torch.bfloat16, enabled="bf16" in variants)
        with published(length) if plain else nullcontext(), half:
            yield

    def loss() -> Tensor:
        with way():
            return weighted_sum(objective(clip).terms, weights["model"])[0]

    def step() -> None:
        with way():
            take_step([clip], weights)

    return model, loss, step


def run(device: torch.device, quick: bool) -> list[Row]:
    return [row(name, device, quick) for name in (OURS[:1] if quick else OURS)]


def row(name: str, device: torch.device, quick: bool, rounds: int = 7) -> Row:
    """One of `OURS` against the published way."""
    built = [build(name, plain, device, quick) for plain in (False, True)]
    times = compare(built[0][2], built[1][2], device, 1 if quick else rounds)
    saved = [saved_bytes(loss, list(model.parameters())) for model, loss, _ in built]
    work = [count(step) for _, _, step in built]
    del built
    costs = [
        Cost(
            times[plain], saved[plain], *_peak_and_base(name, bool(plain), device, quick), work[plain].flops,
            work[plain].moved, half=not plain and "bf16" in name,
        )
        for plain in (False, True)
    ]  # fmt: skip
    return Row("training step on clips", f"{name}, {1 if quick else BATCH} clips", costs[0], costs[1])


def _peak_and_base(name: str, plain: bool, device: torch.device, quick: bool) -> tuple[int, int]:
    """Bytes held at most during three steps, and before them; on a CPU in a process of its own."""
    if device.type == "cuda":  # whose allocator can tell
        return peak_and_base(build(name, plain, device, quick)[2], device)
    request = json.dumps([name, plain, str(device), quick, torch.get_num_threads()])
    command = [sys.executable, "-m", "benchmarks.clip_step", "--peak", request]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    peak, base = json.loads(answer.stdout)
    return peak, base


def _print_peak(request: str) -> None:
    name, plain, device_name, quick, threads = json.loads(request)
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    step = build(name, plain, device, quick)[2]
    print(json.dumps(peak_and_base(step, device)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _print_peak(sys.argv[2])
    else:
        main(QUESTION, run)
