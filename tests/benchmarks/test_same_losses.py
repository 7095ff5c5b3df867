"""What is said of the losses of two checkouts."""

from benchmarks.same_losses import compared


def test_equal_bits_are_told_from_close_ones() -> None:
    before = [{"train/loss": 1.0, "train/kl": 2.0, "train/old": 0.0}, {"train/loss": 0.5, "train/kl": 2.0}]
    after = [{"train/loss": 1.0, "train/kl": 2.0, "train/new": 0.0}, {"train/loss": 0.5, "train/kl": 2.5}]
    assert compared(before, after) == {
        "train/kl": "1 of 2, 2.0e-01 apart",
        "train/loss": "2 of 2",
        "train/new": "after alone",
        "train/old": "before alone",
    }
