"""Laws of a disc that slides along walls, and TwoRoom where stable-worldmodel is installed."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401 - registers it
from dlp_dyn.errors import InputError
from envs.two_room import RADIUS, REACH, SPEED, WALLS, Headlong, Wanderer, far_pair, in_picture, slide


def gap(position: np.ndarray) -> float:
    """From the disc's rim to the nearest wall."""
    nearest = [np.clip(position, wall[:2], wall[2:]) for wall in WALLS]
    return min(float(np.linalg.norm(position - point)) for point in nearest) - RADIUS


def test_no_motion_leads_into_a_wall_or_through_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        start, way = rng.uniform(*REACH, 2), rng.uniform(-40, 40, 2)
        if gap(start) < 1e-3:
            continue
        end = slide(start, way)
        assert gap(end) > -1e-6
        assert np.linalg.norm(end - start) <= np.linalg.norm(way) + 1e-6
        if (start[0] < 112) != (end[0] < 112):  # through the door
            assert min(start[1], end[1]) < 63
            assert max(start[1], end[1]) > 35


def test_what_is_free_moves_freely_and_walls_are_slid_along() -> None:
    np.testing.assert_allclose(slide(np.array([50.0, 50.0]), np.array([5.0, -3.0])), [55, 47])
    end = slide(np.array([98.0, 150.0]), np.array([5.0, 4.0]))
    np.testing.assert_allclose(end, [100, 154], atol=1e-3)
    np.testing.assert_allclose(slide(np.array([25.0, 25.0]), np.array([-9.0, -9.0])), [21, 21])
    np.testing.assert_allclose(slide(np.array([98.0, 49.0]), np.array([28.0, 0.0])), [126, 49])


def test_far_pairs_are_in_opposite_rooms_and_clear_of_walls() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        start, goal = far_pair(rng)
        assert (start[0] < 112) != (goal[0] < 112)
        assert gap(start) >= 0
        assert gap(goal) >= 0


def test_places_in_the_picture() -> None:
    np.testing.assert_allclose(in_picture(np.array([0.0, 111.5]), 224), [-1, 0], atol=1e-6)


def test_the_wheels_picture_shows_the_dot_where_it_is() -> None:
    pytest.importorskip("stable_worldmodel.envs.two_room.env", reason="stable-worldmodel is not installed")
    env = gym.make("envs:TwoRoom-v0")
    first, _ = env.reset(seed=3)
    again, info = env.reset(seed=3, options={"state": [50, 180], "goal_state": [150, 30]})
    assert not np.array_equal(first, again)
    red = again[..., 0].astype(int) - again[..., 1]
    y, x = np.unravel_index(red.argmax(), red.shape)
    place = env.unwrapped.ground_truth()["position"][0]  # type: ignore[attr-defined]
    np.testing.assert_allclose((place + 1) * 31.5, [x, y], atol=1.0)
    assert info["goal"].shape == (64, 64, 3)
    assert not info["is_success"]


def test_colours_are_those_that_are_asked_for() -> None:
    pytest.importorskip("stable_worldmodel", reason="stable-worldmodel is not installed")
    settings: dict[str, Any] = {
        "agent_colour": [0, 0, 255],
        "wall_colour": [0, 120, 0],
        "background_colour": [200, 180, 160],
    }
    world = gym.make("envs:TwoRoom-v0", image_size=224, **settings).unwrapped
    picture, _ = world.reset(seed=0, options={"state": [60.0, 150.0], "goal_state": [160.0, 150.0]})
    assert picture[150, 60].tolist() == [0, 0, 255]
    assert picture[150, 112].tolist() == [0, 120, 0]
    assert picture[150, 180].tolist() == [200, 180, 160]


@pytest.mark.parametrize("colour", [[0, 0, 256], [0, 0], [0.5, 0, 0], "red", [-1, 0, 0]])
def test_what_is_no_colour(colour: object) -> None:
    pytest.importorskip("stable_worldmodel", reason="stable-worldmodel is not installed")
    with pytest.raises(InputError, match="wall_colour"):
        gym.make("envs:TwoRoom-v0", wall_colour=colour)


class Bare(gym.Env[np.ndarray, np.ndarray]):
    """The dot's place and walls without the wheel's pictures."""

    position = np.array([60.0, 150.0])


@pytest.mark.parametrize(("policy", "low", "high"), [(Wanderer, 0.0, 0.01), (Headlong, 0.05, 0.5)])
def test_who_goes_headlong_runs_into_the_wall(policy: type[Wanderer], low: float, high: float) -> None:
    """Share of the steps that the wall between the rooms cuts short, away from the door."""
    world = Bare()
    act = policy(world, np.random.default_rng(0))
    bumps, rooms = [], set()
    for _ in range(4000):
        before = world.position
        action = act(None)
        world.position = slide(before, SPEED * action)
        wanted = before[0] + SPEED * action[0]
        bumps.append(abs(world.position[0] - wanted) > 1 and before[1] > 80 and 90 < before[0] < 134)
        rooms.add(bool(world.position[0] < 112))
    assert low <= np.mean(bumps) <= high
    assert len(rooms) == 2
