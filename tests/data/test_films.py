"""Films come in upright, in order, at their times, in their colours, or are refused in a line."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from dlp_dyn.data.readers import Choices, open_source
from dlp_dyn.errors import InputError

HEIGHT, WIDTH = 32, 48
CORNERS = np.array([[(200, 40, 40), (40, 200, 40)], [(40, 40, 200), (200, 200, 200)]], np.uint8)


def picture(level: int = 0) -> np.ndarray:
    """Four corners, each of another colour: no turn and no mirror leaves it as it is."""
    large = CORNERS.repeat(HEIGHT // 2, 0).repeat(WIDTH // 2, 1)
    return (large.astype(np.int64) + level).clip(0, 255).astype(np.uint8)


def film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    matrix: Sequence[int] | None = None,
    rate: int = 10,
) -> Path:
    """times: of the frames, in 1 / `rate` seconds. matrix: (a, b, c, d), of how the film is to be shown."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"qscale": "2", "flags": "+qscale"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.bit_rate = 8_000_000
        if matrix is not None:
            a, b, c, d = (value << 16 for value in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[i] if times else i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path, **choices: object) -> list[np.ndarray]:
    reader = open_source(path, Choices(**choices))  # pyright: ignore[reportArgumentType]
    return [image for stream in reader for _, image in stream.frames()]


def corners(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return image[height // 4 :: height // 2, width // 4 :: width // 2].astype(np.int64)


@pytest.mark.parametrize("b_or_a", [1, -1])
@pytest.mark.parametrize("c_or_d", [1, -1])
@pytest.mark.parametrize("turned", [False, True])
def test_films_are_turned_and_mirrored_as_their_matrix_says(
    tmp_path: Path, b_or_a: int, c_or_d: int, turned: bool
) -> None:
    matrix = (0, b_or_a, c_or_d, 0) if turned else (b_or_a, 0, 0, c_or_d)
    (shown,) = read(film(tmp_path / "a.mp4", [picture()], matrix=matrix))
    a, b, c, d = matrix
    expected = np.zeros((2, 2, 3), np.int64)
    for y in range(2):
        for x in range(2):  # corner (x, y) from the middle is shown at (a x + c y, b x + d y) from there
            u, v = a * (2 * x - 1) + c * (2 * y - 1), b * (2 * x - 1) + d * (2 * y - 1)
            expected[(v + 1) // 2, (u + 1) // 2] = CORNERS[y, x]
    assert shown.shape[:2] == ((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH))
    assert np.abs(corners(shown) - expected).max() < 6


def test_a_film_at_an_angle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="angle"):
        read(film(tmp_path / "a.mp4", [picture()], matrix=(1, 1, -1, 1)))
