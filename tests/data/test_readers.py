"""What people bring comes in frame by frame, in order, or is refused in a line."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from dlp_dyn.data.convert import convert
from dlp_dyn.data.readers import Choices
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError

SIDE = 32


def grey(i: int, side: int = SIDE) -> np.ndarray:
    """A frame that tells which it is."""
    return np.full((side, side, 3), 10 * i + 20, np.uint8)


def which(frames: np.ndarray) -> list[int]:
    """The numbers of frames of `grey`."""
    return [round((float(frame.mean()) - 20) / 10) for frame in frames]


def imported(source: Path, out: Path, **choices: object) -> tuple[Rollouts, list[str]]:
    told: list[str] = []
    convert(source, out, choices=Choices(**choices, tell=told.append))  # pyright: ignore[reportArgumentType]
    return Rollouts(out), told


def episodes(rollouts: Rollouts) -> list[list[int]]:
    bounds = zip(rollouts.episode_starts, rollouts.episode_ends, strict=True)
    return [which(rollouts.frames(np.arange(start, end))) for start, end in bounds]


def film(path: Path, numbers: list[int], times: list[int] | None = None, rate: int = 10) -> Path:
    """times: of the frames, in 1 / `rate` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = SIDE
        stream.bit_rate = 4_000_000
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(grey(number), format="rgb24")
            frame.pts = times[i] if times else i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_film_comes_in_whole_and_in_order(tmp_path: Path) -> None:
    rollouts, _ = imported(film(tmp_path / "a.mp4", list(range(20))), tmp_path / "a.h5")
    assert episodes(rollouts) == [list(range(20))]


def test_a_film_cut_short_is_refused_or_told(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.mkv", list(range(20))).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"cut\.mkv"):
        imported(cut, tmp_path / "x.h5")
    assert not (tmp_path / "x.h5").exists()
    rollouts, _ = imported(cut, tmp_path / "x.h5", allow_damaged=True)
    (left,) = episodes(rollouts)
    assert left == list(range(len(left)))
    assert 1 < len(left) < 20


def test_pauses_of_a_gif_are_kept(tmp_path: Path) -> None:
    pictures = [Image.fromarray(grey(i)) for i in range(4)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 300, 100, 200]
    )
    rollouts, _ = imported(tmp_path / "a.gif", tmp_path / "a.h5")
    assert episodes(rollouts) == [[0, 1, 1, 1, 2, 3, 3]]
    rollouts, _ = imported(tmp_path / "a.gif", tmp_path / "b.h5", fps="all")
    assert episodes(rollouts) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".png"])
def test_all_pages_of_a_picture_are_frames(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.fromarray(grey(i)) for i in range(5)]
    more: dict[str, Any] = {} if suffix == ".tif" else {"duration": 100}
    if suffix == ".webp":
        more["lossless"] = True
    pictures[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:], **more)
    rollouts, _ = imported(tmp_path / f"a{suffix}", tmp_path / "a.h5")
    assert episodes(rollouts) == [list(range(5))]


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10", "11"],
        ["0.5", "1.0", "1.25", "10.0"],
        ["f9", "f10", "f11", "f100"],
        ["-10", "-9", "0", "5"],
        ["t_-0.50", "t_-0.25", "t_0.00", "t_1.00"],
        ["img-1", "img-2", "img-10", "img-11"],
        ["-1", "-2", "-3", "-10"],
    ],
)
def test_numbers_in_names_sort_as_numbers(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(grey(i)).save(folder / f"{name}.png")
    rollouts, _ = imported(folder, tmp_path / "a.h5")
    assert episodes(rollouts) == [[0, 1, 2, 3]]


def test_pictures_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[: SIDE // 2] = 255
    lying = Image.fromarray(np.rot90(upright).copy())  # 6: turned a quarter to the right when shown
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(2):
        lying.save(folder / f"{i}.png", exif=exif)
    rollouts, _ = imported(folder, tmp_path / "a.h5")
    np.testing.assert_array_equal(rollouts.frames(np.array([0]))[0], upright)


def test_several_series_need_a_choice(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(grey(i)).save(folder / f"left_{i}.png")
        Image.fromarray(grey(i + 10)).save(folder / f"right_{i}.png")
    with pytest.raises(InputError, match="series"):
        imported(folder, tmp_path / "x.h5")
    rollouts, _ = imported(folder, tmp_path / "a.h5", series="right_*.png")
    assert episodes(rollouts) == [[10, 11, 12]]


def test_parts_are_known_in_any_spelling(tmp_path: Path) -> None:
    for part in ("Train", "VALIDATION", "test"):
        for i in range(3):
            folder = tmp_path / "data" / part / "0"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey(i)).save(folder / f"{i}.png")
    rollouts, told = imported(tmp_path / "data", tmp_path / "a.h5")
    assert [len(rollouts.part(part)) for part in ("train", "validation", "test")] == [1, 1, 1]
    assert told


def test_twelve_bits_are_as_bright_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.full((SIDE, SIDE), 2048 + i, np.uint16)).save(folder / f"{i}.png")
    with pytest.raises(InputError, match="bits"):
        imported(folder, tmp_path / "x.h5")
    rollouts, _ = imported(folder, tmp_path / "a.h5", bits=12)
    assert abs(float(rollouts.frames(np.array([0])).mean()) - 127.5) < 1


def test_a_folder_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(grey(i)).save(folder / f"{i}.png")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "3.png")  # whoever reads it waits for a writer
    rollouts, _ = imported(folder, tmp_path / "a.h5")
    assert episodes(rollouts) == [[0, 1, 2]]


def test_folders_that_never_seem_to_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):  # Python follows 1,000 calls in each other
        os.mkdir("d")
        os.chdir("d")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="more than 100 deep"):
        imported(tmp_path / "d", tmp_path / "x.h5")
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):
        os.chdir("d")
    for _ in range(1100):  # pytest cannot remove what is so deep
        os.chdir("..")
        os.rmdir("d")


def test_episodes_of_flat_arrays_end_where_they_say(tmp_path: Path) -> None:
    frames = np.stack([grey(i) for i in range(6)])
    np.savez(
        tmp_path / "a.npz", observations=frames, actions=np.array([0, 1, 2, 0, 1, 2]),
        terminals=np.array([0, 0, 1, 0, 0, 0], bool), timeouts=np.array([0, 0, 0, 0, 0, 1], bool),
    )  # fmt: skip
    rollouts, _ = imported(tmp_path / "a.npz", tmp_path / "a.h5")
    assert episodes(rollouts) == [[0, 1, 2], [3, 4, 5]]
    assert rollouts.action_dim == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("episode_ends", [3, 8]),
        ("episode_lengths", [3, 5]),
        ("is_first", [1, 0, 0, 1, 0, 0, 0, 0]),
        ("episode_starts", [1, 0, 0, 1, 0, 0, 0, 0]),
        ("is_last", [0, 0, 1, 0, 0, 0, 0, 1]),
        ("dones_float", [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ("not_done", [1, 1, 0, 1, 1, 1, 1, 0]),
        ("timeouts", [0, 0, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_flat_arrays_say_in_many_words_where_episodes_end(
    tmp_path: Path, name: str, values: list[float]
) -> None:
    arrays = {"image": np.stack([grey(i) for i in range(8)]), name: np.array(values)}
    np.savez(tmp_path / "a.npz", **arrays)  # pyright: ignore[reportArgumentType]
    rollouts, _ = imported(tmp_path / "a.npz", tmp_path / "a.h5")
    assert episodes(rollouts) == [[0, 1, 2], [3, 4, 5, 6, 7]]


def test_padded_episodes_need_their_lengths(tmp_path: Path) -> None:
    frames = np.stack([[grey(i) for i in range(6)], [grey(i + 6) for i in range(6)]])
    done = np.zeros((2, 6), bool)
    done[0, 2] = done[1, 5] = True
    np.savez(tmp_path / "a.npz", frames=frames, dones=done, actions=np.zeros((2, 6, 2), np.float32))
    with pytest.raises(InputError, match="episode 0 ends with row 2 of 6; give episode_lengths"):
        imported(tmp_path / "a.npz", tmp_path / "a.h5")
    more = {"frames": frames, "dones": done, "actions": np.zeros((2, 6, 2), np.float32)}
    np.savez(tmp_path / "b.npz", lengths=np.array([4, 6]), **more)  # pyright: ignore[reportArgumentType]
    rollouts, _ = imported(tmp_path / "b.npz", tmp_path / "b.h5")
    assert episodes(rollouts) == [[0, 1, 2, 3], [6, 7, 8, 9, 10, 11]]
    assert np.flatnonzero(rollouts.column("terminated")).tolist() == [2, 8]


def test_frames_counted_in_hexadecimals(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for i in range(20):
        Image.fromarray(grey(i)).save(tmp_path / "frames" / f"frame_{i + 6:04x}.png")
    rollouts, _ = imported(tmp_path / "frames", tmp_path / "a.h5")
    assert episodes(rollouts) == [[*range(20)]]


def test_parts_stand_in_the_names_of_films_too(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for i, name in enumerate(("test_a", "train_a", "train_b", "val_a")):
        np.save(tmp_path / "films" / f"{name}.npy", np.stack([grey(4 * i), grey(4 * i + 1)]))
    rollouts, _ = imported(tmp_path / "films", tmp_path / "a.h5")
    found = {part: [int(i) for i in rollouts.part(part)] for part in ("train", "validation", "test")}
    assert {part: len(numbers) for part, numbers in found.items()} == {"train": 2, "validation": 1, "test": 1}
    assert episodes(rollouts)[found["test"][0]] == [0, 1]


def test_raised_digits_and_those_of_other_scripts_are_read_in_order(tmp_path: Path) -> None:
    for folder, name in (("raised", "1\u00b2{}"), ("arabic", "{}"), ("wide", "{}")):
        (tmp_path / folder).mkdir()
        zero = {"arabic": 0x660, "wide": 0xFF10}.get(folder, ord("0"))
        for i in range(12):
            digits = "".join(chr(zero + int(digit)) for digit in str(i))
            Image.fromarray(grey(i)).save(tmp_path / folder / f"{name.format(digits)}.png")
        rollouts, _ = imported(tmp_path / folder, tmp_path / f"{folder}.h5")
        assert episodes(rollouts) == [list(range(12))]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(InputError, match="too many pixels"):
        imported(tmp_path / "a.png", tmp_path / "a.h5")
