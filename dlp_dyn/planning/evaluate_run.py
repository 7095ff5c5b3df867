"""A run, evaluated on a task by the protocol, beside the baselines."""

from collections.abc import Sequence
from pathlib import Path

import torch

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import to_images
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.particles import Particles
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.evaluate import SEEDS, Report, evaluate
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.players import Planned, Player, Random, Replay, Straight
from dlp_dyn.planning.tasks import TASKS
from dlp_dyn.progress import Tracker
from dlp_dyn.video import VideoModel

_FRAMES_AT_ONCE = 128


@torch.no_grad()
def encode_episodes(model: VideoModel, data: Path) -> list[Particles]:
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


def evaluate_run(
    run: str | Path,
    task_name: str,
    pairs: int = 100,
    seeds: Sequence[int] = SEEDS,
    horizon: int = 5,
    replan: int = 1,
    samples: int = 300,
    iterations: int = 10,
    at_once: int = 25,
    data: str | Path | None = None,
    progress: Tracker | None = None,
) -> Report:
    """Random, straight ahead, what was recorded (where it was), and planned: all on the same problems.

    data: a rollout file whose training episodes tell how far a goal is (see `reach`).
    Raises InputError for a task that does not exist, and for a run that cannot plan in it.
    """
    if task_name not in TASKS:
        raise InputError(f"task {task_name!r}: use one of {', '.join(TASKS)}")
    task = TASKS[task_name]
    model = load_video_model(run)
    side = model.cfg.image.image_size
    visited = [] if data is None else encode_episodes(model, Path(data))
    world = task.world(side)
    space = world.space
    world.close()

    def make(n: int) -> Controller:
        return controller_of(run, space, n, None, horizon, replan, 0, samples, iterations)

    players: list[Player] = [
        Random(),
        Straight(),
        Planned(make, task.prices, aim=task.aim, approach=task.pushed, visited=visited),
    ]
    if task.problems(1, seeds[0])[0].actions is not None:
        players.insert(2, Replay())
    return evaluate(task, players, side, pairs, seeds, at_once, progress)
