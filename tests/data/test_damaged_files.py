"""A flipped bit in a rollout file is told, wherever it is."""

from pathlib import Path

import numpy as np
import pytest

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    with RolloutWriter(tmp_path / "a.h5") as writer:
        for _ in range(3):
            frames = chance.integers(0, 256, (10, 8, 8, 3)).astype(np.uint8)
            writer.append(Episode(frames, actions=chance.normal(size=(10, 2)).astype(np.float32)))
    return tmp_path / "a.h5"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_in_a_frame_is_told(stored: Path) -> None:
    rollouts = Rollouts(stored)
    frame = rollouts.frames(np.array([17]))
    flip(stored, stored.read_bytes().index(frame.tobytes()) + 100)
    assert len(Rollouts(stored).frames(np.arange(17))) == 17
    with pytest.raises(InputError, match=r"a\.h5: frames: frame 17 is damaged"):
        Rollouts(stored).frames(np.arange(30))


def test_a_flipped_bit_in_an_action_is_told(stored: Path) -> None:
    actions = Rollouts(stored).column("actions")
    flip(stored, stored.read_bytes().index(actions.tobytes()) + 50)
    with pytest.raises(InputError, match=r"a\.h5"):
        Rollouts(stored).column("actions")


def test_a_flipped_bit_in_what_the_file_says_of_itself_is_told(stored: Path) -> None:
    flip(stored, stored.read_bytes().index(b"split_seed"))
    with pytest.raises(InputError, match=r"a\.h5"):
        Rollouts(stored)
