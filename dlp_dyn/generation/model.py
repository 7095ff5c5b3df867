"""VideoGenerator: a video model, and a diffusion model of the clips that its rollouts start from."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.generation.packing import ScenePacking
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.settings import has_section, read_section
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.tracking.matching import Matcher
from dlp_dyn.tracking.state import MatchState
from dlp_dyn.tree import cat
from dlp_dyn.video import VideoConfig, VideoModel

_AT_ONCE = 64  # clips
_ANYWHERE = 4.0  # no two places of a picture, from -1 to 1, are farther apart


class VideoGenerator(SharedModel):
    """Videos without a first frame (DiffuseDDLP, TMLR 2024), with any video model that takes no actions.

    Raises InputError when the settings cannot make a model.
    """

    def __init__(self, video: VideoConfig, cfg: DiffusionConfig) -> None:
        super().__init__()
        if video.dynamics.action_dim:
            raise InputError(
                "the video model needs actions, of which generation has none: use one with dynamics.action_dim=0"
            )
        self.cfg = cfg
        self.video = VideoModel(video).requires_grad_(False)
        image = video.image
        n = image.n_patches if video.tracking.kind == "grid" else image.n_particles
        self.diffusion = ClipDiffusion(
            cfg, n, ScenePacking(image.feature_dim, image.background_dim, cfg.hide_off, cfg.motion)
        )

    @classmethod
    def from_config(cls, file: Path) -> "VideoGenerator":
        """Raises InputError for the config of another kind of model."""
        if not has_section(file, "generation"):
            raise InputError(
                f"{file.parent}: generates nothing, it was not trained to; train a generator on a video model with "
                "dlp-dyn train balls_generation image=RUN"
            )
        return cls(VideoModel.from_config(file).cfg, read_section(file, "generation", DiffusionConfig))

    def sections(self) -> dict[str, object]:
        return {**self.video.sections(), "generation": self.cfg}

    def train(self, mode: bool = True) -> "VideoGenerator":
        super().train(mode)
        self.video.eval()
        return self

    @torch.no_grad()
    def generate(
        self,
        n: int,
        frames: int,
        steps: int | None = None,
        eta: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Scene:
        """n clips of scenes: the first ones drawn by diffusion, the rest the most likely to follow.

        steps: of diffusion, fewer than it was trained with for less time. eta: 1 adds noise in each step, 0 none.
        Raises InputError for no clips or no frames.
        """
        if n < 1 or frames < 1:
            raise InputError(f"{n} clips of {frames} frames: give 1 or more of each")
        drawn = [
            self.diffusion.sample(min(_AT_ONCE, n - first), steps, eta, generator)
            for first in range(0, n, _AT_ONCE)
        ]
        start = cat(drawn, 0)
        horizon = frames - self.cfg.frames
        return start[:, :frames] if horizon <= 0 else rollout(self.video.dynamics, start, horizon)

    @torch.no_grad()
    def complete(
        self,
        video: Tensor,
        missing: Sequence[int],
        steps: int | None = None,
        eta: float = 1.0,
        rounds: int = 1,
        generator: torch.Generator | None = None,
    ) -> Scene:
        """Clips (B, T, 3, H, W) with the particles of some frames drawn anew, to fit those before and after them.

        What the missing frames show is not looked at (see `around`). rounds: see `ClipDiffusion.complete`.
        Raises InputError for clips of another length than the model's, and where the first frame is missing.
        """
        n_frames = self.cfg.frames
        if video.shape[1] != n_frames:
            raise InputError(f"clips of {video.shape[1]} frames, the model completes clips of {n_frames}")
        scenes = self.around(video, missing)
        given = torch.ones(len(video), n_frames, self.diffusion.n_rows, device=video.device)
        given[:, list(missing)] = 0
        return self.diffusion.complete(scenes, given, steps, eta, rounds, generator)

    @torch.no_grad()
    def around(self, video: Tensor, missing: Sequence[int]) -> Scene:
        """Particles of clips (B, T, 3, H, W); missing frames hold those of the frame before the gap.

        Nothing follows particles through a gap: those after it take the rows of those that the dynamics expect
        there, by distance and looks, but on a grid, where rows are patches.
        Raises InputError where nothing is seen before a gap: the first frame is missing.
        """
        if 0 in missing:
            raise InputError(
                "the first frame is missing: a gap is filled from the frames before and after it"
            )
        parts: list[Scene] = []
        seen: Scene | None = None
        for gap, run in groupby(range(video.shape[1]), lambda t: t in missing):
            frames = list(run)
            if gap:
                assert seen is not None
                parts.append(cat([seen[:, -1:]] * len(frames), 1))
                continue
            found = self.video.encode(video[:, frames])[0].scene
            if seen is not None and self.video.cfg.tracking.kind != "grid":
                n_missing = parts[-1].background.shape[1]
                expected = rollout(self.video.dynamics, seen, n_missing + 1)[:, -1].particles
                found = in_order_of(expected, found)
            parts.append(found)
            seen = found
        return cat(parts, 1)


def in_order_of(expected: Particles, found: Scene) -> Scene:
    """Scenes whose particles stand in the rows of those that their first frame was expected to show."""
    missed = torch.where(expected.visible, 0, 1)
    state = MatchState(expected, torch.zeros_like(expected.position), missed)
    order, _ = Matcher(patience=0, reach=_ANYWHERE).follow(found.particles[:, 0], state)
    index = order[:, None, :, None]

    def moved(x: torch.Tensor) -> torch.Tensor:
        return x.gather(2, index.expand(-1, x.shape[1], -1, x.shape[3]))

    return Scene(found.particles.map(moved), found.background)
