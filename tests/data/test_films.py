"""Films come in upright, in order, at their times, in their colours, or are refused in a line."""

import gc
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


@pytest.mark.parametrize(
    ("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (9, 0.2627, 0.0593)]
)
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_matrix_and_the_range(
    tmp_path: Path, matrix: int, kr: float, kb: float, full: bool
) -> None:
    """BT.709, BT.601 and BT.2020, in closed form."""
    rgb = np.array([190, 60, 90]) / 255
    luma = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    chroma = np.array([(rgb[2] - luma) / (2 - 2 * kb), (rgb[0] - luma) / (2 - 2 * kr)])
    y, uv = (255 * luma, 128 + 255 * chroma) if full else (16 + 219 * luma, 128 + 224 * chroma)
    planes = np.rint([y, *uv]).astype(np.uint8)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame.from_ndarray(np.tile(planes[:, None, None], (1, 32, 32)), format="yuv444p")
        frame.colorspace, frame.color_range = matrix, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (shown,) = read(path)
    assert np.abs(shown.reshape(-1, 3).mean(0) - 255 * rgb).max() < 3


def test_frames_at_any_time_need_a_rate(tmp_path: Path) -> None:
    times = [0, 30, 47, 90, 113, 171]
    path = film(tmp_path / "a.mp4", [picture(10 * i) for i in range(6)], times=times, rate=1000)
    with pytest.raises(InputError, match="give fps"):
        read(path)
    assert len(read(path, fps="all")) == 6
    levels = [round((float(image.mean()) - picture().mean()) / 10) for image in read(path, fps=50.0)]
    shown = [max(i for i, time in enumerate(times) if time <= tick) for tick in range(0, 171 + 40, 20)]
    assert levels == shown[: len(levels)]
    assert len(shown) - len(levels) <= 2  # how long the last one is shown is not known


def test_a_frame_held_for_longer_is_repeated_and_told(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", [picture(10 * i) for i in range(5)], times=[0, 1, 2, 5, 6])
    told: list[str] = []
    assert len(read(path, tell=told.append)) == 7
    assert "1 frames are shown for longer" in " ".join(told)


def test_an_avi_counts_the_places_that_it_leaves_empty(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", [picture(20 * i) for i in range(5)], times=[0, 5, 11, 20, 27])
    shown = [round((float(frame[2, 2, 1]) - CORNERS[0, 0, 1]) / 20) for frame in read(path)]
    assert shown == [0] * 5 + [1] * 6 + [2] * 9 + [3] * 7 + [4]


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
def test_every_cut_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"a.{suffix}", [picture(5 * i) for i in range(12)])
    data = path.read_bytes()
    for lost in (1, 10, 100, len(data) // 2):
        path.write_bytes(data[:-lost])
        with pytest.raises(InputError, match=r"a\."):
            read(path)


def test_damage_is_left_out_where_that_is_allowed(tmp_path: Path) -> None:
    frames = [picture(10 * i) for i in range(12)]
    path = film(tmp_path / "a.avi", frames)
    whole, data = read(path), path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    told: list[str] = []
    left = read(path, allow_damaged=True, tell=told.append)
    assert 0 < len(left) < 12
    assert all(np.array_equal(a, b) for a, b in zip(left, whole, strict=False))
    assert "frames are lost" in told[-1]


def test_a_damaged_film_is_given_up_while_threads_decode_it(tmp_path: Path) -> None:
    """They say what they find, which takes the interpreter, as giving them up does: neither may wait for the other."""
    path, rng = tmp_path / "a.mp4", np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "12"})
        stream.height, stream.width = 144, 176
        for _ in range(90):
            noise = rng.integers(0, 256, (144, 176, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    for at in rng.integers(len(data) // 10, len(data) * 9 // 10, 60):
        data[at] ^= 255
    path.write_bytes(data)
    for _ in range(40):
        with pytest.raises(InputError, match="damaged"):
            read(path)


def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", [picture()] * 60)
    (stream,) = open_source(path)
    gc.collect()
    gc.disable()  # what only it can free stays for long: a film makes few Python objects
    try:
        assert sum(1 for _ in stream.frames()) == 60
        left = sum(isinstance(item, av.VideoFrame) for item in gc.get_objects())
    finally:
        gc.enable()
    assert left < 4
