"""The episodes that the viewer shows: of a rollout file, one video, or an environment that is played."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

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
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.stage import Stage
from dlp_dyn.predict import VIDEOS, read_fitting_video
from dlp_dyn.video import VideoModel

_EPISODES = 50  # that the bounds of actions are told from, at most


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

    def space(self) -> ActionSpace | None:
        """What a plan may do from one frame to the next; None where there are no actions."""
        ...

    def play(
        self, episode: int, time: int, actions: Float[np.ndarray, "U D"]
    ) -> UInt8[np.ndarray, "U H W 3"] | None:
        """The frames that these actions really lead to after a frame; None where there is nothing to be stepped."""
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

    def space(self) -> ActionSpace | None:
        """Bounded by what was done in the file's episodes of this part."""
        if not self._rollouts.has_actions:
            return None
        episodes = [self._rollouts.episode(int(i)).actions for i in self._index[:_EPISODES]]
        done = np.concatenate([actions for actions in episodes if actions is not None])
        one_hot = self._rollouts.attributes.get("action_kind") == "one-hot"
        low, high = (torch.from_numpy(x).float() for x in (done.min(0), done.max(0)))
        return ActionSpace(low, high, self._stride, one_hot)

    def play(self, episode: int, time: int, actions: Float[np.ndarray, "U D"]) -> None:
        """A file cannot be stepped."""


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

    def space(self) -> ActionSpace | None:
        return None

    def play(self, episode: int, time: int, actions: Float[np.ndarray, "U D"]) -> None:
        """A film cannot be stepped."""


class StageSource:
    """Episodes that an environment plays by uniform actions, one a seed, and goes back to.

    steps: frames of an episode, `stride` actions apart. It can be asked by several threads.
    Raises InputError for an environment without pictures, and for actions without bounds.
    """

    lengths: Sequence[int]

    def __init__(
        self,
        env_id: str,
        side: int,
        stride: int,
        settings: Mapping[str, Any] | None = None,
        episodes: int = 20,
        steps: int = 20,
    ) -> None:
        self.name, self.lengths = f"{env_id}, played now", [steps] * episodes
        self._stage, self._lock = Stage(env_id, side, settings), threading.Lock()
        self._space = ActionSpace.of(self._stage.env.action_space, stride)

    def frames(self, episode: int) -> UInt8[np.ndarray, "T H W 3"]:
        """The last ones again and again where the environment ends an episode before."""
        actions = self.actions(episode)[:-1].numpy()
        with self._lock:
            first = self._stage.reset(episode)
            return np.stack([first, *self._frames(first, actions)])

    def actions(self, episode: int) -> Float[Tensor, "T A"]:
        generator = torch.Generator().manual_seed(episode)
        low, high = self._space.bounds
        drawn = torch.rand(self.lengths[episode], self._space.width, generator=generator)
        if not self._space.choices:
            return low + (high - low) * drawn
        best = drawn.unflatten(-1, (self._space.block, -1)).argmax(-1)
        return torch.nn.functional.one_hot(best, len(self._space.low)).flatten(1).float()

    def space(self) -> ActionSpace:
        return self._space

    def play(
        self, episode: int, time: int, actions: Float[np.ndarray, "U D"]
    ) -> UInt8[np.ndarray, "U H W 3"]:
        before = self.actions(episode)[:time].numpy()
        with self._lock:
            first = self._stage.reset(episode)
            return np.stack(self._frames(first, np.concatenate([before, actions]))[time:])

    def _frames(
        self, frame: UInt8[np.ndarray, "H W 3"], blocks: Float[np.ndarray, "T D"]
    ) -> list[UInt8[np.ndarray, "H W 3"]]:
        seen = []
        for block in self._space.single(torch.from_numpy(blocks)).numpy():
            for action in block:
                if not self._stage.done:
                    frame = self._stage.step(action)
            seen.append(frame)
        return seen


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
        image = model if isinstance(model, DLP) else model.image
        return VideoSource(path.name, read_fitting_video(path, image)[::stride])
    rollouts = rollouts_of(run, path)
    if isinstance(model, DLP):
        check_size(model, rollouts)
    else:
        check_fits(model, rollouts)
    return RolloutSource(rollouts, part, stride)
