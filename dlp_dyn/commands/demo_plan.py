"""`demo plan`: the bundled Push brings a square to its place in a goal picture, in the environment itself."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.commands.terminal import console
from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from dlp_dyn.planning.evaluate import Outcome
    from dlp_dyn.planning.players import Planned

HORIZON = 6  # blocks of two actions
CANDIDATES, ELITES, ITERATIONS = 128, 16, 6  # a quarter of the work of the default
DRAWN = 3  # problems in the picture; the table is of all
SEED = 3
NEXT = """
{out}: real frames, what the plan before had imagined for them, where each plan ends, and the goal. Next:

  plan with a model of your own, in an environment of your own
    dlp-dyn plan RUN --env ID --out plan.gif"""


def run(out: str, problems: int) -> None:
    """Play problems at random, straight ahead and by planning, draw some, and tell how far the square came.

    Raises InputError where the environment, which is no part of the wheel, is not at hand.
    """
    from dlp_dyn.bundled import PUSH
    from dlp_dyn.planning.evaluate import evaluate
    from dlp_dyn.planning.play import controller_of
    from dlp_dyn.planning.players import Planned, Random, Straight
    from dlp_dyn.planning.solvers import ICEM
    from dlp_dyn.planning.tasks import Push
    from dlp_dyn.plotting.pictures import write_video
    from dlp_dyn.predict import check_out
    from dlp_dyn.progress import track
    from dlp_dyn.video import VideoModel

    path, task = check_out(out), Push(1)
    if problems < 1:
        raise InputError(f"episodes {problems}: give 1 or more")
    side = VideoModel.from_pretrained(PUSH).cfg.image.image_size
    try:
        world = task.world(side)
    except InputError as error:
        raise InputError(
            "demo plan: it plays an environment of the repository, which a wheel does not hold; run it in a clone, "
            f"after pip install -e '.[envs]' ({error})"
        ) from error
    world.close()
    solver = ICEM(samples=CANDIDATES, elites=ELITES, iterations=ITERATIONS)
    planned = Planned(
        lambda n: controller_of(PUSH, world.space, n, solver, HORIZON), task.prices, approach=task.pushed
    )
    players = [Random(), Straight(), planned]
    with track("play", len(players) * problems, "problems") as bar:
        report = evaluate(task, players, side, problems, [SEED], at_once=problems, progress=bar)
    write_video(path, film(planned, min(problems, DRAWN)), fps=5.0)
    _show(report.outcomes, task.budget)
    print(NEXT.format(out=out))


def film(planned: "Planned", problems: int) -> UInt8[np.ndarray, "F h w 3"]:
    """The first problems below each other; those that ended stand still."""
    from dlp_dyn.planning.recording import record

    control = planned.control
    films = [
        record(control.model, control.moments(row), goal=planned.worlds[row].goal_picture())
        for row in range(problems)
    ]
    length = max(len(film) for film in films)
    return np.concatenate([np.pad(f, [(0, length - len(f)), *[(0, 0)] * 3], "edge") for f in films], 1)


def _show(outcomes: "Sequence[Outcome]", budget: int) -> None:
    from rich.table import Table

    table = Table(
        title="Push, a model that comes with dlp_dyn: a square to its place in a goal picture",
        caption=f"{budget} steps at most; solved: within 0.1 of its place; distances in the same units, a picture is 2 "
        "wide, mean of all problems",
    )
    table.add_column("who acts", no_wrap=True)
    for head in ("solved", "distance, start", "end", "CPU s a plan"):
        table.add_column(head, justify="right", no_wrap=True)
    for outcome in outcomes:
        starts, ends = ([getattr(t, f"{x}_distance") for t in outcome.traces] for x in ("start", "end"))
        seconds = outcome.seconds_a_plan
        table.add_row(
            outcome.player,
            f"{int(outcome.solved('all').sum())} of {len(outcome.traces)}",
            f"{np.mean(starts):.2f}",
            f"{np.mean(ends):.2f}",
            "-" if seconds is None else f"{seconds:.2f}",
        )
    console().print(table)
