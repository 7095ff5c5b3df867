"""Masks that lie beside frames come in with them, each beside its own frame, or are refused in a line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlp_dyn.data.convert import convert
from dlp_dyn.data.readers import Choices
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError

N = 4


def frame(i: int) -> Image.Image:
    return Image.fromarray(np.full((24, 32, 3), 40 * i, np.uint8))


def numbers(i: int) -> np.ndarray:
    """Two things, the second of which moves."""
    mask = np.zeros((24, 32), np.uint8)
    mask[2:8, 2:8] = 1
    mask[12:20, 4 * i : 4 * i + 8] = 2
    return mask


def palette(i: int) -> Image.Image:
    """As DAVIS keeps them: the number of a colour is that of the thing."""
    image = Image.fromarray(numbers(i), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    return image


def grey(i: int) -> Image.Image:
    return Image.fromarray(numbers(i))


def save(root: Path, name: Callable[[int], str], image: Callable[[int], Image.Image], n: int = N) -> None:
    for i in range(n):
        path = root / name(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        image(i).save(path)


def read(root: Path, out: Path, **choices: str) -> Rollouts:
    convert(root, out, choices=Choices(**choices))  # pyright: ignore[reportArgumentType]
    return Rollouts(out)


LAYOUTS = {
    "of_a_series": ("a/rgb_{}.png", "a/mask_{}.png", "mask_*.png"),
    "within": ("a/{}.png", "a/masks/{}.png", "masks"),
    "beside": ("frames/{}.png", "masks/{}.png", "masks"),
    "a_folder_each": ("frames/a/{}.png", "masks/a/{}.png", "masks"),
    "davis": ("JPEGImages/480p/bear/{}.png", "Annotations/480p/bear/{}.png", "Annotations"),
    "any_name": ("frames/a/{}.png", "sam2/a/out{}.png", "sam2"),
}


@pytest.mark.parametrize("image", [palette, grey])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_are_found_beside_their_frames(
    tmp_path: Path, layout: str, image: Callable[[int], Image.Image]
) -> None:
    frames, masks, choice = LAYOUTS[layout]
    save(tmp_path / "data", frames.format, frame)
    save(tmp_path / "data", masks.format, image)
    rollouts = read(tmp_path / "data", tmp_path / "a.h5", masks=choice)
    assert rollouts.n_episodes == 1
    episode = rollouts.episode(0)
    assert episode.frames[:, 0, 0, 0].tolist() == [40 * i for i in range(N)]
    np.testing.assert_array_equal(episode.columns()["states/masks"], [numbers(i) for i in range(N)])


def test_masks_of_films_and_of_several_episodes(tmp_path: Path) -> None:
    for name in "ab":
        frames = [frame(i) for i in range(N)]
        frames[0].save(
            tmp_path / f"{name}.webp", save_all=True, append_images=frames[1:], lossless=True, duration=100
        )
        save(tmp_path, (f"masks/{name}/{{}}.png").format, grey)
    (tmp_path / "out").mkdir()
    rollouts = read(tmp_path, tmp_path / "out" / "a.h5", masks="masks")
    assert rollouts.n_episodes == 2
    np.testing.assert_array_equal(rollouts.column("states/masks"), [numbers(i) for i in [*range(N)] * 2])


def test_masks_are_made_smaller_without_mixing_numbers(tmp_path: Path) -> None:
    save(tmp_path / "data", "frames/{}.png".format, frame)
    save(tmp_path / "data", "masks/{}.png".format, lambda i: Image.fromarray(100 * numbers(i)))
    convert(tmp_path / "data", tmp_path / "a.h5", image_size=16, choices=Choices(masks="masks"))
    assert np.unique(Rollouts(tmp_path / "a.h5").column("states/masks")).tolist() == [0, 100, 200]


@pytest.mark.parametrize(
    ("masks", "image", "n", "message"),
    [
        ("masks/{}.png", grey, N - 1, "3 masks for 4 frames"),
        ("masks/1{}.png", grey, N, "whose number is another one"),
        ("other/{}.png", grey, N, "no masks masks beside these frames"),
        ("masks/{}.png", lambda _: Image.new("RGB", (32, 24), (200, 30, 30)), N, "is no mask"),
    ],
)
def test_masks_that_are_none_are_refused(
    tmp_path: Path, masks: str, image: Callable[[int], Image.Image], n: int, message: str
) -> None:
    save(tmp_path / "data", "frames/{}.png".format, frame)
    save(tmp_path / "data", masks.format, image, n)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "data", tmp_path / "a.h5", masks="masks")


def test_masks_of_one_folder_are_not_those_of_two_episodes(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "data", f"{name}/{{}}.png".format, frame)
    save(tmp_path / "data", "masks/{}.png".format, grey)
    with pytest.raises(InputError, match="masks of several episodes"):
        read(tmp_path / "data", tmp_path / "a.h5", masks="masks")
