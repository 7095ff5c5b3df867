"""Episodes as a video model sees them: every so many frames, with the actions in between side by side."""

import numpy as np
from jaxtyping import Int

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError


def strided_lengths(
    rollouts: Rollouts, episodes: Int[np.ndarray, " E"], stride: int
) -> Int[np.ndarray, " E"]:
    """How many frames of each episode are seen."""
    return (rollouts.episode_lengths[episodes] - 1) // stride + 1


def read_strided(rollouts: Rollouts, index: int, n_frames: int, stride: int = 1) -> Episode:
    """The first `n_frames` frames of an episode that are `stride` frames apart, with actions and ground truth.

    Row t of the actions holds all that lead to frame t + 1, as in a `ClipDataset`; velocities are those of `stride`
    frames. Rewards are left out.
    Raises InputError for an episode that is too short, and for actions or positions that are not numbers.
    """
    start, length = int(rollouts.episode_starts[index]), int(rollouts.episode_lengths[index])
    span = (n_frames - 1) * stride + 1
    if span > length:
        raise InputError(f"{rollouts.path}: episode {index} has {length} frames, {span} are needed")
    episode = rollouts.read(start, min(n_frames * stride, length))
    states = {name: values[:span:stride] for name, values in (episode.states or {}).items()}
    if "velocity" in states:
        states["velocity"] = stride * states["velocity"]
    actions = episode.actions
    if actions is not None:
        missing = n_frames * stride - len(actions)  # past the end of the episode, where nothing is done
        actions = np.pad(actions, ((0, missing), (0, 0))).reshape(n_frames, -1)
        if not np.isfinite(actions).all():
            raise InputError(f"{rollouts.path}: the actions of episode {index} hold NaN: collect it again")
    if not np.isfinite(states.get("position", np.zeros(1))).all():
        raise InputError(
            f"{rollouts.path}: states/position of episode {index} holds NaN: say in states/visible what is hidden"
        )
    return Episode(episode.frames[:span:stride], actions, states=states or None)
