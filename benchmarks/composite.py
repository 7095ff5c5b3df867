"""Placing and blending: windows and running sums against a stack of canvases; forward and backward."""

from functools import partial

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.count import count
from benchmarks.measure import Cost, Row, compare, saved_bytes
from benchmarks.table import main
from dlp_dyn import geometry

QUESTION = "place and blend glimpses, forward and backward"
# Images, particles, glimpse side, canvas side, largest glimpse as a fraction of the canvas.
SIZES = [(32, 10, 16, 64, 0.25), (32, 10, 16, 64, 0.5), (32, 24, 16, 128, 0.25), (4, 90, 16, 128, 0.2)]


def run(device: torch.device, quick: bool) -> list[Row]:
    return [_row(device, quick, *size) for size in ([(2, 4, 8, 32, 0.25)] if quick else SIZES)]


def inputs(
    device: torch.device, batch: int, n: int, side: int, largest: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random glimpses, positions, sizes, transparencies and depths; all want gradients."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = low + (high - low) * torch.rand(*shape, generator=generator)
        return drawn.to(device).requires_grad_()

    return (
        uniform(batch, n, 4, side, side),
        uniform(batch, n, 2, low=-1),
        uniform(batch, n, 2, low=0.25 * largest, high=largest),
        uniform(batch, n, 1),
        uniform(batch, n, 1, low=-1),
    )


def _row(
    device: torch.device, quick: bool, batch: int, n: int, side: int, canvas: int, largest: float
) -> Row:
    given = inputs(device, batch, n, side, largest)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.rand(batch, c, canvas, canvas, generator=generator).to(device) for c in (3, 1)]
    forwards = [partial(f, *given, canvas) for f in (geometry.composite, plain.composite)]
    calls = [lambda f=f: torch.autograd.grad(f(), given, weights) for f in forwards]
    times = compare(calls[0], calls[1], device, 1 if quick else 15)
    costs = [
        Cost(t, saved_bytes(f), moved=count(call).moved)
        for t, f, call in zip(times, forwards, calls, strict=True)
    ]
    label = f"{batch} images x {n} glimpses of {side}, at {canvas}, up to {largest:g} of it"
    return Row("place and blend", label, costs[0], costs[1])


if __name__ == "__main__":
    main(QUESTION, run)
