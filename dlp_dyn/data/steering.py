"""Clips with what was wanted in them: the picture that their episode ends with, and what it was told."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.utils.data import Dataset

from dlp_dyn.clip import Clip
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.errors import InputError


class SteeredClips(Dataset[Clip]):
    """The clips of a data set, with goals or texts.

    goals: the last frame of each clip's episode. texts: of every episode, what a text encoder made of it.
    Raises InputError for texts of another number of episodes.
    """

    def __init__(
        self, clips: ClipDataset, goals: bool = False, texts: Float[np.ndarray, "K L E"] | None = None
    ) -> None:
        if texts is not None and len(texts) != clips.rollouts.n_episodes:
            raise InputError(
                f"{len(texts)} texts for the {clips.rollouts.n_episodes} episodes of {clips.rollouts.path}: give one "
                "for each"
            )
        self.clips, self.goals = clips, goals
        self.texts = None if texts is None else torch.from_numpy(texts).float()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Clip:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Clip]:
        """A list of one batch, as of `ClipDataset`."""
        rollouts, (batch,) = self.clips.rollouts, self.clips.__getitems__(indices)
        starts = self.clips.starts[np.asarray(indices)]
        episode: Int[np.ndarray, " B"] = np.searchsorted(rollouts.episode_ends, starts, side="right")
        goal = torch.from_numpy(rollouts.frames(rollouts.episode_ends[episode] - 1)) if self.goals else None
        return [replace(batch, goal=goal, language=None if self.texts is None else self.texts[episode])]


def read_embeddings(path: str | Path, axes: Sequence[str]) -> Float[np.ndarray, "..."]:
    """A npy file of what a text encoder made of texts: numbers along these axes, such as (episodes, length, width).

    Raises InputError for a file that holds no such thing.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no npy file that can be read ({error})") from error
    if found.ndim != len(axes) or not np.issubdtype(found.dtype, np.floating):
        raise InputError(
            f"{path}: an array of {found.dtype} of shape {found.shape}; embeddings of texts are numbers of shape "
            f"({', '.join(axes)})"
        )
    return found
