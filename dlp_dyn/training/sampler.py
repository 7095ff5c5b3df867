"""The order in which training reads clips: a function of (seed, epoch), so a run can go on at any step."""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int, UInt64
from torch.utils.data import Sampler

# Of five clips each comes equally often at each place, to 0.6 % (root mean square); with 8 rounds, to 2.5 %.
_ROUNDS = 12
_STEPS = 64  # that are shuffled in one go: of one batch alone, NumPy's calls take longer than the numbers


class ClipOrder(Sampler[list[int]]):
    """Batches of clip indices from an endless stream of shuffled epochs, cut for one process.

    Clip number i of the stream is entry `i % n_clips` of the permutation that (seed, i // n_clips) gives (`shuffled`).
    Nothing is dropped at the end of an epoch, and with several processes each takes its share of every batch: the clips
    of an optimiser step are the same for any number of processes and parts.

    n_clips: clips in the data set. batch_size: clips an optimiser step. parts: batches into which each process cuts
    its share of a step. start, stop: first step (0-based) and the step before which the stream ends.
    """

    def __init__(
        self, n_clips: int, batch_size: int, seed: int, start: int, stop: int, parts: int = 1, rank: int = 0,
        processes: int = 1,
    ) -> None:  # fmt: skip
        assert batch_size % (parts * processes) == 0
        self.n_clips, self.batch_size, self.seed = n_clips, batch_size, seed
        self.start, self.stop, self.parts, self.rank, self.processes = start, stop, parts, rank, processes

    def __len__(self) -> int:
        return (self.stop - self.start) * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.processes
        for begin in range(self.start, self.stop, _STEPS):
            steps = np.arange(begin, min(begin + _STEPS, self.stop))
            places = (steps * self.batch_size + self.rank * share)[:, None] + np.arange(share)
            indices = shuffled(places.ravel(), self.n_clips, self.seed)
            yield from indices.reshape(-1, share // self.parts).tolist()


def shuffled(places: Int[np.ndarray, " B"], n: int, seed: int) -> Int[np.ndarray, " B"]:
    """Entry `i % n` of the permutation of 0 to n - 1 that (seed, i // n) gives, for each i of `places`.

    There is no table, however large n is. A Feistel network mixes quotient and remainder of a number by about sqrt(n),
    adding to the one a hash of the other; numbers from n on are mixed again until they are below. Integers only: the
    same on every machine. Source: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002.

    seed: any integer, of which the lower 64 bits count.
    """
    rows = math.isqrt(n - 1) + 1
    columns = -(-n // rows)  # rows * columns is n or a little more

    def mixed(x: np.ndarray, keys: np.ndarray) -> np.ndarray:
        row, column = x // columns, x % columns
        for one, other in zip(keys[::2], keys[1::2], strict=True):
            row = (row + (_hash(one, column) >> 1)) % rows  # halved: the sum does not overflow
            column = (column + (_hash(other, row) >> 1)) % columns
        return row * columns + column

    epoch, x = np.divmod(places.astype(np.uint64), n)
    of_seed = _hash(np.zeros(1, np.uint64), np.array([seed % 2**64], np.uint64))
    keys = _hash(_hash(of_seed, epoch), np.arange(_ROUNDS, dtype=np.uint64)[:, None])
    x = mixed(x, keys)
    while (outside := x >= n).any():
        x[outside] = mixed(x[outside], keys[:, outside])
    return x.astype(np.int64)


def _hash(state: UInt64[np.ndarray, "..."], number: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """What the generator splitmix64 gives as output `number` from a state on (Steele, Lea and Flood, 2014)."""
    z = state + (number + 1) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)
