"""What a controller saw and believed: the real frames, what was imagined for them, and where each plan ends."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from dlp_dyn.planning.controller import Moment
from dlp_dyn.plotting.pictures import enlarge, label_grid, to_uint8
from dlp_dyn.video import VideoModel


@torch.no_grad()
def record(
    model: VideoModel,
    moments: Sequence[Moment],
    replan: int = 1,
    goal: UInt8[np.ndarray, "H W 3"] | None = None,
) -> UInt8[np.ndarray, "F h w 3"]:
    """A picture for every plan of an episode: now, as the plan before imagined it, the plan's end, and the goal."""
    before = None
    pictures = []
    for moment in moments:
        ends = model.images(moment.imagined)[0]
        row = {
            "real": enlarge(moment.frame),
            "imagined before": enlarge(moment.frame if before is None else before),
            "where the plan ends": enlarge(to_uint8(ends[-1])),
        }
        if goal is not None:
            row["goal"] = enlarge(goal)
        pictures.append(label_grid([row]))
        before = to_uint8(ends[replan - 1])
    return np.stack(pictures)
