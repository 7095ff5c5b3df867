"""What mixed styles are judged by."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import styles
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.evaluation.images import spread_frames


def test_four_pixels_do_not_tell_the_pattern_and_eight_do() -> None:
    pictures, kinds = styles.all_pictures()
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures) == 72
    small = F.avg_pool2d(to_images(pictures), 2)
    for half, colour in np.unique(kinds[:, :2], axis=0):
        same = small[(kinds[:, :2] == (half, colour)).all(1)]
        assert (same - same[0]).abs().max() < 0.01
    coarse = small[kinds[:, 2] == 0].flatten(1)
    assert (torch.cdist(coarse, coarse) + torch.eye(len(coarse))).min() > 0.3


def test_drawings_are_told_by_the_nearest_picture() -> None:
    pictures, kinds = styles.all_pictures()
    noisy = to_images(pictures) + 0.05 * torch.randn(len(pictures), 3, 8, 8)
    found, near = styles.nearest(noisy)
    assert (found == kinds).all()
    assert (near > styles._NEAR).all()


class Exchanger:
    """Half of the coarse ones up to the third style, else of the fine ones; all else is of the fine ones."""

    own = SimpleNamespace(n_levels=2)

    def reconstruct(self, x: Tensor) -> Tensor:
        return x

    def sample(self, n: int, g: torch.Generator) -> Tensor:
        pictures = to_images(styles.all_pictures()[0])[:9]
        return pictures[torch.randint(len(pictures), (n,), generator=g)]

    def mix(self, coarse: Tensor, fine: Tensor, first: int) -> Tensor:
        pictures, kinds = styles.all_pictures()
        wanted = styles.nearest(fine)[0]
        if first == 3:
            wanted[:, 0] = styles.nearest(coarse)[0][:, 0]
        at = [int(np.flatnonzero((kinds == kind).all(1))[0]) for kind in wanted]
        return to_images(pictures[at])


def test_what_coarse_and_fine_styles_give_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "halves.h5"
    styles.write(str(path))
    frames = spread_frames(Rollouts(path), "test", 200).frames
    told = styles.figures(cast(Any, Exchanger()), frames).splitlines()
    assert told[0].endswith("half 1.00, colour 1.00, pattern 1.00")
    assert told[1] == "samples: 1.00 within 20 dB of a picture, 9 of 72 among them"
    assert told[-3:] == [
        "| 1 | 0.00, 1.00 | 0.00, 1.00 | 0.00, 1.00 |",
        "| 2 | 0.00, 1.00 | 0.00, 1.00 | 0.00, 1.00 |",
        "| 3 | 1.00, 0.00 | 0.00, 1.00 | 0.00, 1.00 |",
    ]
