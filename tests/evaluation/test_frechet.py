"""Fréchet video distance: closed forms, another way to compute it, and networks that do not fit."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.frechet import ClipFeatures, frechet_distance

RNG = np.random.default_rng(0)


class Moments(nn.Module):
    """Takes what I3D takes; gives a few figures of each clip."""

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        assert x.shape[-1] == 224
        assert not rescale
        assert not resize
        assert return_features
        flat = x.flatten(1)
        return torch.stack([flat.mean(1), flat.amin(1), flat.amax(1), x[:, 0, -1].mean((1, 2))], 1)


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]


class PerFrame(nn.Module):
    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        return x.mean((3, 4)) if return_features and not (rescale or resize) else x


def scripted(network: nn.Module, path) -> str:
    torch.jit.script(network).save(str(path))
    return str(path)


def test_frechet_distance_equals_its_formula():
    a, b = RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 4)), 2 * RNG.normal(size=(70, 4)) + 1
    c, d = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * np.real(sqrtm(c @ d)))
    assert frechet_distance(a, b) == pytest.approx(expected)
    assert frechet_distance(b, a) == pytest.approx(expected)


def test_of_normals_along_one_axis_it_is_that_of_means_and_spreads():
    a = np.array([[-1.0], [1.0]]) * np.sqrt(0.5)  # mean 0, standard deviation 1
    assert frechet_distance(a, 3 * a + 5) == pytest.approx(5**2 + (3 - 1) ** 2)


def test_equal_sets_are_at_no_distance_and_a_shift_counts_its_square_with_few_samples_too():
    a, shift = RNG.normal(size=(6, 400)), RNG.normal(size=400)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, a + shift) == pytest.approx((shift**2).sum())
    turn = np.linalg.qr(RNG.normal(size=(400, 400)))[0]
    b = RNG.normal(size=(6, 400))
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b))


def test_one_sample_has_no_spread():
    with pytest.raises(InputError, match="2 episodes at least"):
        frechet_distance(RNG.normal(size=(1, 3)), RNG.normal(size=(5, 3)))


def test_the_network_sees_large_clips_from_minus_one_to_one(tmp_path):
    features = ClipFeatures(scripted(Moments(), tmp_path / "net.pt"))
    video = torch.zeros(5, 3, 3, 8, 8)
    video[:, -1, 0] = torch.linspace(0, 1, 5)[:, None, None]
    found = features(video)
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found[:, 3], np.linspace(-1, 1, 5), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], -1)
    np.testing.assert_allclose(found[:, 0], -1 + 2 * np.linspace(0, 1, 5) / 9, atol=1e-6)


def test_networks_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"gone.pt: no such file; fvd wants a TorchScript network"):
        ClipFeatures(tmp_path / "gone.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match=r"text.pt: not readable as TorchScript \(.+\)$"):
        ClipFeatures(tmp_path / "text.pt")
    clips = torch.zeros(2, 3, 3, 8, 8)
    for network, match in (
        (Plain(), "does not take clips of 3 frames"),
        (PerFrame(), r"gives \(2, 3, 3\) for 2 clips"),
    ):
        with pytest.raises(InputError, match=match) as error:
            ClipFeatures(scripted(network, tmp_path / "net.pt"))(clips)
        assert "\n" not in str(error.value)
