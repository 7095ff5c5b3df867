"""The order in which training reads clips: a function of (seed, epoch), so a run can go on at any step."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler


class ClipOrder(Sampler[list[int]]):
    """Batches of clip indices from an endless stream of shuffled epochs, cut for one process.

    Clip number i of the stream is entry `i % n_clips` of the permutation that (seed, i // n_clips) gives. Nothing
    is dropped at the end of an epoch, and with several processes each takes its share of every batch: the clips of
    an optimiser step are the same for any number of processes and parts.

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
        epoch, order = -1, np.empty(0, np.int64)
        share = self.batch_size // self.processes
        for step in range(self.start, self.stop):
            first = step * self.batch_size + self.rank * share
            indices = []
            for i in range(first, first + share):
                if i // self.n_clips != epoch:
                    epoch = i // self.n_clips
                    order = self._permutation(epoch)
                indices.append(int(order[i % self.n_clips]))
            part = share // self.parts
            for begin in range(0, share, part):
                yield indices[begin : begin + part]

    def _permutation(self, epoch: int) -> Int[np.ndarray, " n"]:
        # Not a torch.Generator: on a CPU it heeds only 32 bits of its seed.
        return np.random.default_rng([self.seed, epoch]).permutation(self.n_clips)
