"""What must still hold when a prediction is chaotic: closed forms, and laws on simulated balls."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dlp_dyn.data.balls import BallsConfig, simulate
from dlp_dyn.evaluation.motion_statistics import compare, diameters, motion_curves
from dlp_dyn.evaluation.trajectories import Trajectories

SIDE = 64
DIAMETER = np.full(40, 16 / SIDE)


@pytest.fixture(scope="module")
def balls():
    return paths(simulate(np.random.default_rng(0), 40, 41, BallsConfig())[0] / SIDE)


def paths(position: np.ndarray, visible: np.ndarray | None = None) -> Trajectories:
    return Trajectories(position, np.ones(position.shape[:-1], bool) if visible is None else visible)


def test_truth_against_itself(balls):
    figures = compare(balls, balls, SIDE, DIAMETER)
    assert figures["objects"] == 3
    assert figures["objects_right"] == 1
    assert figures["overlaps"] == 0
    assert figures["speed_distance"] == 0
    # Collisions keep energy; a frame with a bounce looks shorter than it was, in the first half as in the last.
    assert 0.8 * 13.5 < figures["energy"] < 13.5
    assert abs(figures["energy_drift"]) < 0.05


def test_straight_flight_has_exactly_its_energy():
    velocity = np.array([[3.0, 4.0], [0.0, 1.0]])
    clips = paths(np.arange(11)[None, :, None, None] * velocity / SIDE)
    curves = motion_curves(clips, SIDE)
    assert_allclose(curves["energy"], 0.5 * (25 + 1))
    assert_allclose(curves["speed"], (5 + 1) / 2)
    assert "overlaps" not in curves


def test_twice_as_fast_is_four_times_the_energy_and_a_mean_speed_apart(balls):
    truth, fast = (compare(paths(k * balls.position), balls, SIDE) for k in (1, 2))
    assert fast["energy"] == pytest.approx(4 * truth["energy"])
    assert fast["speed_std"] == pytest.approx(2 * truth["speed_std"])
    assert fast["speed_distance"] == pytest.approx(truth["speed"])
    assert fast["energy_drift"] == pytest.approx(truth["energy_drift"])


def test_slowing_to_half_loses_three_quarters_of_the_energy():
    moved = np.concatenate([np.full(20, 2.0), np.full(20, 1.0)]).cumsum()
    position = np.stack([np.concatenate([[0.0], moved]), np.zeros(41)], -1)[None, :, None] / SIDE
    figures = compare(paths(position), paths(position), SIDE)
    assert figures["energy_drift"] == pytest.approx(-0.75)
    assert figures["energy_drift_std"] == 0
    assert figures["speed"] == pytest.approx(1)


@pytest.mark.parametrize(("gap", "overlaps"), [(15, 0), (14.5, 0), (14.3, 1), (0, 1)])
def test_overlap_is_nearer_than_nine_tenths_of_a_diameter(gap, overlaps):
    position = np.zeros((1, 5, 3, 2))
    position[..., 1, 0] = gap / SIDE
    position[..., 2, :] = 10
    assert (motion_curves(paths(position), SIDE, DIAMETER[:1])["overlaps"] == overlaps).all()
    hidden = np.array([True, False, True])
    alone = paths(position, np.broadcast_to(hidden, (1, 5, 3)))
    assert (motion_curves(alone, SIDE, DIAMETER[:1])["overlaps"] == 0).all()


def test_slots_that_are_off_and_the_order_of_slots_do_not_matter(balls):
    more = np.concatenate(
        [balls.position[:, :, ::-1], np.random.default_rng(1).normal(size=(40, 41, 2, 2))], 2
    )
    on = np.broadcast_to(np.array([True, True, True, False, False]), more.shape[:-1])
    assert compare(paths(more, on), balls, SIDE, DIAMETER) == pytest.approx(
        compare(balls, balls, SIDE, DIAMETER)
    )


def test_objects_that_vanish_take_their_energy_along(balls):
    visible = np.ones(balls.visible.shape, bool)
    visible[:, 15:, 0] = False
    figures, truth = (compare(x, balls, SIDE) for x in (paths(balls.position, visible), balls))
    assert figures["objects"] == 2
    assert figures["objects_right"] == 0
    assert figures["energy"] < 0.8 * truth["energy"]
    nothing = compare(paths(balls.position, ~balls.visible), balls, SIDE, DIAMETER)
    assert nothing == {"objects": 0, "objects_right": 0, "overlaps": 0, "energy": 0}


def test_the_diameter_is_that_of_the_smallest_object_in_sight():
    size = np.array([[0.3, 0.3], [0.1, 0.2], [0.01, 0.01]])
    states = [{"size": np.broadcast_to(size, (4, 3, 2))}] * 2
    visible = np.broadcast_to(np.array([[True, True, False], [False] * 3])[:, None], (2, 4, 3))
    found = diameters(states, visible)
    assert found is not None
    assert_allclose(found, [0.15, 0])
    assert diameters([{}], visible[:1]) is None
