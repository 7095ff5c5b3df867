"""Baselines and position errors: closed forms, another derivation of MED-10, and the floors that are known of Balls."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dlp_dyn.data.balls import BallsConfig, simulate, step, to_position
from dlp_dyn.evaluation import trajectories as tracks
from dlp_dyn.evaluation.trajectories import Trajectories, follow, match_first, still, straight

RNG = np.random.default_rng(0)


def paths(position: np.ndarray, visible: np.ndarray | None = None) -> Trajectories:
    return Trajectories(position, np.ones(position.shape[:-1], bool) if visible is None else visible)


def errors(found: Trajectories, truth: Trajectories) -> dict[str, np.ndarray]:
    return follow(found, truth, match_first(found, truth))


def test_straight_lines_know_no_walls_and_no_others():
    seen = paths(RNG.normal(size=(2, 3, 4, 2)), RNG.random((2, 3, 4)) < 0.5)
    motion = seen.position[:, 2] - seen.position[:, 1]
    ahead = straight(seen, 50)
    assert_allclose(ahead.position[:, :3], seen.position)
    assert_allclose(np.diff(ahead.position[:, 2:], axis=1), np.repeat(motion[:, None], 50, 1), atol=1e-9)
    assert (ahead.visible[:, 3:] == seen.visible[:, 2:3]).all()
    assert_allclose(straight(seen, 5, motion).position, straight(seen, 5).position)
    assert_allclose(still(seen, 5).position[:, 3:], np.repeat(seen.position[:, 2:3], 5, 1))
    assert_allclose(straight(seen.frames(0, 1), 5).position, still(seen.frames(0, 1), 5).position)


def test_truth_against_itself_is_without_error_in_any_order_of_slots():
    truth = paths(RNG.normal(size=(3, 20, 5, 2)), RNG.random((3, 20, 5)) < 0.8)
    mixed = Trajectories(truth.position[:, :, ::-1], truth.visible[:, :, ::-1])
    figures = errors(mixed, truth)
    assert_allclose(np.nan_to_num(figures["error"]), 0)
    # Only objects that were hidden at first, and have no slot, are lost.
    never = (truth.visible & ~truth.visible[:, :1]).sum(-1) / np.maximum(truth.visible.sum(-1), 1)
    assert_allclose(figures["lost"], never)


@pytest.mark.parametrize("seed", range(5))
def test_med_10_by_its_definition(seed):
    """G-SWM: match at the first predicted frame, keep it, mean distance in image sides, sum over ten steps."""
    rng, side, horizon = np.random.default_rng(seed), 64, 15
    objects = rng.uniform(8, 56, (2, horizon, 3, 2))  # pixels, from the outer edge
    guess = rng.uniform(8, 56, (2, horizon, 5, 2))
    med = np.zeros(horizon)
    for clip in range(2):
        pairings = itertools.permutations(range(5), 3)
        cost = {
            p: sum(np.hypot(*(objects[clip, 0, o] - guess[clip, 0, s])) for o, s in enumerate(p))
            for p in pairings
        }
        chosen = min(cost, key=lambda p: cost[p])
        for t in range(horizon):
            gaps = [np.hypot(*(objects[clip, t, o] - guess[clip, t, s])) / side for o, s in enumerate(chosen)]
            med[t] += np.mean(gaps) / 2
    truth, found = (paths(to_position(x, side) * tracks.image_sides(side)) for x in (objects, guess))
    error = errors(found, truth)["error"].mean(0)
    assert_allclose(error, med)
    assert_allclose(error[:10].sum(), med[:10].sum())


def test_the_floors_of_balls():
    """Known of these rules (300 clips): MED-10 1.74 for true constant velocity, 1.72 for the last frame; an exact
    simulator started with 0.15 px and 0.03 rad of noise 0.11 and 1.4 px at step 10, with a third of that 0.04."""
    cfg, rng, context, horizon = BallsConfig(), np.random.default_rng(0), 10, 10
    position, velocity = simulate(rng, 300, context + horizon, cfg)
    truth = paths(position / 64)
    seen, later = truth.frames(0, context), truth.frames(context)

    def med_10(found):
        return errors(found, later)["error"].mean(0).sum()

    def simulator(pixels, radians):
        at = position[:, context - 1] + rng.normal(0, pixels, position[:, 0].shape)
        turn = rng.normal(0, radians, velocity.shape[:1] + velocity.shape[2:3])
        vx, vy = np.moveaxis(velocity[:, context - 1], -1, 0)
        now = (
            at,
            np.stack([np.cos(turn) * vx - np.sin(turn) * vy, np.sin(turn) * vx + np.cos(turn) * vy], -1),
        )
        frames = [now := step(*now, cfg) for _ in range(horizon)]
        return paths(np.stack([frame[0] for frame in frames], 1) / 64)

    assert med_10(straight(seen, horizon, velocity[:, context - 1] / 64).frames(context)) == pytest.approx(
        1.74, rel=0.05
    )
    assert med_10(still(seen, horizon).frames(context)) == pytest.approx(1.72, rel=0.05)
    assert med_10(simulator(0.15, 0.03)) == pytest.approx(0.11, rel=0.15)
    assert med_10(simulator(0.05, 0.01)) == pytest.approx(0.04, rel=0.15)


def test_lost_is_off_or_far_or_never_had():
    truth = paths(np.tile([[0.0, 0], [0.4, 0], [0, 0.4]], (1, 4, 1, 1)))
    found = truth.position[:, :, :2].copy()
    found[0, 2:, 0, 0] += 0.3  # farther than a quarter
    on = np.array([[[1, 1], [1, 1], [1, 1], [1, 0]]], bool)
    figures = errors(paths(found, on), truth)
    assert_allclose(figures["lost"][0], [1 / 3, 1 / 3, 2 / 3, 1])
    assert_allclose(figures["error"][0], [0, 0, 0.15, 0.15])


def test_what_nothing_is_known_of_is_not_zero():
    truth = paths(np.zeros((1, 3, 2, 2)))
    nobody = Trajectories(np.zeros((1, 3, 4, 2)), np.zeros((1, 3, 4), bool))
    figures = errors(nobody, truth)
    assert np.isnan(figures["error"]).all()
    assert (figures["lost"] == 1).all()
    assert np.isnan(errors(truth, Trajectories(truth.position, ~truth.visible))["lost"]).all()
