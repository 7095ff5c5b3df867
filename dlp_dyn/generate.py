"""What models make up, as pictures: videos of a generator, samples of a Soft-IntroVAE."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlp_dyn.data import densities
from dlp_dyn.errors import InputError
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.particles import Scene
from dlp_dyn.plotting import pictures, samples, videos
from dlp_dyn.predict import check_out
from dlp_dyn.settings import has_section, read_yaml
from dlp_dyn.sharing.locate import CONFIG, resolve
from dlp_dyn.soft_intro import families

_ROWS = 6  # of samples


def makes_samples(run: str | Path) -> bool:
    """Whether a run is of a Soft-IntroVAE, which draws samples and no videos."""
    return has_section(resolve(run) / CONFIG, "soft_intro")


def draw_samples(run: str | Path, out: str | Path, n: int = 24, seed: int = 0, device: str = "cpu") -> Tensor:
    """Draw n samples of a Soft-IntroVAE into a picture; gives them as tensors (n, ...).

    Images and point clouds stand side by side, points of the plane in one square.
    Raises InputError for another run and a file that is no PNG, JPEG or WebP.
    """
    out = Path(out)
    if out.suffix.lower() not in (".png", ".jpg", ".webp"):
        raise InputError(f"{out}: samples are a picture; use .png, .jpg or .webp")
    model = families.load(run, device)
    drawn = model.sample(n, torch.Generator(device).manual_seed(seed))
    if model.cfg.densities is not None:
        limit = densities.limit(str(read_yaml(resolve(run) / CONFIG).get("data", {}).get("path", "")))
        picture = samples.points_picture(drawn.cpu().numpy(), limit)
    else:
        one = samples.cloud_picture if model.cfg.point_clouds is not None else samples.image_picture
        tiles = [one(x) for x in drawn.float().cpu().numpy()]
        tiles += [np.full_like(tiles[0], 255)] * (-n % _ROWS)
        columns = [np.concatenate(tiles[i : i + _ROWS]) for i in range(0, len(tiles), _ROWS)]
        picture = np.concatenate(columns, 1)
    pictures.write_image(out, picture)
    return drawn


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
    frames_drawn = videos.prediction_video(model.video, scenes, None, min(model.cfg.frames, frames))
    pictures.write_video(out, frames_drawn, fps)
    return scenes
