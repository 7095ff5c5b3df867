"""The scenes of rollouts, from which times to reach a goal are told (see `reach`)."""

from pathlib import Path

import torch

from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.particles import Particles
from dlp_dyn.video import VideoModel

_FRAMES_AT_ONCE = 128


@torch.no_grad()
def visited_episodes(model: VideoModel, data: Path) -> list[Particles]:
    """The particles (T, N, ...) of all training episodes, a block of actions apart, from each frame of the first block.

    So every frame is seen, and every stretch that is as long as a block.
    """
    rollouts = Rollouts(data)
    check_fits(model, rollouts)
    stride = model.cfg.stride
    episodes = []
    for i in rollouts.part("train"):
        images = to_images(rollouts.episode(int(i)).frames)
        scene = model.follow(images[None].split(_FRAMES_AT_ONCE, 1))
        episodes += [scene.particles[0, first::stride] for first in range(stride)]
    return [episode for episode in episodes if len(episode.position)]
