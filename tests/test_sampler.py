from itertools import chain

from dlp_dyn.sampler import ClipOrder


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
