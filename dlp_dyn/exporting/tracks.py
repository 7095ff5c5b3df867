"""The particles of episodes as boxes and masks in pixels, for files that other tools read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from dlp_dyn import checkpoint
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import check_size
from dlp_dyn.exporting import track_files
from dlp_dyn.exporting.track_files import Tracks
from dlp_dyn.video import VideoModel

Format = Literal["coco", "mot", "rerun"]
_PIECE = 32  # frames that are encoded and drawn at once
_SHARE = 0.5  # of a pixel that a particle has to draw for the pixel to be its own


def opened(run: str | Path, data: str | Path, device: str) -> tuple[VideoModel, Rollouts]:
    """A video model whose particles follow things, and the data in which they shall."""
    model, rollouts = checkpoint.load_video_model(run, device), checkpoint.rollouts_of(run, data)
    if model.cfg.tracking.kind == "grid":
        raise InputError(
            f"{run}: its particles are patches, which do not follow things: use another kind of tracking"
        )
    check_size(model.image, rollouts)
    return model, rollouts


@torch.no_grad()
def follow(model: VideoModel, frames: UInt8[np.ndarray, "T H W 3"], name: str) -> Tracks:
    """The particles of an episode, each with the pixels that it draws most of."""
    video = to_images(frames, next(model.parameters()).device)
    scene = model.follow(piece[None] for piece in video.split(_PIECE))
    masks = [
        (model.image.masks(piece, decoded) > _SHARE).cpu().numpy()
        for piece, decoded in model.draw(scene, _PIECE)
    ]
    scores = scene.particles.transparency[0, ..., 0].cpu().numpy()
    return Tracks(name, frames, np.concatenate(masks), scores)


def track(
    run: str | Path,
    data: str | Path,
    out: Path,
    format: Format,
    part: Part = "test",
    episodes: int | None = None,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda done: None,  # noqa: ARG005
) -> None:
    """Write the particles of a part's episodes: COCO JSON (one file), MOT text (a folder) or a Rerun recording.

    Raises InputError for an image model, a grid of patches, frames of another size, a part without episodes, and where
    rerun-sdk is not installed.
    """
    model, rollouts = opened(run, data, device)
    index = rollouts.some_of(part, episodes)

    def followed() -> Iterator[Tracks]:
        for n, i in enumerate(index):
            yield follow(model, rollouts.episode(int(i)).frames, f"episode_{int(i):05d}")
            progress(n + 1)

    writers = {"coco": track_files.write_coco, "mot": track_files.write_mot, "rerun": track_files.write_rerun}
    writers[format](out, followed())
