"""How far things move from one frame of a video model to the next, measured before its dynamics are made."""

from collections.abc import Sequence

import numpy as np
import torch

from dlp_dyn.checkpoint import load_model
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.particles import Particles
from dlp_dyn.training.particle_clips import encode_episode
from dlp_dyn.video import VideoConfig, VideoModel

_FRAMES = 2_000  # that are looked at, or one episode
_MOST = 0.99  # the quantile of changes of motion that counts as the most that happens
_LEAST = 0.01  # in [-1, 1] units, a third of a pixel of 64: less is noise


def followed(cfg: TrainConfig, rollouts: Rollouts) -> list[Particles]:
    """Particles (T, N, ...) of some training episodes, by the image model that the dynamics are trained on."""
    video = VideoConfig(cfg.model, cfg.tracking, cfg.dynamics, cfg.data.stride)
    model = VideoModel(video).eval()
    model.image.load_state_dict(load_model(cfg.image or "").state_dict())
    episodes, n_frames = [], 0
    for i in np.random.default_rng(0).permutation(rollouts.part("train")):
        if n_frames >= _FRAMES:
            break
        episodes.append(encode_episode(model, rollouts.episode(int(i)).frames).particles)
        n_frames += len(episodes[-1].position)
    return episodes


def motion_unit(episodes: Sequence[Particles], stride: int) -> float:
    """Half of the most that motions change by from one frame of the model to the next, in [-1, 1] units.

    A motion itself is a change too, for the model may see one frame alone. Of particles (T, N, ...) that stay on.
    """
    changes = [torch.zeros(0)]
    for p in episodes:
        for first in range(min(stride, len(p.position))):
            place, on = p.position[first::stride], p.visible[first::stride]
            motion, stayed = place.diff(dim=0), on[1:] & on[:-1]
            changes.append(motion.norm(dim=-1)[stayed])
            changes.append(motion.diff(dim=0).norm(dim=-1)[stayed[1:] & stayed[:-1]])
    found = torch.cat(changes)
    moving = found[found > _LEAST]
    return max(float(np.quantile(moving.numpy(), _MOST)) / 2, _LEAST) if len(moving) else _LEAST
