"""Figures of random futures: distances of sets in closed form, forks as the world has them, the table."""

import numpy as np
import pytest

from benchmarks import random_futures
from benchmarks.hidden_actions import Told, r_squared
from benchmarks.random_futures import World, balls_world, branches, energy, free_forks


def test_the_energy_distance_of_two_points_and_of_one_set_with_another():
    """Of two points at a distance of d: 2 d, in image sides. Of draws of one law: 0 on average."""
    a, b = np.zeros((1, 1, 1, 2)), np.full((1, 1, 1, 2), 0.6)
    assert energy(a, b)[0, 0] == pytest.approx(2 * 0.3 * np.sqrt(2))
    rng = np.random.default_rng(0)
    same = energy(rng.normal(size=(400, 16, 1, 2)), rng.normal(size=(400, 16, 1, 2)))
    assert abs(same.mean()) < 3 * same.std() / 20


def test_a_mean_is_farther_from_a_fork_than_a_guess_of_its_branches():
    rng = np.random.default_rng(0)
    truth, guess = (np.sign(rng.normal(size=(50, 32, 1, 2))) for _ in range(2))
    mean = np.zeros((50, 1, 1, 2))
    assert energy(guess, truth).mean() < 0.1 < energy(mean, truth).mean()


def test_true_futures_take_both_branches_of_free_forks():
    world = balls_world(scenes=60, futures=8, horizon=5, seed=0)
    way, free = branches(world.futures), free_forks(world)
    assert free.sum() > 10
    assert (np.abs(way).transpose(0, 2, 1)[free] == 1).all()
    assert 0.4 < (way.transpose(0, 2, 1)[free] == 1).mean() < 0.6
    still = World(world.frames, np.repeat(world.futures[:, :, :1], 6, 2))
    assert (branches(still.futures) == 0).all()


def test_a_row_for_the_truth_and_two_for_a_model(tmp_path, capsys):
    words = ["balls", "balls", "--scenes", "2", "--futures", "2", "--pictures", str(tmp_path / "x.png")]
    assert random_futures.main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines] == [
        "futures",
        "truth",
        "balls",
        "balls, one future",
    ]
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_energies_stand_with_intervals_that_hold_them(capsys):
    world = balls_world(scenes=12, futures=4, horizon=20, seed=0)
    random_futures.report(world, [], forks=True, seed=0)
    row = capsys.readouterr().out.splitlines()[-1]
    cells = [cell.replace("(", " ").replace(")", " ").split() for cell in row.split("|")[2:5]]
    for value, low, _, high in cells:
        assert float(low) < float(value) < float(high)
        assert float(low) < 0 < float(high)  # of draws of one law


def test_a_probe_finds_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(400, 3)), rng.normal(size=(400, 3))
    action = x @ rng.normal(size=(3, 2))
    train, test = (Told(action[s], {"x": x[s], "noise": noise[s]}) for s in (slice(200), slice(200, None)))
    assert (r_squared(train, test, "x") > 0.99).all()
    assert (np.abs(r_squared(train, test, "noise")) < 0.1).all()
