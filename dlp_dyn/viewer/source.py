"""The episodes that the viewer shows: of a rollout file, or one video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn.checkpoint import rollouts_of
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.strided import read_strided, strided_lengths
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.images import check_size
from dlp_dyn.evaluation.video import check_fits
from dlp_dyn.image.model import DLP
from dlp_dyn.predict import VIDEOS, read_fitting_video
from dlp_dyn.video import VideoModel


@runtime_checkable
class Source(Protocol):
    """Episodes, numbered from 0."""

    @property
    def name(self) -> str: ...

    @property
    def lengths(self) -> Sequence[int]:
        """In frames."""
        ...

    def frames(self, episode: int) -> UInt8[np.ndarray, "T H W 3"]: ...

    def actions(self, episode: int) -> Float[Tensor, "T A"] | None:
        """`actions[t]` leads from frame t to frame t + 1; None where there are none."""
        ...


class RolloutSource:
    """The episodes of one part of a rollout file, every `stride` frames. Raises InputError for an empty part."""

    def __init__(self, rollouts: Rollouts, part: Part, stride: int) -> None:
        self.name = f"{rollouts.path.name}, {part} part"
        self._rollouts, self._stride = rollouts, stride
        self._index = rollouts.some_of(part)
        self._lengths = [int(n) for n in strided_lengths(rollouts, self._index, stride)]

    @property
    def lengths(self) -> Sequence[int]:
        return self._lengths

    def frames(self, episode: int) -> UInt8[np.ndarray, "T H W 3"]:
        start = int(self._rollouts.episode_starts[self._index[episode]])
        return self._rollouts.frames(start + self._stride * np.arange(self._lengths[episode]))

    def actions(self, episode: int) -> Float[Tensor, "T A"] | None:
        if not self._rollouts.has_actions:
            return None
        read = read_strided(self._rollouts, int(self._index[episode]), self._lengths[episode], self._stride)
        return torch.as_tensor(read.actions).float()


@dataclass(frozen=True)
class VideoSource:
    """One video as the only episode."""

    name: str
    video: UInt8[np.ndarray, "T H W 3"]

    @property
    def lengths(self) -> Sequence[int]:
        return [len(self.video)]

    def frames(self, episode: int) -> UInt8[np.ndarray, "T H W 3"]:  # noqa: ARG002 - there is one
        return self.video

    def actions(self, episode: int) -> Float[Tensor, "T A"] | None:  # noqa: ARG002
        return None


def open_source(
    run: str | Path, path: str | Path, model: VideoModel | DLP, part: Part, stride: int
) -> Source:
    """Episodes that fit the model of a run, every `stride` frames of them.

    Raises InputError for what cannot be read, frames of another size, missing actions and an empty part.
    """
    path = Path(path)
    if path.suffix.lower() in VIDEOS:
        if isinstance(model, VideoModel) and model.cfg.dynamics.action_dim:
            raise InputError(
                f"{path}: the model was trained with actions, a video has none: give a rollout file"
            )
        side = (model.cfg if isinstance(model, DLP) else model.cfg.image).image_size
        return VideoSource(path.name, read_fitting_video(path, side)[::stride])
    rollouts = rollouts_of(run, path)
    if isinstance(model, DLP):
        check_size(model, rollouts)
    else:
        check_fits(model, rollouts)
    return RolloutSource(rollouts, part, stride)
