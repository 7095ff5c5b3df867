"""Slots, with an encoder that sees coloured squares exactly and gives them in another order every time."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from worlds import SIDE

from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.observer import Observer

PICTURE = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
EMPTY = 6  # patience + 1 steps since anything was seen


class Squares(ParticleEncoder):
    """Particles of the pictures that `draw` makes."""

    def __init__(self, run: Path) -> None:
        super().__init__(run)
        self.rng = np.random.default_rng(0)

    def raw(self, frames: np.ndarray) -> np.ndarray:
        packed = np.zeros((len(frames), self.n_particles, self.layout.dim), np.float32)
        packed[..., :2] = self.rng.uniform(-1, 1, packed[..., :2].shape)  # of those that are off
        for frame, particles in zip(frames, packed, strict=True):
            slots = self.rng.permutation(self.n_particles)
            for colour in range(3):
                ys, xs = np.nonzero(frame[..., colour])
                if len(xs):
                    row = particles[slots[colour]]
                    row[:2] = 2 * np.array([xs.mean(), ys.mean()]) / (SIDE - 1) - 1
                    row[5], row[6 + colour] = 1, 3
        return packed


def draw(*places: tuple[int, int] | None) -> np.ndarray:
    image = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    for colour, place in enumerate(places):
        if place is not None:
            x, y = place
            image[0, y : y + 3, x : x + 3, colour] = 255
    return image


@pytest.fixture
def observer(run: Path) -> Observer:
    return Observer(PICTURE, Squares(run), track=True)


def slot(observation: np.ndarray, colour: int) -> int:
    """Where the particle of a colour is."""
    (found,) = np.flatnonzero((observation[0, :, 6 + colour] == 3) & (observation[0, :, 5] == 1))
    return int(found)


def test_crossing_objects_keep_their_slots(observer: Observer) -> None:
    slots = set()
    for t in range(13):
        now = observer.observe(draw((2 + 2 * t, 10), (26 - 2 * t, 12)))
        slots.add((slot(now, 0), slot(now, 1)))
        assert sorted(now[0, :, -1]) == [0, 0, EMPTY, EMPTY]
    assert len(slots) == 1


def test_a_hidden_object_is_remembered_and_moves_on(observer: Observer) -> None:
    now = observer.observe(draw((2, 10), (20, 20)))
    for t in range(1, 4):
        now = observer.observe(draw((2 + 2 * t, 10), (20, 20)))
    kept = slot(now, 0)
    for hidden in range(1, 4):
        now = observer.observe(draw(None, (20, 20)))
        assert slot(now, 0) == kept
        assert now[0, kept, -1] == hidden
        np.testing.assert_allclose(now[0, kept, 0], 2 * (9 + 2 * hidden) / (SIDE - 1) - 1, atol=1e-5)
    now = observer.observe(draw((16, 10), (20, 20)))
    assert slot(now, 0) == kept
    assert now[0, kept, -1] == 0
    for _ in range(7):
        now = observer.observe(draw(None, (20, 20)))
    assert now[0, kept, -1] == EMPTY


def test_an_episode_knows_nothing_of_the_one_before(observer: Observer) -> None:
    for _ in range(2):
        observer.observe(draw((4, 4), (20, 20)))
    observer.reset()
    now = observer.observe(draw(None, (20, 20)))
    assert not ((now[0, :, 6] == 3) & (now[0, :, 5] == 1)).any()
    assert sorted(now[0, :, -1]) == [0, EMPTY, EMPTY, EMPTY]


def test_rows_are_tracked_apart(run: Path) -> None:
    observer = Observer(PICTURE, Squares(run), n_envs=2, track=True)
    pictures = [np.concatenate([draw((2 + t, 4), (20, 20)), draw((28 - t, 9))]) for t in range(6)]
    seen = [observer.observe(p) for p in pictures[:3]]
    observer.reset(np.array([1]))
    seen += [observer.observe(p) for p in pictures[3:]]
    assert len({slot(x[:1], 0) for x in seen}) == len({slot(x[:1], 1) for x in seen}) == 1
    assert len({slot(x[1:], 0) for x in seen[:3]}) == len({slot(x[1:], 0) for x in seen[3:]}) == 1
