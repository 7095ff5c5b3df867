"""The protocol: problems x players, who solves what, how sure that is, what a plan costs, and where it was lost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dlp_dyn.errors import InputError
from dlp_dyn.planning.intervals import first_hold, paired_difference, wilson
from dlp_dyn.planning.players import Planned, Player, Searching
from dlp_dyn.planning.tasks import Problem, Task
from dlp_dyn.planning.tasks.base import NO_SETTINGS
from dlp_dyn.progress import Tracker

SEEDS = (0, 1, 42)


@dataclass(frozen=True)
class Trace:
    """One problem, played. solved_at: by predicate, the step at which it had held; None for never.

    distance: mean of the things that count from their goals, in the units of positions, at the start and at the end.
    lost: of planned episodes that failed by the first predicate, the first stage that did (see `Planned.lost`).
    """

    seed: int
    solved_at: Mapping[str, int | None]
    start_distance: float
    end_distance: float
    lost: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A player on all problems. seconds_a_plan: of CPU, encoding included; None for those that plan nothing."""

    player: str
    traces: Sequence[Trace]
    seconds_a_plan: float | None = None

    def solved(self, mode: str) -> Bool[np.ndarray, " E"]:
        return np.array([trace.solved_at[mode] is not None for trace in self.traces])


@dataclass(frozen=True)
class Report:
    """All players on the same problems; the first one is what the others are compared with."""

    task: str
    outcomes: Sequence[Outcome]

    def rows(self) -> list[dict[str, Any]]:
        """A row a player and predicate: share solved, Wilson interval, gain over the first player with its interval."""
        rows = []
        for outcome in self.outcomes:
            for mode in outcome.traces[0].solved_at:
                solved = outcome.solved(mode)
                low, high = wilson(int(solved.sum()), len(solved))
                gain = paired_difference(solved, self.outcomes[0].solved(mode))
                rows.append(
                    {
                        "player": outcome.player,
                        "predicate": mode,
                        "problems": len(solved),
                        "solved": float(solved.mean()),
                        "low": low,
                        "high": high,
                        "gain": gain[0],
                        "gain_low": gain[1],
                        "gain_high": gain[2],
                        "distance": float(np.median([t.end_distance for t in outcome.traces])),
                        "seconds_a_plan": outcome.seconds_a_plan,
                        "lost": dict(Counter(t.lost for t in outcome.traces if t.lost)),
                    }
                )
        return rows

    def table(self) -> str:
        first = self.outcomes[0].player
        lines = [
            f"{self.task}: {len(self.outcomes[0].traces)} problems; % solved [95%], gain over {first} on the same "
            "problems, median distance from the goal at the end, CPU seconds a plan, where it was lost",
            f"{'player':12} {'predicate':10} {'solved':>7}  {'interval':13} {'gain':>6}  {'interval':13} "
            f"{'distance':>8} {'seconds':>8}  lost",
        ]
        for row in self.rows():
            seconds = "" if row["seconds_a_plan"] is None else f"{row['seconds_a_plan']:.2f}"
            lost = ", ".join(f"{stage} {n}" for stage, n in sorted(row["lost"].items()))
            lines.append(
                f"{row['player']:12} {row['predicate']:10} {100 * row['solved']:7.1f}  "
                f"[{100 * row['low']:4.0f}, {100 * row['high']:4.0f}]  {100 * row['gain']:6.1f}  "
                f"[{100 * row['gain_low']:4.0f}, {100 * row['gain_high']:4.0f}]  "
                f"{row['distance']:8.3f} {seconds:>8}  {lost}"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Rows and every trace."""
        traces = {outcome.player: [asdict(trace) for trace in outcome.traces] for outcome in self.outcomes}
        return {"task": self.task, "rows": self.rows(), "traces": traces}


def evaluate(
    task: Task,
    players: Sequence[Player],
    image_size: int,
    pairs: int = 100,
    seeds: Sequence[int] = SEEDS,
    at_once: int = 25,
    progress: Tracker | None = None,
    settings: Mapping[str, Any] = NO_SETTINGS,
) -> Report:
    """All players on `pairs` problems of every seed. at_once: problems that are played, and planned, together.

    settings: arguments of the environment, beside those of the task.

    Raises InputError for numbers below 1.
    """
    if pairs < 1 or not seeds or at_once < 1:
        raise InputError(f"pairs {pairs}, {len(seeds)} seeds, {at_once} at once: use 1 or more of each")
    problems = [problem for seed in seeds for problem in task.problems(pairs, seed)]
    outcomes = []
    for player in players:
        traces: list[Trace] = []
        for begin in range(0, len(problems), at_once):
            traces += _play(task, player, problems[begin : begin + at_once], image_size, settings)
            if progress is not None:
                progress.advance(len(problems[begin : begin + at_once]))
        searching = player if isinstance(player, Searching) else None
        outcomes.append(
            Outcome(player.name, traces, searching.seconds / max(searching.plans, 1) if searching else None)
        )
    return Report(task.name, outcomes)


def _play(
    task: Task, player: Player, problems: Sequence[Problem], image_size: int, settings: Mapping[str, Any]
) -> list[Trace]:
    """Worlds are stepped until every predicate has held, or the budget is spent."""
    worlds = [task.world(image_size, settings) for _ in problems]
    try:
        frames = [world.begin(problem) for world, problem in zip(worlds, problems, strict=True)]
        start = [_distance(world.places(), world.goal_places()) for world in worlds]
        player.begin(worlds, problems, np.stack(frames))
        solved: list[list[Mapping[str, bool]]] = [[] for _ in worlds]
        done = np.zeros(len(worlds), bool)
        for _ in range(task.budget):
            rows = np.flatnonzero(~done).tolist()
            for i, action in zip(rows, player.act(np.stack([frames[i] for i in rows]), rows), strict=True):
                frames[i] = worlds[i].step(action)
                solved[i].append(worlds[i].solved())
                done[i] = all(_first(solved[i], mode, hold) is not None for mode, hold in task.holds.items())
            if done.all():
                break
        traces = []
        for i, (world, problem) in enumerate(zip(worlds, problems, strict=True)):
            at = {mode: _first(solved[i], mode, hold) for mode, hold in task.holds.items()}
            failed = next(iter(at.values())) is None
            lost = player.lost(i) if failed and isinstance(player, Planned) else None
            end = _distance(world.places(), world.goal_places())
            traces.append(Trace(problem.seed, at, start[i], end, lost))
    finally:
        for world in worlds:
            world.close()
    return traces


def _first(solved: Sequence[Mapping[str, bool]], mode: str, hold: int) -> int | None:
    return first_hold(np.array([moment[mode] for moment in solved], bool), hold)


def _distance(places: Float[np.ndarray, "N 2"], goals: Float[np.ndarray, "N 2"]) -> float:
    return float(np.linalg.norm(places - goals, axis=-1).mean())
