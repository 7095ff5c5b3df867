"""Reading random clips: from a rollout file against pictures in a folder, one PNG a frame; from the page cache."""

import tempfile
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from benchmarks.count import count
from benchmarks.measure import Cost, Row, compare
from benchmarks.table import main
from dlp_dyn.clip import to_images
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.clips import ClipDataset, collate

QUESTION = "read a batch of clips, as the model sees them"
EPISODES, LENGTH = 40, 50
SIZES = [(32, 1, 64), (8, 11, 64), (4, 11, 128)]  # clips, frames of each, image side
BATCHES = 16  # that are read in turn


def run(device: torch.device, quick: bool) -> list[Row]:
    return [_row(device, quick, *size) for size in ([(2, 3, 32)] if quick else SIZES)]


def _row(device: torch.device, quick: bool, batch: int, length: int, side: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        file, pictures = Path(folder) / "balls.h5", Path(folder)
        episodes = 4 if quick else EPISODES
        write_balls(
            file, (episodes, 0, 0), LENGTH, image_size=side, n_balls=2, radius=side / 8, speed=side / 32
        )
        data = ClipDataset(file, "train", length)
        write_pictures(data, pictures)
        rng = np.random.default_rng(0)
        choices = [rng.integers(len(data), size=batch) for _ in range(BATCHES)]
        mine, theirs = cycle(choices), cycle(choices)

        def ours() -> Tensor:
            return collate(data.__getitems__(next(mine).tolist())).to(device).video

        def plain() -> Tensor:
            return read_pictures(pictures, data.starts[next(theirs)], length).to(device)

        times = compare(ours, plain, device, 1 if quick else 15)
        clip = collate(data.__getitems__(choices[0].tolist()))
        moved = 2 * clip.frames.nbytes + count(lambda: clip.video).moved  # out of the file, then to floats
    costs = [Cost(t, 0, moved=moved) for t in times]
    return Row("load", f"{batch} clips x {length} frames at {side}", costs[0], costs[1])


def write_pictures(data: ClipDataset, folder: Path) -> None:
    frames = data.rollouts.frames(np.arange(data.rollouts.n_frames))
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame[..., ::-1])


def read_pictures(folder: Path, starts: np.ndarray, length: int) -> Float[Tensor, "B T 3 H W"]:
    clips = [[_read_picture(folder / f"{start + t}.png") for t in range(length)] for start in starts]
    return torch.stack([to_images(np.stack(clip)) for clip in clips])


def _read_picture(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture[..., ::-1]


if __name__ == "__main__":
    main(QUESTION, run)
