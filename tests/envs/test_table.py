"""Laws of the pushing table's physics."""

import numpy as np
import pymunk
import pytest

from envs.table import (
    CONTROL_PERIOD,
    DAMPING,
    FOOTPRINTS,
    PUSHER_RADIUS,
    PUSHER_REACH,
    SMALL_HALF_WIDTH,
    STEP_LENGTH,
    SUBSTEPS,
    TABLE_HALF_WIDTH,
    Layout,
    Shape,
    Table,
)
from envs.tasks import layout_of

FAR_AWAY = np.array([0.9, 0.9])


def table(*poses: tuple[float, float, float], shape: Shape = "square", **settings) -> Table:
    pusher = settings.pop("pusher", FAR_AWAY)
    return Table(settings.pop("layout", Layout()), FOOTPRINTS[shape], np.array(poses), np.array(pusher))


def run(table: Table, action: tuple[float, float], steps: int) -> Table:
    for _ in range(steps):
        table.step(np.array(action, np.float64))
    return table


def deepest_overlap(table: Table) -> float:
    """The deepest that anything is in anything else."""
    depths = [0.0]

    def note(arbiter: pymunk.Arbiter) -> None:
        depths.extend(-point.distance for point in arbiter.contact_point_set.points)

    for body in table.bodies:
        body.each_arbiter(note)
    return max(depths)


def test_free_pusher_moves_by_the_action() -> None:
    here = table((0, 0.5, 0), pusher=(-0.5, -0.5))
    run(here, (1, -0.5), 3)
    run(here, (0, 0), 1)
    there = np.array([-0.5, -0.5]) + 3 * STEP_LENGTH * np.array([1, -0.5])
    np.testing.assert_allclose(here.pusher, there, atol=1e-6)
    np.testing.assert_allclose(run(here, (0, 0), 5).pusher, there, atol=1e-6)


def test_momentum_of_a_collision_only_decays_by_damping() -> None:
    here = table((-0.2, 0, 0.3), (0.1, 0.05, 1.0))
    here.bodies[0].velocity = (5, 0)
    mass = np.array([body.mass for body in here.bodies])
    before = mass @ np.array([body.velocity for body in here.bodies])
    run(here, (0, 0), 1)
    after = mass @ np.array([body.velocity for body in here.bodies])
    assert here.bodies[1].velocity.length > 0.01  # they have met
    np.testing.assert_allclose(after, before * DAMPING**CONTROL_PERIOD, atol=1e-6)


@pytest.mark.parametrize("shape", ["disc", "square", "tee"])
def test_jammed_against_the_rim_nothing_is_pressed_into_anything(shape: Shape) -> None:
    here = table((0.3, 0, 0.2), (0.55, 0.02, 0.9), shape=shape, pusher=(-0.2, 0))
    run(here, (1, 0), 15)
    assert deepest_overlap(here) < 0.02
    run(here, (0, 0), 10)
    assert deepest_overlap(here) < 0.01
    assert (np.abs(here.poses[:, :2]) < TABLE_HALF_WIDTH).all()
    rest = here.poses
    np.testing.assert_allclose(run(here, (0, 0), 10).poses, rest, atol=2e-3)


def test_pusher_stays_in_the_picture_and_can_free_what_touches_the_rim() -> None:
    here = table((0.6, 0, 0), pusher=(-0.3, 0))
    run(here, (1, 0), 15)
    at_the_rim = here.poses[0, 0]
    assert at_the_rim == pytest.approx(TABLE_HALF_WIDTH - 0.11, abs=0.01)
    for action, steps in (((0, 1), 4), ((1, 0), 12), ((0, -1), 4)):
        run(here, action, steps)
    assert abs(here.pusher[0] - PUSHER_REACH) < 0.01
    run(here, (-1, 0), 5)
    assert here.poses[0, 0] < at_the_rim - 0.2


def test_without_a_rim_objects_fall_and_are_out_of_the_way() -> None:
    here = table((0.45, 0, 0), (0, 0.4, 0), layout=layout_of("free", small_table=True), pusher=(0.2, 0))
    run(here, (1, 0), 6)
    assert here.on_table.tolist() == [False, True]
    assert len(here.space.bodies) == 3  # the other object, the pusher and its hand
    gone = here.poses[0]
    run(here, (-1, 0), 12)
    np.testing.assert_array_equal(here.poses[0], gone)
    assert gone[0] > SMALL_HALF_WIDTH


def test_corridor_lets_one_pass_and_no_two_abreast() -> None:
    """Pushed in, the first object blocks the way of the second."""
    corridor = layout_of("ordered", small_table=False)
    alone = run(table((0.2, 0, 0.4), layout=corridor, pusher=(0.45, 0)), (-1, 0), 25)
    assert alone.poses[0, 0] < -0.65
    blocked = table((0.2, 0, 0), (-0.3, 0.02, 0), layout=corridor, pusher=(0.45, 0))
    for x, y in ((-1, 0), (-1, 0.1), (-1, -0.1)):
        run(blocked, (x, y), 25)
    assert blocked.poses[0, 0] > blocked.poses[1, 0] + 0.2
    outside = run(table((-0.5, 0.5, 0), layout=corridor, pusher=(-0.5, 0.75)), (0, -1), 15)
    assert outside.poses[0, 1] > 0.17  # the walls hold


def test_substeps_are_short_against_the_shapes() -> None:
    assert STEP_LENGTH / SUBSTEPS < PUSHER_RADIUS / 2
