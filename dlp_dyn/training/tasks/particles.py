"""Training dynamics on the particles that a frozen image model has encoded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlp_dyn.clip import SceneClip
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.synthetic import cache_folder
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.particles import Draw, Scene, mean, sampler
from dlp_dyn.plotting import pictures, videos
from dlp_dyn.progress import track
from dlp_dyn.training import particle_clips
from dlp_dyn.training.particle_clips import ParticleClips, encode_part
from dlp_dyn.training.tasks.base import held_out
from dlp_dyn.training.tasks.clips import fit_actions
from dlp_dyn.video import VideoModel

_SAMPLE_CLIPS = 2
_HORIZON = 10  # steps that held-out rollouts are evaluated on, or as many as an episode has


class ParticleTask:
    """Every episode is encoded once; rollouts from held-out windows tell how good the dynamics are.

    Of random dynamics by the energy score of two futures: what they are wrong by, less half of what they differ by. It
    is least for draws from the true law, and for certain dynamics it is the error.
    """

    def __init__(self, cfg: TrainConfig, model: VideoModel, rollouts: Rollouts) -> None:
        fit_actions(model, rollouts, cfg.data.stride)
        stride, self.window = cfg.data.stride, cfg.dynamics.window
        part = held_out(rollouts)
        train, later_scenes = encoded(model, rollouts, "train"), encoded(model, rollouts, part)
        clips = ClipDataset(rollouts, "train", cfg.data.clip_length, stride)
        self.clips = ParticleClips(clips, "train", train)
        longest = int(rollouts.episode_lengths[rollouts.part(part)].max())
        self.horizon = max(min(_HORIZON, (longest - 1) // stride + 1 - self.window), 1)
        later = ClipDataset(rollouts, part, self.window + self.horizon, stride)
        self.held_out = ParticleClips(later, part, later_scenes)
        spread = np.linspace(0, len(later) - 1, cfg.eval_frames).round().astype(int)
        self.index = np.unique(spread).tolist()
        self.drawn = self.index[:: max(len(self.index) // _SAMPLE_CLIPS, 1)][:_SAMPLE_CLIPS]
        frames = later.starts[self.drawn][:, None] + np.arange(self.window + self.horizon) * stride
        self.truth = rollouts.frames(frames)

    def collate(self, clips: Sequence[SceneClip]) -> SceneClip:
        return particle_clips.collate(clips)

    def evaluate(self, model: VideoModel) -> dict[str, float]:
        generator = torch.Generator(next(model.parameters()).device).manual_seed(0)
        draws = [sampler(generator)] * 2 if model.dynamics.random else [mean]
        both = [self._predicted(model, self.index, draw) for draw in draws]
        truth = both[0][1].particles[:, self.window :]
        on = truth.transparency[..., 0]
        futures = [scene.particles.position[:, self.window :] for scene, _ in both]

        def gap(a: Tensor, b: Tensor) -> Tensor:
            apart = (a - b).norm(dim=-1) / 2  # in image sides
            return (apart * on).sum((0, 2)) / on.sum((0, 2)).clamp_min(1e-6)

        error = torch.stack([gap(future, truth.position) for future in futures]).mean(0)
        error = error - gap(futures[0], futures[-1]) / 2
        return {
            "rollout_error": float(error.sum()),
            "first_step": float(error[0]),
            "last_step": float(error[-1]),
        }

    def score(self, metrics: dict[str, float]) -> float:
        return -metrics["rollout_error"]

    def warnings(self, metrics: dict[str, float]) -> Sequence[str]:  # noqa: ARG002 - pictures tell more here
        return ()

    def draw(self, model: VideoModel, folder: Path, step: int) -> None:
        predicted = self._predicted(model, self.drawn, mean)[0]
        frames = videos.prediction_video(model, predicted, self.truth, self.window)
        pictures.write_video(folder / f"step_{step:07d}.gif", frames, 8)

    def _predicted(self, model: VideoModel, clips: list[int], draw: Draw) -> tuple[Scene, Scene]:
        """Rollouts from the first `window` scenes of held-out clips, and what the clips hold."""
        clip = self.held_out.__getitems__(clips)[0].to(next(model.parameters()).device)
        training = model.dynamics.training
        model.dynamics.eval()
        context = clip.scene[:, : self.window]
        scene = rollout(model.dynamics, context, self.horizon, Conditions(clip.actions), draw)
        model.dynamics.train(training)
        return scene, clip.scene


def encoded(model: VideoModel, rollouts: Rollouts, part: Part) -> Scene:
    """The scenes of a part, kept in the user's cache: the image model's run is another's."""
    cache = cache_folder() / "particles"
    with track(f"encode {part}", len(rollouts.part(part)), "episodes") as progress:
        return encode_part(model, rollouts, part, cache, progress.reach)
