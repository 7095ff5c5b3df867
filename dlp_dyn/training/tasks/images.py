"""Training on frames as single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlp_dyn.clip import Clip
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset, collate
from dlp_dyn.data.inspection import inspect_rollouts
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.steering import SteeredClips
from dlp_dyn.evaluation import images as evaluation
from dlp_dyn.image.model import DLP
from dlp_dyn.plotting import pictures
from dlp_dyn.training.tasks.base import held_out

_SAMPLE_FRAMES = 6
_NONE_ON, _LITTLE, _FALL = 0.05, 0.1, 0.05


class ImageTask:
    """Clips of frames. How good a model is, held-out frames tell: whether things are found, and how they are drawn."""

    def __init__(self, cfg: TrainConfig, rollouts: Rollouts) -> None:
        self.clips: ClipDataset | SteeredClips = ClipDataset(
            rollouts, "train", cfg.data.clip_length, cfg.data.stride
        )
        self.found = inspect_rollouts(rollouts) if len(set(rollouts.image_size)) == 1 else None
        self.held_out = evaluation.spread_frames(rollouts, held_out(rollouts), cfg.eval_frames)
        some = np.linspace(0, len(self.held_out) - 1, _SAMPLE_FRAMES).round().astype(int)
        self.sample = self.held_out.frames[np.unique(some)]
        self._before: dict[str, float] = {}

    def collate(self, clips: Sequence[Clip]) -> Clip:
        return collate(clips)

    def evaluate(self, model: DLP) -> dict[str, float]:
        return evaluation.evaluate_held_out(model, self.held_out, self.found)

    def score(self, metrics: dict[str, float]) -> float:
        """PSNR, and 100 times the harmonic mean of recall and precision, of true objects or else of what moves."""
        for recall, precision in (("recall", "precision"), ("moving_recall", "moving_precision")):
            if recall in metrics:
                both = metrics[recall] + metrics.get(precision, 0.0)
                found = 2 * metrics[recall] * metrics.get(precision, 0.0) / both if both else 0.0
                return 100 * found + metrics["psnr"]
        return metrics["psnr"]

    def warnings(self, metrics: dict[str, float]) -> list[str]:
        before, self._before = self._before, metrics
        told = []
        if metrics.get("particles_on", 1.0) < _NONE_ON:
            told.append(
                "no particle is on, the background draws it all: start from the preset image, or lower "
                "weights.particles, weights.transparency_sum and weights.opacity"
            )
        elif metrics.get("moving_share", 1.0) < _LITTLE:
            told.append(
                f"only {metrics['moving_share']:.0%} of what moves is drawn: train longer, or raise "
                "weights.reconstruction"
            )
        for recall in ("recall", "moving_recall"):
            fell = before.get(recall, 0.0) - metrics.get(recall, 0.0)
            if fell > _FALL and metrics["psnr"] > before["psnr"]:
                told.append(
                    f"{recall} fell from {before[recall]:.2f} to {metrics[recall]:.2f} while PSNR rose: a particle "
                    "may draw two things that touch; try a smaller model.glimpse_fraction, or prices.exchange=0.5"
                )
        return told

    def draw(self, model: DLP, folder: Path, step: int) -> None:
        pictures.write_image(
            folder / f"step_{step:07d}.png", pictures.sample_grid(model, self.sample, self.found)
        )
