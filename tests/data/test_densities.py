"""Sets of points: the published ones are those of the official code, whose histograms are in a bundle."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from dlp_dyn.data.densities import DENSITIES, limit, points
from dlp_dyn.errors import InputError

BUNDLE = (
    Path(os.environ.get("DLP_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
    / "soft_intro/densities_2d.safetensors"
)
# Total variation between two draws of 100,000 from the same density (measured on the official code), and a quarter.
BETWEEN_DRAWS = {"8Gaussians": 0.010, "2spirals": 0.045, "checkerboard": 0.064, "rings": 0.053}


@pytest.mark.parametrize("name", BETWEEN_DRAWS)
def test_densities_are_the_official_ones(name):
    if not BUNDLE.is_file():
        pytest.skip(f"no {BUNDLE}")
    with safe_open(BUNDLE, "np") as file:
        share, std = (file.get_tensor(f"output/data/{name}/{part}") for part in ("share", "std"))
    x = points(name.lower(), 100_000, np.random.default_rng(0))
    half = limit(name.lower())
    ours = np.histogram2d(x[:, 0], x[:, 1], 40, [[-half, half]] * 2)[0] / len(x)
    assert np.abs(ours - share).sum() / 2 < BETWEEN_DRAWS[name]
    np.testing.assert_allclose(x.std(0), std, rtol=0.01)


@pytest.mark.parametrize("name", DENSITIES)
def test_every_set_is_centred_and_within_its_limit(name):
    x = points(name, 20_000, np.random.default_rng(1))
    assert x.shape == (20_000, 2)
    assert np.abs(x.mean(0)).max() < 0.35
    assert np.mean(np.abs(x).max(1) > limit(name)) < 0.03
    assert np.array_equal(x, points(name, 20_000, np.random.default_rng(1)))


def test_an_unknown_set_is_named():
    with pytest.raises(InputError, match="no set of points 'cross'; there are 8gaussians"):
        points("cross", 3, np.random.default_rng(0))
