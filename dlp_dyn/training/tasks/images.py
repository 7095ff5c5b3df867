"""Training on frames as single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlp_dyn import plots
from dlp_dyn.clip import Clip
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.rollouts import ClipDataset, Rollouts, collate
from dlp_dyn.evaluation import images as evaluation
from dlp_dyn.image.model import DLP

_SAMPLE_FRAMES = 6


class ImageTask:
    """Clips of frames; the reconstruction of held-out frames tells how good a model is."""

    def __init__(self, cfg: TrainConfig, rollouts: Rollouts) -> None:
        self.clips = ClipDataset(rollouts, "train", cfg.data.clip_length, cfg.data.stride)
        self.held_out = evaluation.spread_frames(rollouts, "validation", cfg.eval_frames)
        some = np.linspace(0, len(self.held_out) - 1, _SAMPLE_FRAMES).round().astype(int)
        self.sample = self.held_out.frames[np.unique(some)]

    def collate(self, clips: Sequence[Clip]) -> Clip:
        return collate(clips)

    def evaluate(self, model: DLP) -> dict[str, float]:
        return evaluation.judge_held_out(model, self.held_out)

    def score(self, metrics: dict[str, float]) -> float:
        return metrics["psnr"]

    def draw(self, model: DLP, folder: Path, step: int) -> None:
        plots.write_image(folder / f"step_{step:07d}.png", plots.sample_grid(model, self.sample))
