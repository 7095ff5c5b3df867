"""A training step gives a GPU its work without waiting for it; counted on fake tensors."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.waits import _Watch, waits
from dlp_dyn.image.phases import NOISY, NORMAL, WARM_UP, Phase


def test_reads_and_copies_are_counted() -> None:
    with FakeTensorMode():
        x = torch.empty(3, device="cuda")
        with _Watch() as watch:
            assert float(x.sum()) == 1.0  # which it is told, since there is no number
            x.nonzero()
            x.new_tensor([1.0, 2.0, 3.0])
            x.cpu()
            torch.arange(3, device="cuda").add(x)
    assert (watch.waits.reads.total(), watch.waits.copies.total()) == (2, 2)


@pytest.mark.parametrize(
    ("name", "phase", "copies"),
    [
        ("tiny", NORMAL, 0),
        ("shapes_dlpv2", WARM_UP, 0),
        ("shapes_dlpv2", NOISY, 0),
        ("shapes_dlpv3", NORMAL, 0),
        ("balls_ddlp model.reconstruction=vgg", NORMAL, 0),
        ("balls_joint", NORMAL, 2),  # the Hungarian match is worked out on the CPU: there and back
    ],
)
def test_a_step_does_not_wait(name: str, phase: Phase, copies: int) -> None:
    forward = waits(name, "cuda", backward=False, phase=phase)
    assert not forward.reads
    assert forward.copies.total() == copies
    assert not waits(name, "cpu", backward=True, phase=phase).reads
