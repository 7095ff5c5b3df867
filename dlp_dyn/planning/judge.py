"""A run, judged on a task by the protocol, beside the baselines."""

from collections.abc import Sequence
from pathlib import Path

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.errors import InputError
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.evaluate import SEEDS, Report, evaluate
from dlp_dyn.planning.play import controller_of
from dlp_dyn.planning.players import Planned, Player, Random, Replay, Straight
from dlp_dyn.planning.solvers import Solver
from dlp_dyn.planning.tasks import TASKS
from dlp_dyn.progress import Tracker


def judge(
    run: str | Path,
    task_name: str,
    pairs: int = 100,
    seeds: Sequence[int] = SEEDS,
    horizon: int = 5,
    replan: int = 1,
    solver: Solver | None = None,
    at_once: int = 25,
    progress: Tracker | None = None,
) -> Report:
    """Random, straight ahead, what was recorded (where it was), and planned: all on the same problems.

    Raises InputError for a task that does not exist, and for a run that cannot plan in it.
    """
    if task_name not in TASKS:
        raise InputError(f"task {task_name!r}: use one of {', '.join(TASKS)}")
    task = TASKS[task_name]
    side = load_video_model(run).cfg.image.image_size
    world = task.world(side)
    space = world.space
    world.close()

    def make(n: int) -> Controller:
        return controller_of(run, space, n, solver, horizon, replan)

    players: list[Player] = [Random(), Straight(), Planned(make, task.prices, approach=task.pushed)]
    if task.problems(1, seeds[0])[0].actions is not None:
        players.insert(2, Replay())
    return evaluate(task, players, side, pairs, seeds, at_once, progress)
