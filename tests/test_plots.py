from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from dlp_dyn.config import TrainConfig
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.plotting import pictures


def test_a_dot_is_drawn_in_the_middle_of_its_pixel() -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    for pixel in ((0, 0), (31, 31), (7, 20)):
        position = np.array([pixel], np.float32) / 31 * 2 - 1
        picture = pictures.draw_particles(frame, position, np.array([True]))
        colour = pictures.colours(1)[0]
        ys, xs = np.nonzero((picture == colour).all(-1))
        times = len(picture) // 32
        if pixel == (7, 20):
            assert abs(xs.mean() - ((7.5 * times) - 0.5)) < 0.5
            assert abs(ys.mean() - ((20.5 * times) - 0.5)) < 0.5
        else:  # a quarter of the dot, at the corner that the pixel is in
            assert abs(np.median(xs) - pixel[0] / 31 * len(picture)) < times
            assert len(xs)


def test_a_box_covers_what_its_glimpse_covers() -> None:
    frame = np.zeros((33, 33, 3), np.uint8)
    centre, size = np.zeros((1, 2), np.float32), np.array([[0.5, 0.25]], np.float32)
    picture = pictures.draw_boxes(frame, centre, size, np.array([True]))
    times = len(picture) // 33
    ys, xs = np.nonzero(picture.any(-1))
    # pixels 8 to 24 across and 12 to 20 down
    for found, pixel in ((xs.min(), 8), (xs.max(), 24), (ys.min(), 12), (ys.max(), 20)):
        assert abs(found - ((pixel + 0.5) * times - 0.5)) <= 3


def test_masks_show_the_colour_of_the_slot_that_owns_a_pixel() -> None:
    masks = np.zeros((2, 16, 16), np.float32)
    masks[0, :8], masks[1, 8:] = 1, 1
    picture = pictures.draw_masks(np.full((16, 16, 3), 200, np.uint8), masks)
    np.testing.assert_array_equal(picture[10, 10], pictures.colours(2)[0])
    np.testing.assert_array_equal(picture[-10, 10], pictures.colours(2)[1])


def test_colours_differ_and_do_not_depend_on_their_number() -> None:
    many = pictures.colours(24).astype(int)
    np.testing.assert_array_equal(pictures.colours(5), many[:5])
    gaps = np.abs(many[:, None] - many[None]).sum(-1) + 1000 * np.eye(24)
    assert gaps.min() > 20


def test_a_sample_grid_has_eight_columns_and_leaves_the_model_as_it_was(
    tiny: Callable[..., TrainConfig], balls_file: Path
) -> None:
    model = DLP(tiny().model).train()
    frames = Rollouts(balls_file).frames(np.arange(3))
    grid = pictures.sample_grid(model, frames)
    tile = pictures.enlarge(frames[0]).shape[0]
    assert tile >= 128
    assert grid.shape == (
        pictures.HEADER + 3 * (tile + pictures.GAP),
        pictures.GAP + 8 * (tile + pictures.GAP),
        3,
    )
    left = pictures.GAP
    np.testing.assert_array_equal(
        grid[pictures.HEADER : pictures.HEADER + tile, left : left + tile], pictures.enlarge(frames[0])
    )
    assert model.training


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.webp"])
def test_videos_come_back_in_size_and_number(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (5, 33, 47, 3), np.uint8)
    pictures.write_video(tmp_path / "new" / name, frames, fps=10.0)
    back = np.stack(list(iio.imiter(tmp_path / "new" / name)))
    side = (34, 48) if name.endswith("mp4") else (33, 47)
    assert back.shape[:3] == (5, *side)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


def test_pictures_are_written_exactly_or_not_at_all(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    pictures.write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), picture)
    with pytest.raises(InputError, match=r"use \.gif, \.webp or \.mp4"):
        pictures.write_video(tmp_path / "a.avi", picture[None])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        pictures.write_image(tmp_path / "file" / "a.png", picture)
