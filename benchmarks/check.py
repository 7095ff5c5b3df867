"""Has anything become dearer? Counts of ours in units of the plain implementation's, against what they were.

python -m benchmarks.check

Operations, bytes and floating-point operations are counted, not timed: they are the same on a busy machine.
"""

import sys
from collections.abc import Callable
from functools import partial

import torch

from benchmarks import composite, crop, plain, training_step
from benchmarks.count import count
from benchmarks.measure import saved_bytes
from dlp_dyn import config, geometry
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.video import VideoConfig, VideoModel

SLACK = 1.1  # versions of torch count a little differently
CPU = torch.device("cpu")
# Ratio ours / plain when it was last looked at, and what it is of.
KNOWN = {
    "place and blend: saved bytes": 0.093,
    "place and blend: moved bytes": 0.265,
    "crop: saved bytes": 0.070,
    "crop: moved bytes": 0.072,
    "training step, tiny: operations": 1.028,
    "training step, tiny: saved bytes": 0.533,
    "training step, tiny: floating-point operations": 1.050,
    "rollout, graph: operations of 20 steps / of 10": 1.996,
}


def measured() -> dict[str, float]:
    """The ratios of `KNOWN` today."""
    return _geometry() | _step() | _rollout()


def _geometry() -> dict[str, float]:
    found = {}
    blending = composite.inputs(CPU, 4, 10, 16, 0.25)
    cropping = crop.inputs(CPU, 4, 32, 64)
    questions: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "place and blend": (
            partial(geometry.composite, *blending, 64),
            partial(plain.composite, *blending, 64),
        ),
        "crop": (
            partial(geometry.crop_glimpses, *cropping, 16),
            partial(plain.crop_glimpses, *cropping, 16),
        ),
    }
    for name, (ours, theirs) in questions.items():
        found[f"{name}: saved bytes"] = saved_bytes(ours) / saved_bytes(theirs)
        found[f"{name}: moved bytes"] = count(ours).moved / count(theirs).moved
    return found


def _step() -> dict[str, float]:
    ours, theirs = (training_step.build("tiny", is_plain, CPU, batch=2) for is_plain in (False, True))
    saved = [saved_bytes(loss, list(model.parameters())) for model, loss, _ in (ours, theirs)]
    counted = [count(step) for _, _, step in (ours, theirs)]
    return {
        "training step, tiny: operations": counted[0].operations / counted[1].operations,
        "training step, tiny: saved bytes": saved[0] / saved[1],
        "training step, tiny: floating-point operations": counted[0].flops / counted[1].flops,
    }


@torch.no_grad()
def _rollout() -> dict[str, float]:
    """A rollout that recomputes nothing grows with its horizon and not faster."""
    cfg = config.load("balls_joint", ["data.path=unused"])
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics)).eval()
    shape = 1, cfg.dynamics.window, cfg.model.n_particles
    widths = (2, 2, 1, 1, cfg.model.feature_dim)
    scene = Scene(
        Particles(*(torch.rand(*shape, width) for width in widths)),
        torch.rand(*shape[:2], cfg.model.background_dim),
    )
    rollout(model.dynamics, scene, 2)
    short, long = (count(partial(rollout, model.dynamics, scene, n)).operations for n in (10, 20))
    return {"rollout, graph: operations of 20 steps / of 10": long / short}


def main() -> int:
    """Exit code 1 where a ratio has grown."""
    grown = 0
    for name, ratio in measured().items():
        worse = ratio > SLACK * KNOWN[name]
        grown += worse
        print(f"{name}: {ratio:.3f}, was {KNOWN[name]:.3f}{'  GROWN' if worse else ''}")
    return min(grown, 1)


if __name__ == "__main__":
    sys.exit(main())
