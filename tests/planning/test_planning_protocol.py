"""Laws of the protocol: intervals against their definitions, holds, and players on a world of one point."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.stats import norm

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.planning.costs import DEFAULT
from dlp_dyn.planning.evaluate import evaluate
from dlp_dyn.planning.intervals import first_hold, paired_difference, wilson
from dlp_dyn.planning.players import Planned, Random, Replay, Straight
from dlp_dyn.planning.tasks import TASKS, Aim, Problem, Task
from dlp_dyn.planning.tasks.base import NO_SETTINGS


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (37, 300)])
def test_wilsons_ends_are_where_the_score_test_just_rejects(successes: int, n: int) -> None:
    z = norm.ppf(0.975)
    low, high = wilson(successes, n)
    for end in (low, high):
        if 0 < end < 1:
            assert abs(successes / n - end) / np.sqrt(end * (1 - end) / n) == pytest.approx(z, rel=1e-4)
    assert 0 <= low <= successes / n <= high <= 1
    assert (low == 0) == (successes == 0)
    assert (high == 1) == (successes == n)


def test_nothing_is_known_of_no_trials() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_differences() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 400), rng.normal(0, 1, 400)
    mean, low, high = paired_difference(a, b)
    assert mean == pytest.approx((a - b).mean())
    standard_error = (a - b).std(ddof=1) / 20
    assert (mean - low, high - mean) == (pytest.approx(1.96 * standard_error, rel=0.1),) * 2
    assert paired_difference(a, a) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("solved", "hold", "at"),
    [("0110", 1, 1), ("0110", 2, 2), ("0110", 3, None), ("1011", 2, 3), ("", 1, None), ("000", 1, None)],
)
def test_holds(solved: str, hold: int, at: int | None) -> None:
    assert first_hold(np.array([c == "1" for c in solved], bool), hold) == at


class Point:
    """From 0 to 1 on a line of two numbers, by steps of 0.1 at most."""

    def __init__(self) -> None:
        self.space: gym.Space[Any] = gym.spaces.Box(-1, 1, (2,), np.float32)

    def begin(self, problem: Problem) -> np.ndarray:
        self.at = np.array([0.0, problem.seed % 7 / 100], np.float32)
        return self._frame()

    def step(self, action: np.ndarray) -> np.ndarray:
        self.at = (self.at + 0.1 * action).astype(np.float32)
        return self._frame()

    def goal_picture(self) -> np.ndarray:
        return self._frame()

    def solved(self) -> Mapping[str, bool]:
        near = bool(np.linalg.norm(self.at - [1, 0]) < 0.05)
        return {"there": near, "stays": near}

    def places(self) -> np.ndarray:
        return self.at[None]

    def goal_places(self) -> np.ndarray:
        return np.array([[1, 0]], np.float32)

    def straight(self) -> np.ndarray:
        return np.clip((np.array([1, 0]) - self.at) / 0.1, -1, 1).astype(np.float32)

    def close(self) -> None:
        return None

    def _frame(self) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)


class Line:
    name, budget, prices, pushed = "line", 20, DEFAULT, False
    aim: Aim = "all"
    holds: Mapping[str, int] = {"there": 1, "stays": 3}

    def problems(self, n: int, seed: int) -> Sequence[Problem]:
        forward = np.array([[1, 0]] * 9, np.float32)
        return [Problem(seed * 100 + i, actions=forward) for i in range(n)]

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> Point:  # noqa: ARG002
        return Point()


def test_who_walks_straight_arrives_on_open_ground() -> None:
    assert isinstance(Line(), Task)
    report = evaluate(Line(), [Random(), Straight(), Replay()], 4, pairs=7, seeds=(0, 1), at_once=5)
    rows = {(row["player"], row["predicate"]): row for row in report.rows()}
    assert rows["random", "there"]["solved"] == 0
    assert rows["straight", "there"]["solved"] == rows["straight", "stays"]["solved"] == 1
    assert rows["replay", "there"]["solved"] == 0  # it stops one step before
    assert rows["straight", "there"]["problems"] == 14
    assert rows["straight", "there"]["gain"] == 1
    straight = report.outcomes[1].traces
    assert {trace.solved_at["there"] for trace in straight} == {9}
    assert {trace.solved_at["stays"] for trace in straight} == {11}
    assert all(trace.start_distance > 0.99 and trace.end_distance < 0.05 for trace in straight)
    assert json.loads(json.dumps(report.to_json()))["task"] == "line"
    assert len(report.table().splitlines()) == 2 + 6


def test_how_many_are_played_at_once_changes_nothing() -> None:
    a, b = (
        evaluate(Line(), [Random()], 4, pairs=6, seeds=(3,), at_once=n).to_json()["traces"] for n in (1, 6)
    )
    assert a == b


class Shown(Point):
    """The same, with its place in the first pixel of its pictures."""

    def _frame(self) -> np.ndarray:
        frame = super()._frame()
        frame[0, 0, :2] = np.round(200 * self.at)
        return frame


class Seer:
    """A controller that knows where the point is, and plans at every other frame."""

    def __init__(self, sees: bool) -> None:
        self.sees, self.made, self.steps = sees, [], 0

    def reset(self, *goal: object) -> None: ...

    def scene(self, frame: np.ndarray) -> Scene:
        at, one = torch.from_numpy(frame[0, 0, :2] / 200)[None, None].float(), torch.ones(1, 1, 1)
        elsewhere = at if self.sees else at + 0.5
        return Scene(Particles(elsewhere, torch.zeros(1, 1, 2), one, one, one), torch.zeros(1, 1))

    def moments(self, row: int) -> list[Any]:  # noqa: ARG002
        return self.made

    def __call__(self, frames: np.ndarray, rows: Sequence[int]) -> np.ndarray:  # noqa: ARG002
        if self.steps % 2 == 0:
            self.made.append(SimpleNamespace(frame=frames[0], targets=()))
        self.steps += 1
        return np.full((1, 2), 0.9, np.float32)


@pytest.mark.parametrize(("sees", "lost"), [(True, "planned"), (False, "tracked")])
def test_what_is_seen_at_the_last_plan_is_judged_by_where_things_were_then(sees: bool, lost: str) -> None:
    """The point goes on after the last plan by as much as a particle may be off."""
    seer, world, problem = Seer(sees=True), Shown(), Problem(0)
    player = Planned(lambda _: seer, aim="places")  # pyright: ignore[reportArgumentType, reportReturnType]
    frame = world.begin(problem)
    player.begin([world], [problem], frame[None])
    seer.sees = sees
    for _ in range(4):
        frame = world.step(player.act(frame[None], [0])[0])
    assert player.lost(0) == lost
    assert player.plans == 2


def test_numbers_below_1() -> None:
    with pytest.raises(InputError, match="pairs 0"):
        evaluate(Line(), [Random()], 4, pairs=0)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_have_problems_of_their_own(name: str) -> None:
    if "push" not in name or name.startswith("pusht"):
        pytest.importorskip("stable_worldmodel", reason="stable-worldmodel is not installed")
    task, n = TASKS[name], 3
    seeds = [{p.seed for p in task.problems(n, seed)} for seed in (0, 1)]
    assert not seeds[0] & seeds[1]
    assert [p.seed for p in task.problems(n, 0)] == [p.seed for p in task.problems(n, 0)]


@pytest.mark.parametrize("name", ["tworoom", "pusht", "pusht-place"])
def test_problems_begin_unsolved_at_their_states(name: str) -> None:
    pytest.importorskip("stable_worldmodel", reason="stable-worldmodel is not installed")
    task = TASKS[name]
    (problem,) = task.problems(1, 3)
    world = task.world(64)
    picture = world.begin(problem)
    assert picture.shape == world.goal_picture().shape == (64, 64, 3)
    assert not any(world.solved().values())
    assert np.abs(world.places()).max() < 1
    before = world.step(world.straight())
    world.begin(problem)
    np.testing.assert_array_equal(world.step(world.straight()), before)  # a problem begins as it began
    assert world.solved().keys() == task.holds.keys()
    world.close()
