"""Files of tracked things: known answers of two rectangles, one of which leaves."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from dlp_dyn import folders
from dlp_dyn.errors import InputError
from dlp_dyn.exporting.track_files import (
    Tracks,
    bounding_box,
    run_lengths,
    write_coco,
    write_mot,
    write_rerun,
)


@pytest.fixture
def tracks() -> Tracks:
    masks = np.zeros((2, 2, 4, 5), bool)
    masks[0, 0, 1:3, 2:5] = True
    masks[:, 1, 0, 0] = True
    scores = np.array([[0.9, 0.25], [0.8, 1.0]], np.float32)
    return Tracks("episode_00007", np.zeros((2, 4, 5, 3), np.uint8), masks, scores)


def test_boxes_bound_their_pixels(tracks: Tracks) -> None:
    assert bounding_box(tracks.masks[0, 0]) == (2, 1, 3, 2)
    assert bounding_box(tracks.masks[1, 0]) is None
    assert tracks.seen(1) == [(1, (0, 0, 1, 1))]


def test_run_lengths_go_down_the_columns_and_begin_with_what_is_off(tracks: Tracks) -> None:
    assert run_lengths(tracks.masks[0, 0]) == [9, 2, 2, 2, 2, 2, 1]
    assert run_lengths(tracks.masks[0, 1]) == [0, 1, 19]
    assert run_lengths(np.zeros((4, 5), bool)) == [20]
    assert run_lengths(np.ones((4, 5), bool)) == [0, 20]


def test_run_lengths_say_the_mask() -> None:
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    values = np.repeat(np.arange(len(run_lengths(mask))) % 2 == 1, run_lengths(mask))
    np.testing.assert_array_equal(values.reshape(9, 7).T, mask)


def test_coco(tracks: Tracks, tmp_path: Path) -> None:
    write_coco(tmp_path / "x.json", [tracks, tracks])
    found = json.loads((tmp_path / "x.json").read_text())
    assert [video["name"] for video in found["videos"]] == ["episode_00007"] * 2
    assert found["images"][1] == {
        "id": 2, "video_id": 1, "frame_index": 1, "width": 5, "height": 4, "file_name": "episode_00007/00001.png"
    }  # fmt: skip
    assert [(a["image_id"], a["track_id"]) for a in found["annotations"]] == [
        (1, 1), (1, 2), (2, 2), (3, 3), (3, 4), (4, 4)
    ]  # fmt: skip
    first = found["annotations"][0]
    assert (first["bbox"], first["area"], first["score"]) == ([2, 1, 3, 2], 6, 0.9)
    assert first["segmentation"] == {"size": [4, 5], "counts": [9, 2, 2, 2, 2, 2, 1]}


def test_mot(tracks: Tracks, tmp_path: Path) -> None:
    write_mot(tmp_path, [tracks])
    assert (tmp_path / "episode_00007.txt").read_text().splitlines() == [
        "1,1,3,2,3,2,0.9000,-1,-1,-1",
        "1,2,1,1,1,1,0.2500,-1,-1,-1",
        "2,2,1,1,1,1,1.0000,-1,-1,-1",
    ]


def test_a_rerun_recording(tracks: Tracks, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    write_rerun(tmp_path / "x.rrd", [tracks])
    assert (tmp_path / "x.rrd").read_bytes()[:3] == b"RRF"


def test_a_rerun_recording_on_a_full_disk_keeps_what_was_there(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rerun", reason="the extra `rerun` is not installed")
    (tmp_path / "x.rrd").write_text("an earlier one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders.os, "fsync", full)
    with pytest.raises(InputError, match="cannot be written \\(No space left on device\\)"):
        write_rerun(tmp_path / "x.rrd", [tracks])
    assert [file.read_text() for file in tmp_path.iterdir()] == ["an earlier one"]
