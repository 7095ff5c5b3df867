"""Writers of tracked things: COCO JSON, MOT text, Rerun recordings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from dlp_dyn import folders
from dlp_dyn.errors import InputError

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tracks:
    """N things of an episode, which keep their number. masks: the pixels that each shows in. scores: in [0, 1]."""

    name: str
    frames: UInt8[np.ndarray, "T H W 3"]
    masks: Bool[np.ndarray, "T N H W"]
    scores: Float[np.ndarray, "T N"]

    def seen(self, t: int) -> list[tuple[int, Box]]:
        """The things that show in a frame, each with its bounding box."""
        return [(i, box) for i, mask in enumerate(self.masks[t]) if (box := bounding_box(mask)) is not None]


def bounding_box(mask: Bool[np.ndarray, "H W"]) -> Box | None:
    """(left, top, width, height) in whole pixels from the left upper corner; None where nothing is."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def run_lengths(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """COCO's uncompressed run lengths: down the columns, of off and on in turn, off first (it may be 0 long)."""
    pixels = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    return np.diff(changes, prepend=0, append=mask.size).tolist()


def write_coco(out: Path, episodes: Iterable[Tracks]) -> None:
    """One JSON file; each episode a video of COCO-VIS, each frame an image, each thing seen an annotation with a track.

    `file_name` is EPISODE/FRAME.png, counted from 0: the pictures themselves are not written.
    """
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    n_tracks = 0
    for tracks in episodes:
        videos.append({"id": len(videos) + 1, "name": tracks.name})
        height, width = tracks.frames.shape[1:3]
        for t in range(len(tracks.frames)):
            image = {
                "id": len(images) + 1,
                "video_id": len(videos),
                "frame_index": t,
                "width": width,
                "height": height,
            }
            images.append(image | {"file_name": f"{tracks.name}/{t:05d}.png"})
            for i, box in tracks.seen(t):
                mask = tracks.masks[t, i]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images),
                        "video_id": len(videos),
                        "category_id": 1,
                        "track_id": n_tracks + i + 1,
                        "bbox": list(box),
                        "area": int(mask.sum()),
                        "segmentation": {"size": [height, width], "counts": run_lengths(mask)},
                        "iscrowd": 0,
                        "score": round(float(tracks.scores[t, i]), 4),
                    }
                )
        n_tracks += tracks.masks.shape[1]
    categories = [{"id": 1, "name": "particle"}]
    content = {"videos": videos, "images": images, "annotations": annotations, "categories": categories}
    folders.write_file(out, json.dumps(content).encode())


def write_mot(out: Path, episodes: Iterable[Tracks]) -> None:
    """A folder with a text an episode, as MOTChallenge has them: frame, track, left, top, width, height, score, -1, -1,
    -1; frames, tracks and pixels are counted from 1."""
    for tracks in episodes:
        rows = [
            f"{t + 1},{i + 1},{left + 1},{top + 1},{width},{height},{tracks.scores[t, i]:.4f},-1,-1,-1\n"
            for t in range(len(tracks.frames))
            for i, (left, top, width, height) in tracks.seen(t)
        ]
        folders.write_file(out / f"{tracks.name}.txt", "".join(rows).encode())


def write_rerun(out: Path, episodes: Iterable[Tracks]) -> None:
    """A recording for Rerun's viewer: pictures, boxes and masks of every episode on a timeline of frames.

    Raises InputError where rerun-sdk is not installed, and when the file cannot be written.
    """
    try:
        import rerun  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("a Rerun recording needs rerun-sdk: pip install 'dlp_dyn[rerun]'") from None
    recording = rerun.RecordingStream("dlp_dyn")
    written = recording.binary_stream()
    for tracks in episodes:
        for t, frame in enumerate(tracks.frames):
            recording.set_time("frame", sequence=t)
            recording.log(tracks.name, rerun.Image(frame))
            seen = tracks.seen(t)
            boxes = np.array([box for _, box in seen], np.float32).reshape(-1, 4)
            slots = [i + 1 for i, _ in seen]
            recording.log(
                f"{tracks.name}/boxes",
                rerun.Boxes2D(array=boxes, array_format=rerun.Box2DFormat.XYWH, class_ids=slots),
            )
            labels = (tracks.masks[t] * np.arange(1, tracks.masks.shape[1] + 1)[:, None, None]).max(0)
            recording.log(f"{tracks.name}/masks", rerun.SegmentationImage(labels.astype(np.uint16)))
    data = written.read()
    assert data is not None
    folders.write_file(out, data)  # Rerun's own writer tells nobody of a full disk
