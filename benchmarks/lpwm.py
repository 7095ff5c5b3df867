"""LPWM at the published sizes of `balls`: a training step and a rollout, against the plain way to compute the same.

    python -m benchmarks.lpwm

Plain: attention in matrices, every token's modulation made anew from its condition, geometry on whole canvases, and in
rollouts the whole window through both trunks at each step, as the published implementation does. Without dropout, so
that both give the same numbers, which is checked. Clips have FRAMES frames in the place of the published 21. Then the
time of one predicted frame at several horizons, of the lean preset. On a CPU times are of the processor, which other
work beside it changes least.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks import plain_rollout
from benchmarks.count import count
from benchmarks.measure import Cost, Row, Timing, peak_and_base, saved_bytes, timing
from benchmarks.plain import plain_geometry
from benchmarks.table import main
from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.latent_actions import LatentActionDynamics
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.lpwm import LatentActionElbo
from dlp_dyn.particles import Scene, mean
from dlp_dyn.training.step import TrainingStep
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoConfig, VideoModel

QUESTION = "LPWM, sizes of balls as published"
LEAN, PUBLISHED = "balls_lpwm", "balls_lpwm_published"
CLIPS, FRAMES, CONTEXT, HORIZON = 1, 6, 10, 4
HORIZONS = (10, 20, 40)
ROUNDS = 5
TOLERANCE = 1e-4  # of the loss and of positions


@contextmanager
def published() -> Iterator[None]:
    """While open, models work the published way."""

    def plainly(
        self: FactorisedTrunk, x: Float[Tensor, "B T N D"], condition: Float[Tensor, "*B T _ D"] | None
    ) -> Float[Tensor, "B T N D"]:
        return plain_rollout.factorised(self, x, condition)

    with plain_geometry(), mock.patch.object(FactorisedTrunk, "forward", plainly):
        yield


def build(
    plain: bool, device: torch.device, quick: bool, preset: str = PUBLISHED
) -> tuple[VideoModel, Callable[[], Tensor], Callable[[], None]]:
    """A model whose gates are open, its loss on a random clip, and a whole step."""
    training = config.load(
        LEAN if quick else preset, ["data.path=unused", "dynamics.latent_actions.dropout=0.0"]
    )
    torch.manual_seed(0)
    model = VideoModel(VideoConfig(training.model, training.tracking, training.dynamics)).to(device)
    with torch.no_grad():
        for name, x in model.dynamics.named_parameters():
            if "modulation" in name:
                x.normal_(0, 0.02)
    if plain:
        model.to(memory_format=torch.contiguous_format)
    length, side = 3 if quick else FRAMES, training.model.image_size
    clip = Clip(torch.randint(0, 256, (CLIPS, length, side, side, 3), dtype=torch.uint8)).to(device)
    objective = LatentActionElbo(model, sample=mean)
    weights = objective.weights(training.weights)
    take_step = TrainingStep(objective, {"model": torch.optim.Adam(model.parameters(), lr=1e-8)})

    def loss() -> Tensor:
        with published() if plain else nullcontext():
            return weighted_sum(objective(clip).terms, weights["model"])[0]

    def step() -> None:
        with published() if plain else nullcontext():
            take_step([clip], weights)

    return model, loss, step


@torch.no_grad()
def plainly_rolled(dynamics: LatentActionDynamics, context: Scene, horizon: int) -> Scene:
    """`rollout`, with both trunks run over the whole window at every step."""
    history, latent = context, dynamics.infer(context)
    for _ in range(horizon):
        window = history[:, -dynamics.window :]
        latent = torch.cat([latent, dynamics.context(window)[1].mean[:, -1:]], 1)
        following = dynamics.dynamics(window, latent[:, -window.background.shape[1] :])
        history = cat([history, following.mean[:, -1:]], 1)
    return history


def run(device: torch.device, quick: bool) -> list[Row]:
    return [training_row(device, quick), *rollout_rows(device, quick)]


def training_row(device: torch.device, quick: bool) -> Row:
    built = [build(plain, device, quick) for plain in (False, True)]
    losses = [float(loss().detach()) for _, loss, _ in built]
    assert abs(losses[0] - losses[1]) < TOLERANCE * abs(losses[1]), losses
    times = paired(built[0][2], built[1][2], device)
    saved = [saved_bytes(loss, list(model.parameters())) for model, loss, _ in built]
    work = count(built[0][2])
    del built
    costs = [
        Cost(times[plain], saved[plain], *_peak_and_base(bool(plain), device, quick), work.flops, work.moved)
        for plain in (False, True)
    ]
    return Row("training step on clips", f"{CLIPS} clip of {FRAMES} frames", costs[0], costs[1])


@torch.no_grad()
def rollout_rows(device: torch.device, quick: bool) -> list[Row]:
    model = build(False, device, quick)[0].eval()
    dynamics, side = model.dynamics, model.cfg.image.image_size
    assert isinstance(dynamics, LatentActionDynamics)
    context = model.encode(torch.rand(CLIPS, CONTEXT, 3, side, side, device=device))[0].scene
    horizon = 2 if quick else HORIZON

    def ours() -> Scene:
        return rollout(dynamics, context, horizon)

    def plain() -> Scene:
        with published():
            return plainly_rolled(dynamics, context, horizon)

    a, b = (call().particles.position for call in (ours, plain))
    assert (a - b).abs().max() < TOLERANCE * 10, (a - b).abs().max()
    times = paired(ours, plain, device)
    size = f"{CONTEXT} -> {CONTEXT + horizon} frames"
    rows = [Row("rollout, dynamics", size, *(Cost(t, saved=0) for t in times))]
    return rows + [
        Row("a predicted frame, lean preset", f"horizon {n}", Cost(timing([t]), saved=0), None)
        for n, t in frame_times(device, (2, 3) if quick else HORIZONS)
    ]


@torch.no_grad()
def frame_times(device: torch.device, horizons: tuple[int, ...]) -> Iterator[tuple[int, float]]:
    """Of the lean model's dynamics, from a full window."""
    model = build(False, device, False, LEAN)[0].eval()
    side, window = model.cfg.image.image_size, model.dynamics.window
    context = model.encode(torch.rand(CLIPS, window, 3, side, side, device=device))[0].scene
    rollout(model.dynamics, context, 1)
    for n in horizons:
        yield n, spent(lambda n=n: rollout(model.dynamics, context, n), device) / n


def paired(ours: Callable[[], Any], plain: Callable[[], Any], device: torch.device) -> tuple[Timing, Timing]:
    """Seconds of both in turns, ROUNDS of each, after a call of each that does not count."""
    for call in (ours, plain):
        call()
    rounds = [(spent(ours, device), spent(plain, device)) for _ in range(ROUNDS)]
    a, b = zip(*rounds, strict=True)
    return timing(list(a)), timing(list(b))


def spent(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the processor or, of a GPU, on the clock."""
    clock = time.process_time
    if device.type == "cuda":
        clock = time.perf_counter
        torch.cuda.synchronize(device)
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _peak_and_base(plain: bool, device: torch.device, quick: bool) -> tuple[int, int]:
    """Bytes held at most during three steps, and before them, in a process of its own."""
    request = json.dumps([plain, str(device), quick, torch.get_num_threads()])
    command = [sys.executable, "-m", "benchmarks.lpwm", "--peak", request]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    peak, base = json.loads(answer.stdout)
    return peak, base


def _print_peak(request: str) -> None:
    plain, device_name, quick, threads = json.loads(request)
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    print(json.dumps(peak_and_base(build(plain, device, quick)[2], device)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _print_peak(sys.argv[2])
    else:
        main(QUESTION, run)
