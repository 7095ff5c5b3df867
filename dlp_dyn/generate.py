"""Generated videos as pictures."""

from pathlib import Path

import torch

from dlp_dyn import plots, video_plots
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.particles import Scene
from dlp_dyn.predict import check_out


def draw_generated(
    run: str | Path,
    out: str | Path,
    n: int = 4,
    frames: int = 40,
    steps: int | None = None,
    eta: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    fps: float = 12.0,
) -> Scene:
    """Draw n clips that a generator makes up, one below the other; gives their scenes. The rest as in `generate`.

    Raises InputError for a run that generates nothing and a file of another kind.
    """
    out = check_out(out)
    model = VideoGenerator.from_pretrained(run, device=device)
    scenes = model.generate(n, frames, steps, eta, torch.Generator(device).manual_seed(seed))
    pictures = video_plots.prediction_video(model.video, scenes, None, min(model.cfg.frames, frames))
    plots.write_video(out, pictures, fps)
    return scenes
