"""Training diffusion on the particles that a frozen video model has encoded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dlp_dyn.clip import SceneClip
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.objectives.denoising import denoising_error, levels
from dlp_dyn.plotting import pictures, videos
from dlp_dyn.training import particle_clips
from dlp_dyn.training.particle_clips import ParticleClips
from dlp_dyn.training.tasks.particles import encoded

_SAMPLE_CLIPS, _SAMPLE_FRAMES, _SAMPLE_STEPS = 3, 24, 50


class GenerationTask:
    """Every episode is encoded once; the denoiser's error on held-out clips with fixed noise tells how good it is."""

    def __init__(self, cfg: TrainConfig, model: VideoGenerator, rollouts: Rollouts) -> None:
        n_frames = model.cfg.frames
        train, validation = (encoded(model.video, rollouts, part) for part in ("train", "validation"))
        self.clips = ParticleClips(ClipDataset(rollouts, "train", n_frames, cfg.data.stride), "train", train)
        pairs = ParticleClips(ClipDataset(rollouts, "train", 2, cfg.data.stride), "train", train)
        ranges = pairs.whole() if model.cfg.motion else train
        model.diffusion.normalizer.fit(ranges, model.cfg.normalization, model.cfg.quantile)
        later = ClipDataset(rollouts, "validation", n_frames, cfg.data.stride)
        if not len(self.clips) or not len(later):
            raise InputError(
                f"{rollouts.path}: no episode of {n_frames} frames at stride {cfg.data.stride}: lower generation.frames"
            )
        spread = np.linspace(0, len(later) - 1, cfg.eval_frames).round().astype(int)
        held_out = ParticleClips(later, "validation", validation)
        self.held_out = held_out.__getitems__(np.unique(spread).tolist())[0].scene

    def collate(self, clips: Sequence[SceneClip]) -> SceneClip:
        return particle_clips.collate(clips)

    @torch.no_grad()
    def evaluate(self, model: VideoGenerator) -> dict[str, float]:
        diffusion, training = model.diffusion, model.training
        model.eval()
        rows = diffusion.rows(self.held_out.to(next(model.parameters()).device))
        g = torch.Generator().manual_seed(0)
        noise = torch.randn(rows.shape, generator=g).to(rows)
        t = levels(diffusion, len(rows), g).to(rows.device)
        error = denoising_error(diffusion, rows, noise, t).mean()
        model.train(training)
        return {"denoising": float(error)}

    def score(self, metrics: dict[str, float]) -> float:
        return -metrics["denoising"]

    def warnings(self, metrics: dict[str, float]) -> Sequence[str]:  # noqa: ARG002 - pictures tell more here
        return ()

    def draw(self, model: VideoGenerator, folder: Path, step: int) -> None:
        training, device = model.training, next(model.parameters()).device
        model.eval()
        steps = min(_SAMPLE_STEPS, model.cfg.steps)
        g = torch.Generator(device).manual_seed(0)
        scenes = model.generate(_SAMPLE_CLIPS, _SAMPLE_FRAMES, steps, generator=g)
        model.train(training)
        frames = videos.prediction_video(model.video, scenes, None, model.cfg.frames)
        pictures.write_video(folder / f"step_{step:07d}.gif", frames, 8)
