"""A deterministic rollout of 4 clips, 10 -> 100 frames, stage by stage, against the one that recomputes everything.

The official DDLP's sizes, and the lean image model with graph dynamics; the lean one against the official sizes' plain
rollout too. Then the time of one predicted frame at several horizons, which should not grow.
"""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks import plain_rollout
from benchmarks.count import Count, count
from benchmarks.measure import Cost, Row, Timing, timing
from benchmarks.plain import plain_geometry
from benchmarks.table import main
from dlp_dyn import config
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.particles import Scene, logit
from dlp_dyn.video import VideoConfig, VideoModel

QUESTION = "predict: 4 clips, 10 frames seen"
CLIPS, CONTEXT, HORIZON = 4, 10, 90
OFFICIAL, LEAN = "balls_ddlp", "balls_video"
STAGES = ("tracking", "dynamics", "decoding", "whole")
HORIZONS = (10, 50, 100, 400)

Times = dict[str, Timing]


def build(name: str, device: torch.device) -> VideoModel:
    """With random weights. A config of the second stage gets the image model that `balls` trains."""
    cfg = config.load(name, ["data.path=none"])
    image = config.load("balls", ["data.path=none"]).model if cfg.stage == "dynamics" else cfg.model
    torch.manual_seed(0)
    return VideoModel(VideoConfig(image, cfg.tracking, cfg.dynamics)).to(device).eval()


def run(device: torch.device, quick: bool) -> list[Row]:
    horizon, rounds = (2, 1) if quick else (HORIZON, 4)
    official, lean = (build(name, device) for name in (OFFICIAL, LEAN))
    models = ((OFFICIAL, official), (LEAN, lean))
    times = {name: _stages(model, horizon, rounds) for name, model in models}
    work = {name: _work(model, horizon) for name, model in models}
    length = f"{CONTEXT} -> {CONTEXT + horizon} frames"
    rows = [
        _row(stage, f"{name}, {length}", ours[stage], plain[stage], work[name][stage])
        for name, (ours, plain) in times.items()
        for stage in STAGES
    ]
    reference = times[OFFICIAL][1]
    rows += [
        _row(stage, f"{LEAN} against plain {OFFICIAL}", times[LEAN][0][stage], reference[stage])
        for stage in STAGES
    ]
    for name, model in models:
        each = _a_frame(model, HORIZONS[:1] if quick else HORIZONS, 1 if quick else 3)
        rows += [_row("a predicted frame", f"{name}, horizon {n}", t) for n, t in each.items()]
    return rows


def _row(
    question: str, size: str, ours: Timing, plain: Timing | None = None, work: Count | None = None
) -> Row:
    flops, moved = (None, None) if work is None else (work.flops, work.moved)
    cost = Cost(ours, saved=0, flops=flops, moved=moved)
    return Row(question, size, cost, None if plain is None else Cost(plain, saved=0))


@torch.no_grad()
def _work(model: VideoModel, horizon: int) -> dict[str, Count]:
    """What there is to do in each stage of ours."""
    side, device = model.cfg.image.image_size, next(model.parameters()).device
    video = torch.rand(CLIPS, CONTEXT, 3, side, side, device=device)
    context = model.encode(video)[0].scene
    scene = sized(model, rollout(model.dynamics, context, horizon))
    stages = {
        "tracking": count(lambda: model.encode(video)),
        "dynamics": count(lambda: rollout(model.dynamics, context, horizon)),
        "decoding": count(lambda: model.images(scene)),
    }
    sums = (sum(getattr(part, f.name) for part in stages.values()) for f in fields(Count))
    return stages | {"whole": Count(*sums)}


def _stages(model: VideoModel, horizon: int, rounds: int) -> tuple[Times, Times]:
    """Of ours and of the plain rollout, in turns; a round before the first is thrown away."""
    side, device = model.cfg.image.image_size, next(model.parameters()).device
    video = torch.rand(CLIPS, CONTEXT, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    calls: tuple[Callable[[], list[float]], ...] = (
        partial(_ours, model, video, horizon),
        partial(_plain, model, video, horizon),
    )
    taken: tuple[list[list[float]], list[list[float]]] = ([], [])
    for i in range(rounds + 1):
        for which in (0, 1) if i % 2 == 0 else (1, 0):
            taken[which].append(calls[which]())
    ours, plain = (
        {
            stage: timing(list(seconds))
            for stage, seconds in zip(STAGES, zip(*all_[1:], strict=True), strict=True)
        }
        for all_ in taken
    )
    return ours, plain


@torch.no_grad()
def _ours(model: VideoModel, video: Tensor, horizon: int) -> list[float]:
    marks = [now(video)]
    context = model.encode(video)[0].scene
    marks.append(now(video))
    scene = rollout(model.dynamics, context, horizon)
    marks.append(now(video))
    model.images(sized(model, scene))
    return _durations([*marks, now(video)])


@torch.no_grad()
def _plain(model: VideoModel, video: Tensor, horizon: int) -> list[float]:
    marks = [now(video)]
    with plain_geometry():
        context = model.encode(video)[0].scene
    marks.append(now(video))
    scene = plain_rollout.rollout(model.dynamics, context, horizon)
    marks.append(now(video))
    plain_rollout.images(model, sized(model, scene))
    return _durations([*marks, now(video)])


def now(like: Tensor) -> float:
    if like.device.type == "cuda":
        torch.cuda.synchronize(like.device)
    return time.perf_counter()


def _durations(marks: list[float]) -> list[float]:
    """Of every stage, and of all."""
    return [b - a for a, b in pairwise(marks)] + [marks[-1] - marks[0]]


def sized(model: VideoModel, scene: Scene) -> Scene:
    """Glimpses of the size that a trained model has: the time of drawing depends on it, random weights give any."""
    p = scene.particles
    size = torch.full_like(p.scale, logit(model.cfg.image.glimpse_fraction))
    return replace(scene, particles=replace(p, scale=size))


@torch.no_grad()
def _a_frame(model: VideoModel, horizons: tuple[int, ...], rounds: int) -> dict[int, Timing]:
    """Seconds of dynamics for one frame of all clips, from a full window."""
    side, device = model.cfg.image.image_size, next(model.parameters()).device
    context = model.encode(torch.rand(CLIPS, CONTEXT, 3, side, side, device=device))[0].scene
    taken: dict[int, list[float]] = {n: [] for n in horizons}
    rollout(model.dynamics, context, min(horizons))
    for i in range(rounds):
        for n in horizons if i % 2 == 0 else horizons[::-1]:
            start = now(context.background)
            rollout(model.dynamics, context, n)
            taken[n].append((now(context.background) - start) / n)
    return {n: timing(seconds) for n, seconds in taken.items()}


if __name__ == "__main__":
    main(QUESTION, run)
