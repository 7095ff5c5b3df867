"""What moves in rollouts is measured as it was drawn."""

import numpy as np
import pytest

from dlp_dyn.data.inspection import inspect_rollouts
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError


def written(path, frames):
    with RolloutWriter(path) as writer:
        for episode in frames:
            writer.append(Episode(episode), "train")
    return Rollouts(path)


def squares(places, side=6, canvas=48, ground=80):
    """One frame for each list of left upper corners."""
    frames = np.full((len(places), canvas, canvas, 3), ground, np.uint8)
    for frame, corners in zip(frames, places, strict=True):
        for x, y in corners:
            frame[y : y + side, x : x + side] = (200, 40, 40)
    return frames


def test_count_size_energy_and_colour_of_what_moves(tmp_path):
    rng = np.random.default_rng(0)
    places = [[tuple(rng.integers(0, 16, 2)), tuple(rng.integers(26, 40, 2))] for _ in range(60)]
    found = inspect_rollouts(written(tmp_path / "a.h5", [squares(places)]))
    assert found.fixed_camera
    assert found.count == pytest.approx(2)
    assert found.sides == (6, 6, 6)
    one = 36 * sum(((c - 80) / 255) ** 2 for c in (200, 40, 40))
    assert found.object_energy == pytest.approx(one, rel=1e-3)
    np.testing.assert_allclose(found.colour, np.array([200, 40, 40]) / 255, atol=1e-3)
    np.testing.assert_allclose(found.reference, 80 / 255, atol=1e-6)
    assert (found.glimpse_pixels, found.n_particles) == (8, 6)


def test_sizes_follow_small_and_large_things(tmp_path):
    frames = squares([[(40, 4)], [(40, 20)]] * 30)
    large = squares([[(2, 2)], [(18, 24)]] * 30, side=16)
    changed = (large != 80).any(-1)
    frames[changed] = large[changed]
    found = inspect_rollouts(written(tmp_path / "a.h5", [np.concatenate([squares([[]] * 70), frames])]))
    low, _, high = found.sides
    assert (low, high) == (6, 16)
    assert found.largest_pixels == 1.25 * max(high, found.glimpse_pixels)
    assert found.patch_pixels == 4
    assert found.slots_most == pytest.approx(1 + (16 / 6) ** 2)


def test_boxes_a_pixel_apart_touch(tmp_path):
    near, far = [(4, 4), (11, 4)], [(4, 4), (30, 30)]
    empty = squares([[]] * 20)
    frames = np.concatenate([empty, squares([near] * 5 + [far] * 5)])
    found = inspect_rollouts(written(tmp_path / "a.h5", [frames]))
    assert found.touching == pytest.approx(0.5)


def test_a_camera_that_moves_is_told_from_one_that_stands_still(tmp_path):
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 255, (24, 48, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    frames = np.stack([scene[:, i : i + 48] for i in range(0, 48, 2)])
    assert not inspect_rollouts(written(tmp_path / "a.h5", [frames])).fixed_camera


def test_nothing_moves(tmp_path):
    found = inspect_rollouts(written(tmp_path / "a.h5", [squares([[]] * 10)]))
    assert found.count == 0
    assert "nothing moves" in found.summary()


def test_frames_that_are_no_squares_are_refused(tmp_path):
    rollouts = written(tmp_path / "a.h5", [squares([[]] * 4)[:, :32]])
    with pytest.raises(InputError, match="48x32"):
        inspect_rollouts(rollouts)


def test_lines_of_a_pixel_do_not_count_unless_things_are_that_thin(tmp_path):
    rng = np.random.default_rng(0)
    frames = squares([[tuple(rng.integers(4, 36, 2))] for _ in range(60)])
    faint = frames.copy()
    faint[30:, 2, 8:40] = np.maximum(faint[30:, 2, 8:40], 105)  # light on an edge
    found = inspect_rollouts(written(tmp_path / "light.h5", [faint]))
    assert found.opened
    assert found.count == pytest.approx(1)
    thin = np.full_like(frames, 80)
    for frame, x in zip(thin, rng.integers(4, 44, 60), strict=True):
        frame[10:30, x] = (200, 40, 40)
    found = inspect_rollouts(written(tmp_path / "thin.h5", [thin]))
    assert not found.opened
    assert found.count == pytest.approx(1)
    assert found.sides == (20, 20, 20)
