import tracemalloc
from itertools import chain

import numpy as np
import pytest

from dlp_dyn.training.sampler import ClipOrder, shuffled


def epochs(n: int, count: int, seed: int = 0) -> np.ndarray:
    """(count, n)"""
    return shuffled(np.arange(count * n), n, seed).reshape(count, n)


def unevenness(counts: np.ndarray) -> float:
    """Chi-square of counts that should be equal, in standard deviations from what chance gives."""
    expected, free = counts.sum() / counts.size, counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - free) / np.sqrt(2 * free))


def test_the_order_of_clips_is_the_same_for_any_number_of_processes() -> None:
    def steps(parts: int, processes: int) -> list[list[int]]:
        orders = [list(ClipOrder(7, 12, 3, 0, 9, parts, rank, processes)) for rank in range(processes)]
        batches = [
            [batch for order in orders for batch in order[s * parts : (s + 1) * parts]] for s in range(9)
        ]
        return [list(chain.from_iterable(step)) for step in batches]

    whole = steps(1, 1)
    assert whole == steps(3, 1) == steps(1, 4) == steps(2, 3)
    stream = list(chain.from_iterable(whole))
    epochs = [stream[i : i + 7] for i in range(0, len(stream) - 6, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 10
    assert whole[4:] == list(ClipOrder(7, 12, 3, 4, 9))
    assert whole != list(ClipOrder(7, 12, 4, 0, 9))
    assert list(ClipOrder(1000, 4, 3, 0, 300))[150:] == list(ClipOrder(1000, 4, 3, 150, 300))


def test_each_epoch_has_every_clip_once() -> None:
    for n in range(1, 301):
        assert (np.sort(epochs(n, 3, seed=n)) == np.arange(n)).all()


@pytest.mark.parametrize("n", [10**6, 2**20 + 1, 999_983])
def test_each_epoch_of_many_clips_has_every_clip_once(n: int) -> None:
    assert (np.bincount(epochs(n, 1)[0], minlength=n) == 1).all()


@pytest.mark.parametrize("n", [10**9, 2**30 + 1, 2**40, 10**12 + 39])
def test_no_clip_comes_twice_in_a_piece_of_a_huge_epoch(n: int) -> None:
    order = shuffled(np.arange(5 * n, 5 * n + 200_000), n, 1)
    assert len(np.unique(order)) == 200_000
    assert 0 <= order.min() < n / 10_000
    assert n * (1 - 1e-4) < order.max() < n


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = np.concatenate([epochs(50, 40, seed) for seed in (0, 1, 2, -1, 2**32, 2**63 + 1)])
    assert len(np.unique(orders, axis=0)) == len(orders)
    same = (orders[:, None] == orders).mean(-1)[
        np.triu_indices(len(orders), 1)
    ]  # places that agree: one of 50
    assert abs(same.mean() - 1 / 50) < 1e-3
    assert same.max() < 0.3


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 10, 23])
def test_any_clip_comes_at_any_place_and_after_any_other(n: int) -> None:
    orders = np.concatenate([epochs(n, 100, seed) for seed in range(300)])
    for place in range(n):
        assert unevenness(np.bincount(orders[:, place], minlength=n)) < 5
    followed = np.zeros((n, n), int)
    np.add.at(followed, (orders[:, :-1], orders[:, 1:]), 1)
    assert (followed.diagonal() == 0).all()
    if n > 2:
        assert unevenness(followed[~np.eye(n, dtype=bool)]) < 5


def test_a_long_epoch_looks_like_a_random_permutation() -> None:
    n = 10_000
    orders = epochs(n, 20)
    moved = np.abs(orders - np.arange(n)).mean() / n
    assert moved == pytest.approx(1 / 3, abs=5e-3)
    gaps = np.diff(orders)
    assert (np.abs(gaps) == 1).sum() < 80  # of 200,000; a random order has 40
    assert np.abs(gaps).mean() / n == pytest.approx(1 / 3, abs=5e-3)
    assert abs(np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]) < 0.01
    for k in (2, 16, 100):  # which of the k blocks and which remainder, by the block of the place
        block = np.arange(n) * k // n
        for value in (orders * k // n, orders % k):
            counts = np.zeros((k, k), int)
            np.add.at(counts, (np.broadcast_to(block, orders.shape), value), 1)
            assert abs(unevenness(counts)) < 6


def test_an_order_stays_what_it_is() -> None:
    """A run that goes on after an update reads the clips that are left."""
    assert epochs(10, 2).tolist() == [[2, 4, 3, 7, 1, 0, 5, 9, 8, 6], [2, 3, 5, 1, 6, 7, 8, 0, 4, 9]]
    third = shuffled(np.arange(3 * 10**9, 3 * 10**9 + 3), 10**9, 7)
    assert third.tolist() == [520868997, 60738348, 156039245]


def test_a_batch_out_of_a_billion_clips_needs_no_table() -> None:
    tracemalloc.start()
    batches = list(ClipOrder(10**9, 32, 0, 10**8, 10**8 + 20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(chain.from_iterable(batches))) == 20 * 32
    assert peak < 2_000_000
