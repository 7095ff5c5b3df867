"""Every so many frames of an episode: the same as a clip of a training set, and refusals."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.strided import read_strided, strided_lengths
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError

LENGTHS = (11, 8)


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("data") / "x.h5", np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for n in LENGTHS:
            frames = rng.integers(0, 255, (n, 16, 16, 3), np.uint8)
            actions = rng.normal(size=(n, 2)).astype(np.float32)
            actions[-1] = 0  # the last row leads nowhere
            position = rng.normal(size=(n, 1, 2)).astype(np.float32)
            states = {"position": position, "velocity": np.gradient(position, axis=0).astype(np.float32)}
            writer.append(Episode(frames, actions, states=states), "train")
    return Rollouts(path)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_episodes_are_read_as_clips_are(rollouts, stride):
    lengths = strided_lengths(rollouts, np.arange(2), stride)
    for index, n in enumerate(lengths):
        assert n == len(range(0, LENGTHS[index], stride))
        clips = ClipDataset(rollouts, "train", int(n), stride)
        start = rollouts.episode_starts[index]
        clip = clips[int(np.flatnonzero(clips.starts == start)[0])]
        episode = read_strided(rollouts, index, int(n), stride)
        assert episode.actions is not None
        assert clip.actions is not None
        assert episode.states is not None
        assert_array_equal(episode.frames, clip.frames[0].numpy())
        assert_array_equal(episode.actions, clip.actions[0].numpy())
        whole = rollouts.states(int(start), LENGTHS[index])
        assert_array_equal(episode.states["position"], whole["position"][::stride])
        assert_array_equal(episode.states["velocity"], stride * whole["velocity"][::stride])


def test_too_short(rollouts):
    with pytest.raises(InputError, match="episode 1 has 8 frames, 9 are needed"):
        read_strided(rollouts, 1, 5, 2)
