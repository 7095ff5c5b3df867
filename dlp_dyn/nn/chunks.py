"""A batch in chunks that fit a CPU's cache.

Between two products most of a network only reads and writes memory. What is still in the cache costs little; what
is larger than 32 MB costs most, because glibc takes it from the system, page by page, every time anew.
"""

import torch

_ELEMENTS = (
    2_000_000  # float32 numbers in the largest tensor of a chunk; several of them are in use at a time
)


def works_in_chunks(device: torch.device) -> bool:
    """Not on a GPU, where the number of launches counts, nor where a compiler wants to see the whole."""
    return device.type == "cpu" and not torch.compiler.is_compiling()


def n_chunks(batch: int, elements: int) -> int:
    """The number of chunks for a batch whose largest tensor has `elements` numbers a member."""
    return max(1, min(batch, round(batch * elements / _ELEMENTS)))
