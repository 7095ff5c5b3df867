"""Placing and blending: windows and running sums against a stack of canvases; forward and backward."""

from functools import partial

import torch

from benchmarks import plain
from benchmarks.measure import Cost, Row, compare, main, saved_bytes
from dlp_dyn import geometry

QUESTION = "place and blend glimpses, forward and backward"
# Images, particles, glimpse side, canvas side, largest glimpse as a fraction of the canvas.
SIZES = [(32, 10, 16, 64, 0.25), (32, 10, 16, 64, 0.5), (32, 24, 16, 128, 0.25), (4, 90, 16, 128, 0.2)]


def run(device: torch.device, quick: bool) -> list[Row]:
    return [_row(device, quick, *size) for size in ([(2, 4, 8, 32, 0.25)] if quick else SIZES)]


def _row(
    device: torch.device, quick: bool, batch: int, n: int, side: int, canvas: int, largest: float
) -> Row:
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        drawn = low + (high - low) * torch.rand(*shape, generator=generator)
        return drawn.to(device).requires_grad_()

    inputs = (
        uniform(batch, n, 4, side, side),
        uniform(batch, n, 2, low=-1),
        uniform(batch, n, 2, low=0.25 * largest, high=largest),
        uniform(batch, n, 1),
        uniform(batch, n, 1, low=-1),
    )
    weights = [torch.rand(batch, c, canvas, canvas, generator=generator).to(device) for c in (3, 1)]
    forwards = [partial(f, *inputs, canvas) for f in (geometry.composite, plain.composite)]
    calls = [lambda f=f: torch.autograd.grad(f(), inputs, weights) for f in forwards]
    times = compare(calls[0], calls[1], device, 1 if quick else 15)
    costs = [Cost(t, saved_bytes(f)) for t, f in zip(times, forwards, strict=True)]
    label = f"{batch} images x {n} glimpses of {side}, at {canvas}, up to {largest:g} of it"
    return Row("place and blend", label, costs[0], costs[1])


if __name__ == "__main__":
    main(QUESTION, run)
