"""Images drawn by styles: growth, mixing, truncation, and layers that all learn at one pace."""

import math
from typing import Any

import pytest
import torch

from dlp_dyn.errors import InputError
from dlp_dyn.soft_intro.config import SoftIntroConfig, StyleConfig
from dlp_dyn.soft_intro.families import build
from dlp_dyn.soft_intro.style import StyleVAE
from dlp_dyn.soft_intro.style_layers import ScaledConv, ScaledLinear, blur


def small(**settings: Any) -> StyleVAE:
    torch.manual_seed(0)
    common: dict[str, Any] = {
        "image_size": 16, "latent_dim": 8, "start_channels": 4, "max_channels": 8, "n_mapping": 2,
    }  # fmt: skip
    own = StyleConfig(**(common | settings))
    model = build(SoftIntroConfig(style=own))
    assert isinstance(model, StyleVAE)
    return model.eval()


def pictures(n: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_growth_fades_in_and_ends() -> None:
    model = small(grow_every=8)
    shares = []
    for step in range(1, 30):
        model.at_step(step)
        shares.append((int(model.decoder.level), float(model.decoder.blend)))
    levels = [level for level, _ in shares]
    assert levels == [0] * 8 + [1] * 8 + [2] * 13
    assert all(share == 1 for _, share in shares[:8])  # nothing to fade in from
    fading = [share for _, share in shares[8:12]]
    assert fading == pytest.approx([0.5 - 0.5 * math.cos(math.pi * t / 4) for t in range(4)], abs=1e-6)
    assert all(share == 1 for _, share in shares[12:16] + shares[20:])


def test_a_side_fades_in_without_a_jump() -> None:
    """At a share of 0 a larger model is the smaller one, its drawings doubled, its pictures halved."""
    model, z, x = small(), torch.randn(2, 8), pictures()
    model.grow(1, 1.0)
    before, seen = model.decode(z), model.encode(model.shown(x)).loc
    model.grow(2, 0.0)
    torch.testing.assert_close(model.decode(z), before.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(model.encode(model.shown(x)).loc, seen)


def test_mixing_takes_coarse_styles_of_one_and_fine_ones_of_the_other() -> None:
    model, a, b = small(), pictures(1), pictures(2)[1:]
    coarse, fine = model.reconstruct(a), model.reconstruct(b)
    mixed = model.mix(a, b, 3)
    assert not torch.allclose(mixed, coarse)
    assert not torch.allclose(mixed, fine)
    torch.testing.assert_close(model.mix(a, a, 3), coarse)
    with pytest.raises(InputError, match="give 1 to 5"):
        model.mix(a, b, 6)


def test_truncation_goes_from_the_mean_to_what_was_drawn() -> None:
    model, z = small(), torch.randn(4, 8)
    torch.testing.assert_close(model.sample_truncated(z, 1.0), model.decode(z))
    mean = model.sample_truncated(z, 0.0)
    torch.testing.assert_close(mean, mean[:1].expand_as(mean))


def test_samples_mix_in_training_alone() -> None:
    model = small(mixing=1.0)
    assert model.finer_from() is None
    model.train()
    assert {model.finer_from() for _ in range(60)} == {1, 2, 3, 4, 5}
    model.grow(0, 1.0)
    assert {model.finer_from() for _ in range(20)} == {1}
    assert small(mixing=0.0).train().finer_from() is None


def test_scaled_layers_learn_as_published() -> None:
    """Adam on unit weights times a constant moves the product as the published optimiser moves plain weights: by the
    constant times the sign of the gradient at the first step."""
    layer = ScaledLinear(9, 4, pace=0.1).double()
    before = (layer.scale * layer.weight).detach().clone()
    x = torch.randn(5, 9, dtype=torch.float64)
    layer(x).square().sum().backward()
    assert layer.weight.grad is not None
    sign = layer.weight.grad.sign()
    torch.optim.Adam(layer.parameters(), 1e-3, (0.0, 0.99)).step()
    coefficient = math.sqrt(2) * 0.1 / 3
    torch.testing.assert_close(
        layer.scale * layer.weight - before, -1e-3 * coefficient * sign, rtol=1e-3, atol=1e-8
    )


@pytest.mark.parametrize("resize", [0.5, 2.0])
def test_fused_changes_of_side_agree_with_plain_ones_inside(resize: float) -> None:
    """Nearest doubling then a convolution is one transposed convolution; convolving then averaging, one strided one."""
    torch.manual_seed(0)
    plain, fused = (ScaledConv(2, 2, resize=resize, fused=f) for f in (False, True))
    weight = plain.weight.detach()
    with torch.no_grad():
        fused.weight.copy_(weight.transpose(0, 1).flip(2, 3) if resize == 2 else weight)
    x = torch.randn(1, 2, 8, 8)
    a, b = plain(x), fused(x)
    assert a.shape == b.shape
    torch.testing.assert_close(a[..., 2:-2, 2:-2], b[..., 2:-2, 2:-2])


def test_blur_keeps_flat_pictures() -> None:
    x = torch.ones(1, 2, 6, 6)
    torch.testing.assert_close(blur(x)[..., 1:-1, 1:-1], x[..., 1:-1, 1:-1])
