"""Rollout files that other programs wrote, hold open or have cut short: one line, never another frame."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError

FRAMES = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)


def write(path, **arrays):
    """A rollout file of two episodes, written by hand."""
    with h5py.File(path, "w") as file:
        file.attrs["format_version"] = 1
        for name, values in {
            "episode_ends": np.array([20, 40]),
            "episode_parts": np.array([0, 1], np.uint8),
            "frames": FRAMES,
            **arrays,
        }.items():
            file[name] = values
    return path


@pytest.mark.parametrize("ends", [np.int32, np.uint64])
def test_what_others_write_right_is_read(tmp_path, ends):
    path = write(
        tmp_path / "x.h5", actions=np.zeros((40, 2), np.float32), episode_ends=np.array([20, 40], ends)
    )
    np.testing.assert_array_equal(Rollouts(path).episode(1).frames, FRAMES[20:])


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"episode_ends": np.array([30, 20, 40]), "episode_parts": np.zeros(3, np.uint8)}, "must rise"),
        ({"episode_ends": np.array([0, 40])}, "must rise"),
        ({"episode_ends": np.array([20, 41])}, "must rise"),
        ({"episode_ends": np.array([20.0, 40.0])}, "whole number"),
        ({"episode_parts": np.array([0, 7], np.uint8)}, "episode_parts holds 7"),
        ({"episode_parts": np.zeros(3, np.uint8)}, "one whole number an episode"),
        ({"frames": np.concatenate([FRAMES, FRAMES[..., :1]], -1)}, "expected RGB"),
        ({"frames": FRAMES.astype(np.float32)}, "expected uint8"),
        ({"actions": np.zeros((39, 2), np.float32)}, "one row a frame"),
        ({"rewards": np.float32(1)}, "one row a frame"),
        ({"states/position": np.zeros((41, 3, 2), np.float32)}, "one row a frame"),
        ({"states/position": np.zeros((40, 3, 3), np.float32)}, r"states/position of shape \(3, 3\)"),
        (
            {
                "states/position": np.zeros((40, 3, 2), np.float32),
                "states/visible": np.zeros((40, 2), bool),
            },
            r"states/visible of shape \(2,\) a frame, expected \(3,\)",
        ),
        ({"rewards": np.zeros((40, 2), np.float32)}, "expected one value"),
        ({"states/masks": np.zeros((40, 8, 8), np.uint8)}, r"states/masks of shape \(8, 8\)"),
        ({"states/masks": np.zeros((40, 16, 16), np.int32)}, "expected uint8: numbers of objects"),
    ],
)
def test_what_others_write_wrong_is_one_line(tmp_path, arrays, reason):
    with pytest.raises(InputError, match=reason) as error:
        Rollouts(write(tmp_path / "x.h5", **arrays))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_file_lacks_is_named(tmp_path):
    with h5py.File(write(tmp_path / "x.h5"), "a") as file:
        del file["episode_parts"]
    with pytest.raises(InputError, match=r"x\.h5: has no episode_parts"):
        Rollouts(tmp_path / "x.h5")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_chunks_that_were_never_written_are_black_as_hdf5_has_them(tmp_path, compression):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        del file["frames"]
        frames = file.create_dataset(
            "frames", FRAMES.shape, np.uint8, chunks=(8, 16, 16, 3), compression=compression
        )
        frames[:16], frames[24:] = FRAMES[:16], FRAMES[24:]
    read = Rollouts(path).frames(np.arange(len(FRAMES)))
    assert not read[16:24].any()
    assert (read[:16] == FRAMES[:16]).all()
    assert (read[24:] == FRAMES[24:]).all()


def test_frames_without_a_place(tmp_path):
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        del file["frames"]
        file.create_dataset("frames", FRAMES.shape, np.uint8)
    with pytest.raises(InputError, match="outside of the file"):
        Rollouts(path)


def test_a_locked_file_is_not_damaged(tmp_path):
    path = write(tmp_path / "x.h5")
    code = f"import h5py, sys; f = h5py.File({str(path)!r}, 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InputError, match="locked: another program"):
            Rollouts(path)


def test_frames_and_rows_of_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(320))
    other = write(tmp_path / "other.h5")
    for name, link in (("frames", h5py.ExternalLink(other, "frames")), ("frames", h5py.SoftLink("/pixels"))):
        path = write(tmp_path / "x.h5", pixels=FRAMES)
        with h5py.File(path, "a") as file:
            del file[name]
            file[name] = link
        with pytest.raises(InputError, match="has no frames"):
            Rollouts(path)
    path = write(tmp_path / "x.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("actions", (40, 2), "f4", external=[(tmp_path / "secret", 0, 320)])
    with pytest.raises(InputError, match="secret"):
        Rollouts(path)
