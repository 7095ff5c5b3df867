"""A run, evaluated on a task by the protocol, beside the baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.errors import InputError
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.evaluate import SEEDS, Report, evaluate
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.players import Planned, Player, Random, Replay, Straight
from dlp_dyn.planning.simulated import Simulated, simulable
from dlp_dyn.planning.tasks import TASKS
from dlp_dyn.planning.tasks.base import NO_SETTINGS
from dlp_dyn.planning.visited import visited_episodes
from dlp_dyn.progress import Tracker


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
    simulator: bool = False,
    progress: Tracker | None = None,
    settings: Mapping[str, Any] = NO_SETTINGS,
) -> Report:
    """Random, straight ahead, what was recorded (where it was), and planned: all on the same problems.

    data: a rollout file whose training episodes tell how far a goal is (see `reach`). simulator: beside them, the same
    search in the true simulator. settings: arguments of the environment.
    Raises InputError for a task that does not exist, for one without a simulator that is asked for, and for a run that
    cannot plan in it.
    """
    if task_name not in TASKS:
        raise InputError(f"task {task_name!r}: use one of {', '.join(TASKS)}")
    task = TASKS[task_name]
    model = load_video_model(run)
    side = model.cfg.image.image_size
    visited = [] if data is None else visited_episodes(model, Path(data))
    world = task.world(side, settings)
    space = world.space
    if simulator:
        simulable(world)
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
    if simulator:
        searched = make(1).planner
        players.append(Simulated(searched.space, searched.solver, horizon, replan, task.pushed))
    return evaluate(task, players, side, pairs, seeds, at_once, progress, settings)
