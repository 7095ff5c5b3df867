"""Cropping: one sampling grid an image against an image tiled for every crop; forward and backward."""

from functools import partial

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.count import count
from benchmarks.measure import Cost, Row, compare, saved_bytes
from benchmarks.table import main
from dlp_dyn import geometry

QUESTION = "crop glimpses, forward and backward"
SIZES = [
    (32, 64, 16, 64),
    (32, 10, 16, 64),
    (4, 256, 16, 128),
]  # images, crops of each, crop side, image side


def run(device: torch.device, quick: bool) -> list[Row]:
    return [_row(device, quick, *size) for size in ([(2, 4, 8, 32)] if quick else SIZES)]


def inputs(device: torch.device, batch: int, n: int, canvas: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random images, positions and sizes; the last two want gradients."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 3, canvas, canvas, generator=generator).to(device)
    position = (2 * torch.rand(batch, n, 2, generator=generator) - 1).to(device).requires_grad_()
    size = (0.05 + 0.2 * torch.rand(batch, n, 2, generator=generator)).to(device).requires_grad_()
    return images, position, size


def _row(device: torch.device, quick: bool, batch: int, n: int, side: int, canvas: int) -> Row:
    images, position, size = inputs(device, batch, n, canvas)
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(batch, n, 3, side, side, generator=generator).to(device)
    forwards = [
        partial(f, images, position, size, side) for f in (geometry.crop_glimpses, plain.crop_glimpses)
    ]
    calls = [lambda f=f: torch.autograd.grad(f(), (position, size), weight) for f in forwards]
    times = compare(calls[0], calls[1], device, 1 if quick else 15)
    costs = [
        Cost(t, saved_bytes(f), moved=count(call).moved)
        for t, f, call in zip(times, forwards, calls, strict=True)
    ]
    return Row("crop", f"{batch} images x {n} crops of {side}, at {canvas}", costs[0], costs[1])


if __name__ == "__main__":
    main(QUESTION, run)
