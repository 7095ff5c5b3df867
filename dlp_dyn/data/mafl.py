"""CelebA with MAFL's split, on disk: faces and five landmarks, as DLPv1 and its baselines see them.

ROOT/Img/img_align_celeba_hq/*.jpg (or img_align_celeba)     aligned faces of 178 x 218 pixels
     Anno/list_landmarks_align_celeba.txt
     Eval/list_eval_partition.txt
     MAFL/training.txt, MAFL/testing.txt                     names of images, one a line
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8

from dlp_dyn.data.writer import Episode, Part, RolloutWriter
from dlp_dyn.errors import InputError

SIDE = 160  # pixels: a model sees the middle 128
_ROWS = (30, 208)  # of the aligned pictures that are kept
_FOLDERS = ("img_align_celeba_hq", "img_align_celeba")
_LISTS = {
    "landmarks": "Anno/list_landmarks_align_celeba.txt",
    "partition": "Eval/list_eval_partition.txt",
    "training": "MAFL/training.txt",
    "testing": "MAFL/testing.txt",
}


class Mafl:
    """A user's copy. Raises InputError, naming what is missing, for a folder of another layout."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        missing = [file for file in _LISTS.values() if not (self.root / file).is_file()]
        found = [f for f in _FOLDERS if (self.root / "Img" / f).is_dir()]
        if not found:
            missing.insert(0, f"Img/{_FOLDERS[0]}")
        if missing:
            raise InputError(
                f"{root}: no copy of CelebA with MAFL, {', '.join(missing)} is missing; unpack the archives of CelebA "
                "(aligned images, landmarks, partition) and MAFL's lists there"
            )
        self.images = self.root / "Img" / found[0]
        lines = self._lines("landmarks")[2:]
        self.landmarks = {name: np.array(values, float).reshape(5, 2) for name, *values in lines}
        self.training = [line[0] for line in self._lines("training")]
        self.testing = [line[0] for line in self._lines("testing")]
        labelled = {*self.training, *self.testing}
        self.unlabelled = [n for n, part in self._lines("partition") if part == "0" and n not in labelled]

    def frame(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Rows 30 to 207 of a face, resized to 160 pixels."""
        file = self.images / name
        if not file.is_file():
            file = file.with_suffix(".png")
        if not file.is_file():
            raise InputError(f"{self.images / name}: no such file; it is named in {self.root}")
        picture = torch.from_numpy(iio.imread(file)[_ROWS[0] : _ROWS[1], :, :3].copy())
        pixels = picture.permute(2, 0, 1)[None].float()
        small = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        return small[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()

    def points(self, name: str) -> Float[np.ndarray, "5 2"]:
        """Eyes, nose and corners of the mouth as (x, y) in [-1, 1] of the frame."""
        pixels = (self.landmarks[name] - (0, _ROWS[0])) * SIDE / (_ROWS[1] - _ROWS[0])
        return (pixels * (2 / (SIDE - 1)) - 1).astype(np.float32)

    def _lines(self, which: str) -> list[list[str]]:
        text = (self.root / _LISTS[which]).read_text()
        return [line.split() for line in text.splitlines() if line.strip()]


def write_mafl(root: str | Path, path: str | Path, progress: Callable[[int], None] | None = None) -> None:
    """Writes a rollout file: CelebA's training faces without any of MAFL, then MAFL's training faces as validation and
    its test faces as test, each an episode of one frame with its landmarks as `states/position`.

    `progress` is told how many pictures are done.
    """
    data, done = Mafl(root), 0
    parts: dict[Part, Sequence[str]] = {
        "train": data.unlabelled,
        "validation": data.training,
        "test": data.testing,
    }
    with RolloutWriter(path, attributes={"env_id": "celeba"}) as writer:
        for part, names in parts.items():
            for name in names:
                episode = Episode(data.frame(name)[None], states={"position": data.points(name)[None]})
                writer.append(episode, part)
                done += 1
                if progress:
                    progress(done)
