"""How far things move from frame to frame, of tracks that are known."""

import pytest
import torch

from dlp_dyn.particles import Particles
from dlp_dyn.training.motion import motion_unit


def track(*places: torch.Tensor, on: float = 1.0) -> Particles:
    position = torch.stack(places, 1)
    one = torch.full((*position.shape[:2], 1), on)
    return Particles(position, torch.zeros_like(position), one, one, one)


@pytest.mark.parametrize("stride", [1, 4])
def test_half_of_what_motions_change_by(stride: int) -> None:
    """To and fro by .02 a frame: at the ends a motion turns about, which is a change by twice what a block moves."""
    t = torch.arange(400)
    x = 0.02 * ((t + 24) % 48 - 24).abs() - 0.25
    still = torch.zeros(400, 2)
    unit = motion_unit([track(torch.stack([x, torch.zeros(400)], 1), still)], stride)
    assert unit == pytest.approx(0.02 * stride, rel=0.01)


def test_what_is_off_does_not_count() -> None:
    wild = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    assert motion_unit([track(wild, on=0.01)], 1) == motion_unit([track(0 * wild)], 1) == 0.01


def test_one_frame_has_no_motion() -> None:
    assert motion_unit([track(torch.zeros(1, 2))], 1) == 0.01
