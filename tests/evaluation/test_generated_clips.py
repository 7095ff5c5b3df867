"""Statistics of clips that belong to nothing: closed forms."""

import numpy as np
import pytest

from dlp_dyn.evaluation.generation import diversity, speed_distance, statistics
from dlp_dyn.evaluation.trajectories import Trajectories


def moving(velocity, n_clips=3, n_frames=7, start=None):
    """Two objects a clip, image sides apart; the first moves."""
    start = np.array([[0.0, 0.0], [0.3, 0.0]]) if start is None else start
    position = np.broadcast_to(start, (n_clips, n_frames, 2, 2)).copy()
    position[:, :, 0, 1] += velocity * np.arange(n_frames)
    return Trajectories(position, np.ones((n_clips, n_frames, 2), bool))


def test_of_straight_motion():
    found = statistics(moving(0.1), side=10, diameter=0.2)
    assert found.objects == 2
    assert found.overlaps == 0
    assert found.speed == pytest.approx(0.5)  # one moves a pixel a frame, one rests
    assert found.speed_std == pytest.approx(0.5)
    assert found.energy == pytest.approx(0.5)
    assert found.energy_change == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_said_is_not_a_number():
    found = statistics(moving(0.0), side=10)
    assert np.isnan(found.overlaps)
    assert np.isnan(found.energy_change)


def test_speed_distance_is_the_shift_of_equal_distributions():
    assert speed_distance(moving(0.1), moving(0.1), 10) == pytest.approx(0)
    assert speed_distance(moving(0.1), moving(0.3), 10) == pytest.approx(1.0)


def test_diversity_is_zero_for_copies_and_ignores_the_order_of_objects():
    clips = moving(0.1, n_clips=2)
    clips.position[1] = clips.position[1, :, ::-1]
    assert diversity(clips) == 0
    clips.position[1] += 0.25
    assert diversity(clips) > 0.1
