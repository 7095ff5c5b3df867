"""A batch in chunks is the batch: outputs and gradients, recomputed or not."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig, NetworkConfig
from dlp_dyn.image.networks import build_networks
from dlp_dyn.nn import ConvLayer, Stack, chunks
from dlp_dyn.nn.chunks import n_chunks


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_ELEMENTS", 5_000)


def test_chunks_are_as_many_as_needed():
    assert n_chunks(10, 1) == 1
    assert n_chunks(10, chunks._ELEMENTS) == 10
    assert n_chunks(10, 10 * chunks._ELEMENTS) == 10
    assert n_chunks(88, chunks._ELEMENTS // 8) == 11


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("style", ["lean", "dlpv2", "dlpv3"])
def test_networks_work_in_chunks(style, recompute, monkeypatch):
    torch.manual_seed(0)
    networks = NetworkConfig(style=style, background_channels=[8, 16, 16], hidden_dim=64)
    model = (
        build_networks(DLPConfig(image_size=32, background_dim=2, networks=networks))
        .background_decoder()
        .double()
    )
    stack = next(layers for layers in model.modules() if isinstance(layers, Stack))
    stack.recompute = recompute
    vector, weight = torch.randn(7, 2).double(), torch.randn(7, 3, 32, 32).double()
    seen: list[int] = []
    stack[-1].register_forward_hook(lambda *call: seen.append(len(call[1][0])))

    def outcome() -> list[torch.Tensor]:
        at = vector.clone().requires_grad_()
        drawn = model(at)
        return [drawn, *torch.autograd.grad((weight * drawn).sum(), [at, *model.parameters()])]

    cut = outcome()
    assert max(seen) < 7
    monkeypatch.setattr(chunks, "_ELEMENTS", 10**9)
    assert_close(cut, outcome())


def test_the_widest_layer_sets_the_size(small_chunks):  # noqa: ARG001
    stack = Stack(nn.Conv2d(3, 50, 1), nn.Conv2d(50, 1, 1))
    seen: list[int] = []
    stack[0].register_forward_hook(lambda *call: seen.append(len(call[1][0])))
    stack(torch.rand(8, 3, 20, 20))
    assert seen == [1, *[1] * 8]  # one to find out, then 20,000 numbers each


@pytest.mark.usefixtures("small_chunks")
def test_images_are_composed_in_chunks(monkeypatch):
    torch.manual_seed(0)
    inputs = [
        torch.rand(5, 3, 4, 8, 8), 2 * torch.rand(5, 3, 2) - 1, 0.1 + 0.4 * torch.rand(5, 3, 2),
        torch.rand(5, 3, 1), torch.randn(5, 3, 1),
    ]  # fmt: skip
    weights = [torch.randn(5, 3, 40, 40), torch.randn(5, 1, 40, 40)]

    def outcome() -> list[torch.Tensor]:
        given = [x.clone().requires_grad_() for x in inputs]
        glimpses, position, size, transparency, depth = given
        drawn = geometry.composite(glimpses, position, size, transparency, depth, 40)
        return [*drawn, *torch.autograd.grad(drawn, given, weights)]

    assert n_chunks(5, 4 * 3 * geometry.covering_window(inputs[2], 8, 40) ** 2) > 1
    cut = outcome()
    monkeypatch.setattr(chunks, "_ELEMENTS", 10**9)
    assert_close(cut, outcome(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("recompute", [False, True])
def test_half_precision_has_all_gradients(recompute):
    """Measuring the widest layer casts the weights once without gradient, and recomputing casts them again."""
    torch.manual_seed(0)
    stack = Stack(*(ConvLayer(n, 8, groups=4, activation=nn.GELU) for n in (3, 8)))
    images, gradients = torch.randn(6, 3, 16, 16), []
    for first_call in (True, False):
        stack.zero_grad()
        stack.recompute = recompute and first_call
        with torch.autocast("cpu", torch.bfloat16):
            loss = stack(images).float().square().mean()
        loss.backward()
        gradients.append([p.grad for p in stack.parameters()])
    assert all(g is not None for g in gradients[0])
    assert_close(*gradients)
