import json
from pathlib import Path

import numpy as np
import pytest
from worlds import write_run

from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.particles import ParticleLayout

LAYOUT = ParticleLayout(feature_dim=4)
TRANSPARENCY = LAYOUT.columns.index("transparency")


def packed(m: int = 200, n: int = 3) -> np.ndarray:
    """Columns of different means and spreads, all visible."""
    rng = np.random.default_rng(0)
    x = rng.normal(np.arange(LAYOUT.dim), 1 + np.arange(LAYOUT.dim), (m, n, LAYOUT.dim)).astype(np.float32)
    x[..., TRANSPARENCY] = 1
    return x


def test_columns_come_out_with_mean_0_and_spread_1_whatever_the_slot() -> None:
    x = packed()
    z = Normalizer.fit(x, LAYOUT, clip=100)(x)
    others = np.delete(np.arange(LAYOUT.dim), TRANSPARENCY)
    np.testing.assert_allclose(z[..., others].mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(z[..., others].std((0, 1)), 1, atol=1e-5)
    np.testing.assert_array_equal(z[..., TRANSPARENCY], x[..., TRANSPARENCY])
    shuffled = np.random.default_rng(1).permuted(x, axis=1)
    assert Normalizer.fit(shuffled, LAYOUT).mean == pytest.approx(Normalizer.fit(x, LAYOUT).mean, abs=1e-5)


def test_particles_count_as_much_as_they_are_visible() -> None:
    x = packed()
    seen = Normalizer.fit(x, LAYOUT)
    off = x + 1000
    off[..., TRANSPARENCY] = 0
    both = Normalizer.fit(np.concatenate([x, off], 1), LAYOUT)
    np.testing.assert_allclose(both.mean, seen.mean, rtol=1e-6)
    np.testing.assert_allclose(both.std, seen.std, rtol=1e-6)


def test_it_goes_back_within_the_clip() -> None:
    x = packed()
    scale = Normalizer.fit(x, LAYOUT, clip=100)
    np.testing.assert_allclose(scale.inverse(scale(x)), x, rtol=1e-6, atol=1e-5)
    scale = Normalizer.fit(x, LAYOUT)
    far = np.full((1, 1, LAYOUT.dim), 1e6, np.float32)
    assert scale(far).max() == 5
    np.testing.assert_allclose(
        scale.inverse(scale(far))[0, 0, 0], scale.mean[0] + 5 * scale.std[0], rtol=1e-6
    )


def test_noise_of_a_constant_column_is_not_blown_up() -> None:
    x = packed()
    x[..., 0] = 3 + 1e-6 * x[..., 0]
    assert np.abs(Normalizer.fit(x, LAYOUT)(x)[..., 0]).max() < 0.01


def test_a_file_gives_the_same_one(tmp_path: Path) -> None:
    x = packed()
    scale = Normalizer.fit(x, LAYOUT, "an encoder", clip=3)
    scale.save(tmp_path / "scale.json")
    loaded = Normalizer.load(tmp_path / "scale.json")
    np.testing.assert_array_equal(loaded(x), scale(x))
    assert (loaded.hash, loaded.encoder, loaded.layout) == (scale.hash, scale.encoder, scale.layout)
    assert Normalizer.fit(x, LAYOUT, clip=4).hash != Normalizer.fit(x, LAYOUT, clip=3).hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": [0.0]}, "columns and numbers do not fit"),
        ({"std": [0.0] * LAYOUT.dim}, "do not fit"),
        ({"columns": ["x", "y"]}, "no normalizer"),
        ({"clip": None}, "no normalizer"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    file = tmp_path / "scale.json"
    Normalizer.fit(packed(), LAYOUT).save(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=message):
        Normalizer.load(file)
    file.write_text("{")
    with pytest.raises(InputError, match="no normalizer"):
        Normalizer.load(file)
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        Normalizer.load(file)


def test_data_that_nothing_can_be_fitted_to_is_refused() -> None:
    x = packed()
    with pytest.raises(InputError, match="12 columns, the particles of an encoder have 10"):
        Normalizer.fit(np.concatenate([x, x[..., :2]], -1), LAYOUT)
    with pytest.raises(InputError, match="NaN"):
        Normalizer.fit(np.where(x == x.max(), np.nan, x), LAYOUT)
    x[..., TRANSPARENCY] = 0
    with pytest.raises(InputError, match=r"0\.0 particles are visible in 200 frames"):
        Normalizer.fit(x, LAYOUT)


def test_an_encoder_refuses_a_normalizer_of_another(tmp_path: Path, run: Path) -> None:
    other = ParticleEncoder(write_run(tmp_path, seed=1))
    with pytest.raises(InputError, match="fitted to another encoder"):
        ParticleEncoder(run, normalizer=Normalizer.fit(packed(), LAYOUT, other.hash))
    wide = ParticleLayout(feature_dim=5)
    x = np.concatenate([packed(), packed()[..., -1:]], -1)
    with pytest.raises(InputError, match="has 11 columns, the particles have 10"):
        ParticleEncoder(run, normalizer=Normalizer.fit(x, wide))


def test_the_encoder_scales_and_says_its_bounds(run: Path) -> None:
    scale = Normalizer.fit(packed(), LAYOUT)
    plain, scaled = ParticleEncoder(run), ParticleEncoder(run, normalizer=scale)
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(scaled(frames), scale(plain(frames)))
    np.testing.assert_array_equal(scaled.raw(frames), plain(frames))
    low, high = scaled.bounds
    assert (low[0], high[0], low[TRANSPARENCY], high[TRANSPARENCY]) == (-5, 5, 0, 1)
    low, high = plain.bounds
    assert (low[0], high[0], low[TRANSPARENCY], high[TRANSPARENCY]) == (-np.inf, np.inf, 0, 1)
