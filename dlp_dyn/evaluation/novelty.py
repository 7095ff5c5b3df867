"""Evaluating a Soft-IntroVAE of images on rollouts; how well any image model tells strange pictures from usual ones."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn import metrics
from dlp_dyn.checkpoint import load_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.game import game_figures
from dlp_dyn.evaluation.images import check_frames, spread_frames
from dlp_dyn.evaluation.samples import sample_figures
from dlp_dyn.image.model import DLP
from dlp_dyn.observation.novelty import novelty
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.model import IntroVAE

_FRAMES, _AT_ONCE = 500, 50


def evaluate_intro(
    run: str | Path, data: str | Path, part: Part = "test", device: str = "cpu"
) -> dict[str, float]:
    """Figures of a Soft-IntroVAE on frames spread over a part, and of as many samples.

    As in its training's log, and novelty, the mean of its score, with the one that a hundredth exceeds, novelty_99.
    Raises InputError for models of points, frames of another size and a part without episodes.
    """
    model = families.load(run, device)
    x = model.shown(to_images(_frames(model, data, part)).to(device))
    drawn = model.reconstruct(x).clamp(0, 1)
    sample = model.sample(len(x), torch.Generator(device).manual_seed(1))
    scores = _scores(model, x)
    return {
        "psnr": float(metrics.psnr(x, drawn).mean()),
        **sample_figures(x, sample),
        **game_figures(model, x),
        "novelty": float(scores.mean()),
        "novelty_99": float(np.quantile(scores, 0.99)),
        "frames": float(len(x)),
    }


def strangers_auroc(
    run: str | Path, usual: str | Path, strange: str | Path, part: Part = "test", device: str = "cpu"
) -> float:
    """Probability that a frame of one file has a higher novelty than one of another; 0.5 where it does not tell them.

    run: of an image model, or a Soft-IntroVAE of images. Raises InputError as `evaluate_intro` does.
    """
    model = families.load(run, device) if families.is_intro(run) else load_model(run, device)
    scores = []
    for data in (usual, strange):
        x = to_images(_frames(model, data, part)).to(device)
        scores.append(_scores(model, model.shown(x) if isinstance(model, IntroVAE) else x))
    return metrics.auroc(*scores)


def _frames(model: DLP | IntroVAE, data: str | Path, part: Part) -> UInt8[np.ndarray, "N H W 3"]:
    side = model.cfg.image_size
    if side is None:
        raise InputError(
            "evaluate: this model is of points, not of images; its training's log has its figures"
        )
    rollouts = Rollouts(data)
    check_frames(side, rollouts)
    return spread_frames(rollouts, part, _FRAMES).frames


@torch.no_grad()
def _scores(model: DLP | IntroVAE, x: Tensor) -> Float[np.ndarray, " N"]:
    g = torch.Generator(x.device).manual_seed(0)
    parts = [
        model.novelty(part, generator=g) if isinstance(model, IntroVAE) else novelty(model, part).picture
        for part in x.split(_AT_ONCE)
    ]
    return torch.cat(parts).cpu().numpy()
