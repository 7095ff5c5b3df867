"""A training step gives a GPU its work without waiting for it; counted on fake tensors."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.waits import _Watch, waits


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


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "step", "copies"),
    [
        ("tiny", None, 0),
        ("shapes_dlpv2", 1, 0),
        ("shapes_dlpv2", 1251, 0),
        ("shapes_dlpv3", None, 0),
        pytest.param("balls_ddlp model.reconstruction=vgg", None, 0, marks=pytest.mark.slow),
        ("balls_joint", None, 2),  # the Hungarian match is worked out on the CPU: there and back
    ],
)
def test_a_step_does_not_wait(name: str, step: int | None, copies: int) -> None:
    forward = waits(name, "cuda", backward=False, step=step)
    assert not forward.reads
    assert forward.copies.total() == copies
    assert not waits(name, "cpu", backward=True, step=step).reads
