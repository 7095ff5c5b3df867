import numpy as np
import pytest

from dlp_dyn.data.balls import to_pixels
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.shapes import draw_shapes, write_shapes
from dlp_dyn.errors import InputError


def test_every_shape_is_where_its_truth_says():
    images, states = draw_shapes(np.random.default_rng(0), 200)
    centre, size = to_pixels(states["position"], 64), states["size"] * 64
    low, high = np.round(centre - size / 2).astype(int), np.round(centre + size / 2).astype(int)
    seen = np.zeros(images.shape[:3], bool)
    for image in range(200):
        for shape in np.flatnonzero(states["visible"][image]):
            (left, top), (right, bottom) = low[image, shape], high[image, shape]
            colour = np.round(255 * states["colour"][image, shape])
            mask = (images[image] == colour).all(-1)
            assert mask.any(0)[left:right].all()
            assert mask.any(1)[top:bottom].all()
            assert not mask[:, :left].any()
            assert not mask[bottom:].any()
            seen[image] |= mask
    assert (images[~seen] == (0, 255, 255)).all()


def test_counts_sizes_and_colours():
    images, states = draw_shapes(np.random.default_rng(1), 1000)
    counts = states["visible"].sum(1)
    assert set(counts.tolist()) == {2, 3, 4, 5}
    sides = (states["size"] * 64)[states["visible"]]
    assert sides[:, 0].min() >= 11
    assert sides.max() <= 13
    assert sides[:, 1].min() >= 10  # the height of a triangle with equal sides
    assert images[..., 0].max() <= 200
    assert not states["size"][~states["visible"]].any()


def test_file_of_pictures(tmp_path):
    for name in "ab":
        write_shapes(tmp_path / name, (20, 5, 5), seed=3)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len(ClipDataset(tmp_path / "a", "validation")) == 5
    rollouts = Rollouts(tmp_path / "a")
    assert rollouts.episode_lengths.tolist() == [1] * 30
    # Validation and test pictures are not those of the train part.
    assert len(np.unique(rollouts.frames(np.arange(30)).reshape(30, -1), axis=0)) == 30
    with pytest.raises(InputError, match="image_size"):
        write_shapes(tmp_path / "c", image_size=16)
    assert not (tmp_path / "c").exists()
