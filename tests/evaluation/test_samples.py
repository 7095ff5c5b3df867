"""Distances of samples of images from data: 0 for one distribution, and larger the more they differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.samples import (
    frechet_inception_distance,
    gradient_energy,
    kernel_distance,
    random_features,
    sample_figures,
)


def pictures(n: int = 120, seed: int = 0) -> Tensor:
    """Squares anywhere."""
    rng = np.random.default_rng(seed)
    x = torch.zeros(n, 3, 32, 32)
    for picture in x:
        i, j = rng.integers(0, 24, 2)
        picture[:, i : i + 8, j : j + 8] = torch.from_numpy(rng.random((3, 1, 1))).float()
    return x


def test_the_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    g = torch.Generator().manual_seed(0)
    found = [
        kernel_distance(torch.randn(60, 8, generator=g), torch.randn(60, 8, generator=g)) for _ in range(60)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / 60**0.5  # without bias
    assert kernel_distance(torch.randn(60, 8, generator=g), 2 + torch.randn(60, 8, generator=g)) > max(found)


def test_it_is_the_mean_over_pairs() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(7, 3, generator=g), torch.randn(5, 3, generator=g)
    x, y = ((v.double() - a.mean(0)) / a.std(0) for v in (a, b))

    def k(p: Tensor, q: Tensor) -> float:
        return float((p @ q / 3 + 1) ** 3)

    same_a = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    same_b = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    other = np.mean([k(p, q) for p in x for q in y])
    assert kernel_distance(a, b) == pytest.approx(same_a + same_b - 2 * other, rel=1e-5)


def test_blurred_pictures_are_less_sharp_and_farther_away() -> None:
    real, same = pictures(), pictures(seed=1)
    blurred = F.avg_pool2d(same, 5, 1, 2)
    assert sample_figures(real, same)["sharpness"] == pytest.approx(1, abs=0.2)
    assert sample_figures(real, blurred)["sharpness"] < 0.5
    assert sample_figures(real, blurred)["kernel_distance"] > 5 * abs(
        sample_figures(real, same)["kernel_distance"]
    )


def test_gradient_energy_is_that_of_a_ramp() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8) / 10
    assert float(gradient_energy(ramp)) == pytest.approx(0.01)


@pytest.mark.parametrize("side", [4, 8, 32])
def test_features_do_not_depend_on_other_pictures(side: int) -> None:
    x = torch.rand(5, 3, side, side)
    torch.testing.assert_close(random_features(x)[2:3], random_features(x[2:3]))


class Colours(nn.Module):
    """Mean colours, behind a batch norm that would mix pictures in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).mean((2, 3))


def test_fid_is_in_eval_mode(tmp_path: Path) -> None:
    file = tmp_path / "network.pt"
    torch.jit.script(Colours().train()).save(str(file))
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(20, 3, 4, 4, generator=g), torch.rand(20, 3, 4, 4, generator=g)
    assert frechet_inception_distance(a, a, file) == pytest.approx(0, abs=1e-6)
    shuffled = a[torch.randperm(20, generator=g)]
    expected = frechet_inception_distance(a, b, file)
    assert frechet_inception_distance(shuffled, b, file) == pytest.approx(expected, rel=1e-4)
    brighter = (a + 0.5).clamp(0, 1)
    assert frechet_inception_distance(a, brighter, file) > expected


def test_networks_for_fid_are_checked(tmp_path: Path) -> None:
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(InputError, match="no such file"):
        frechet_inception_distance(x, x, tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not readable as TorchScript"):
        frechet_inception_distance(x, x, tmp_path / "bad.pt")
