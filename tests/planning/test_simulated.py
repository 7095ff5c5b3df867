"""The same search in the true simulator: what is tried out changes nothing, and comes out as it then does."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import envs  # noqa: F401 - registers Push
from dlp_dyn.errors import InputError
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.evaluate import evaluate
from dlp_dyn.planning.players import Straight
from dlp_dyn.planning.simulated import Simulated, Simulator, simulable, true_scene
from dlp_dyn.planning.solvers import ICEM
from dlp_dyn.planning.tasks import TASKS
from dlp_dyn.planning.tasks.base import NO_SETTINGS, Problem
from dlp_dyn.planning.tasks.two_room import TwoRoom
from envs.two_room import SPEED, slide
from envs.two_room import TwoRoom as TwoRoomEnv

SEARCH = ICEM(samples=40, elites=4, iterations=3)


@pytest.mark.parametrize("n_objects", [1, 3])
def test_a_trial_on_the_table_is_what_then_happens(n_objects: int) -> None:
    env: Any = gym.make("envs:Push-v0", n_objects=n_objects, easy=1.0).unwrapped
    rng = np.random.default_rng(0)
    for seed in range(4):
        seen, _ = env.reset(seed=seed)
        for _ in range(3):  # so that things move when the trial begins
            way = seen["achieved_goal"][0, :2] - seen["observation"][0, :2]
            seen = env.step(np.clip(way / 0.1, -1, 1))[0]
        actions = rng.uniform(-1, 1, (2, 6, 2)).astype(np.float32)
        tried = env.trial(actions)
        assert np.array_equal(tried, env.trial(actions))
        assert tried.shape == (2, 6, n_objects + 1, 2)
        for t, action in enumerate(actions[1]):
            seen = env.step(action)[0]
            there = np.concatenate([seen["observation"][1:, :2], seen["observation"][:1, :2]])
            np.testing.assert_allclose(tried[1, t], there, atol=5e-3)


def test_what_has_fallen_stays_fallen_in_a_trial() -> None:
    env: Any = gym.make("envs:Push-v0", n_objects=2, small_table=True).unwrapped
    env.reset(seed=0)
    table = env.table
    table.bodies[0].position = (0.7, 0.0)
    env.step(np.zeros(2))
    assert table.on_table.tolist() == [False, True]
    np.testing.assert_allclose(env.trial(np.zeros((1, 2, 2)))[0, :, 0], [[0.7, 0]] * 2, atol=1e-6)
    assert table.copy().on_table.tolist() == [False, True]


def test_a_trial_of_two_rooms_slides_as_steps_do() -> None:
    env = object.__new__(TwoRoomEnv)
    env.position = np.array([98.0, 150.0])
    tried = env.trial(np.array([[[1.0, 0.8], [0.0, 9.0]], [[-1.0, 0.0], [-1.0, 0.0]]]))
    np.testing.assert_allclose(tried[0, 0], slide(env.position, np.array([5.0, 4.0])))
    np.testing.assert_allclose(tried[0, 1], tried[0, 0] + [0, SPEED])  # bounds hold
    np.testing.assert_allclose(tried[1], [[93, 150], [88, 150]])
    assert env.position.tolist() == [98, 150]


class Walled:
    """A point between walls; the straight way to its goal ends at one of them."""

    space: gym.Space[Any] = gym.spaces.Box(-1, 1, (2,), np.float32)

    def begin(self, problem: Problem) -> np.ndarray:  # noqa: ARG002
        self.at = np.array([-0.5, 0.0], np.float32)
        return np.zeros((4, 4, 3), np.uint8)

    def _after(self, at: np.ndarray, action: np.ndarray) -> np.ndarray:
        to = at + 0.1 * np.clip(action, -1, 1)
        return at if abs(to[1]) < 0.15 and (at[0] < 0) != (to[0] < 0) else to

    def step(self, action: np.ndarray) -> np.ndarray:
        self.at = self._after(self.at, action).astype(np.float32)
        return np.zeros((4, 4, 3), np.uint8)

    def trial(self, actions: np.ndarray) -> np.ndarray:
        places = np.empty((*actions.shape[:2], 1, 2), np.float32)
        for attempt, ways in zip(places, actions, strict=True):
            at = self.at
            for t, way in enumerate(ways):
                attempt[t] = at = self._after(at, way)
        return places

    def goal_picture(self) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def solved(self) -> Mapping[str, bool]:
        return {"there": bool(np.linalg.norm(self.at - [0.5, 0]) < 0.1)}

    def places(self) -> np.ndarray:
        return self.at[None]

    things = places

    def goal_places(self) -> np.ndarray:
        return np.array([[0.5, 0]], np.float32)

    def straight(self) -> np.ndarray:
        return np.clip((np.array([0.5, 0]) - self.at) / 0.1, -1, 1).astype(np.float32)

    def close(self) -> None:
        return None


class AroundAWall(TwoRoom):
    name, budget = "walled", 40  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
    holds: Mapping[str, int] = {"there": 1}  # pyright: ignore[reportIncompatibleMethodOverride]

    def problems(self, n: int, seed: int) -> list[Problem]:
        return [Problem(seed + i) for i in range(n)]

    def world(self, image_size: int, settings: Mapping[str, Any] = NO_SETTINGS) -> Any:  # noqa: ARG002
        return Walled()


def test_who_tries_things_out_goes_around_a_wall() -> None:
    space = ActionSpace.of(Walled.space, 2)
    player = Simulated(space, SEARCH, horizon=10)
    report = evaluate(AroundAWall(), [Straight(), player], 4, pairs=3, seeds=(0,))
    straight, searched = report.rows()
    assert (straight["solved"], searched["solved"]) == (0, 1)
    assert straight["seconds_a_plan"] is None
    assert searched["seconds_a_plan"] > 0
    steps = [trace.solved_at["there"] for trace in report.outcomes[1].traces]
    assert player.plans == sum(step // 2 + 1 for step in steps if step is not None)


def test_blocks_are_tried_out_action_by_action() -> None:
    world = Walled()
    world.begin(Problem(0))
    slots = torch.zeros(1, 1, dtype=torch.long)
    context = Context(true_scene(world.things())[None, None], None, slots, slots == 0)
    candidates = torch.tensor([[[[0.1, 0.2, 0.3, 0.4], [-0.1, 0.0, 0.1, 0.0]]]])
    scene = Simulator(world, ActionSpace.of(world.space, 2))(context, candidates)
    expected = torch.tensor([[-0.46, 0.06], [-0.46, 0.06]])
    torch.testing.assert_close(scene.particles.position[0, 0, :, 0], expected)


def test_pushing_is_planned_on_the_table_itself() -> None:
    """The pusher comes from the wrong side: it has to walk around the thing."""
    task = TASKS["push1"]
    space = ActionSpace.of(gym.spaces.Box(-1, 1, (2,), np.float32), 2)
    player = Simulated(space, SEARCH, horizon=5, pushed=task.pushed)
    report = evaluate(task, [player], 16, pairs=1, seeds=(7,))
    (trace,) = report.outcomes[0].traces
    assert trace.end_distance < 0.25 * trace.start_distance


class Untried(Walled):
    trial = None  # type: ignore[assignment]


def test_a_world_without_trials_is_one_line() -> None:
    with pytest.raises(InputError, match="Untried: cannot be tried out"):
        simulable(Untried())
