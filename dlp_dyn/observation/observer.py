"""Pictures in observations -> sets of particles: the core that all wrappers share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dlp_dyn.data.images import image_key
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.form import ParticleForm
from dlp_dyn.observation.memory import FrameMemory, History, Tracks
from dlp_dyn.particles import ParticleLayout
from dlp_dyn.tracking.matching import Matcher

Images = Mapping[str, str | Sequence[str]]
Batch = Any  # of Box or Dict spaces: an array or a dict of arrays, with a leading axis
Rows = Int[np.ndarray, " R"]

_WHOLE = ""  # the key where an observation is one picture
_OF_ONE_MOMENT = ("achieved_goal", "desired_goal")  # a goal is a moment, never a stack of them


@dataclass(frozen=True)
class _Moment:
    """Observations of some rows."""

    rows: Rows
    arrays: dict[str, Shaped[np.ndarray, "R ..."]]


class Observer:
    """Batches of raw observations -> batches of particle observations, of `n_envs` environments (rows).

    images: key of the new observation -> key of the picture in the old one, or several keys, one a camera, whose
    particles make one set with a column `view`. None where the observation is one picture: it becomes one set.
    keep: new key -> old key of arrays that are passed on.
    track: particles keep their slots within an episode; a column `missed` counts the steps since each was seen.
    stack: so many steps on the token axis, newest first, with a column `time`; goals (of GoalEnv) are not stacked.
    flatten, named, dtype: see `ParticleForm`; the entries of `named` are called KEY_ATTRIBUTE in a Dict.

    All new pictures of a step are encoded in one batch; one that several keys name once, and one that is as it was a
    step before not at all. Bounds are those of the normalizer's clip, infinite without one.
    Raises InputError when the space does not hold the pictures that the encoder reads.
    """

    def __init__(
        self,
        space: gym.Space[Any],
        encoder: ParticleEncoder,
        images: Images | None = None,
        keep: Mapping[str, str] | None = None,
        n_envs: int = 1,
        *,
        flatten: bool = False,
        dtype: str = "float32",
        named: bool = False,
        track: bool = False,
        stack: int = 1,
    ) -> None:
        if stack < 1:
            raise InputError(f"observation: stack {stack}: use 1 (none) or more")
        self.encoder, self.n_envs, self.stack = encoder, n_envs, stack
        self.keep = dict(keep or {})
        self.cameras = _cameras(space, images, self.keep)
        pictures = list(dict.fromkeys(key for keys in self.cameras.values() for key in keys))
        for key in pictures:
            _check_picture(space, key, encoder)

        n, dim, side = encoder.n_particles, encoder.layout.dim, encoder.image_size
        matcher = Matcher(encoder.tracking.patience, encoder.tracking.reach)
        self._frames = {key: FrameMemory(n_envs, side, n, dim) for key in pictures}
        self._tracks = {key: Tracks(n_envs, n, encoder.layout, matcher) for key in pictures if track}
        self._views = max(len(keys) for keys in self.cameras.values())
        extra = {"missed": (0, matcher.patience + 1)} if track else {}
        extra |= {"view": (0, self._views - 1)} if self._views > 1 else {}
        width = dim + len(extra)
        self._history = {
            key: History(n_envs, 1 if key in _OF_ONE_MOMENT else stack, n * len(keys), width)
            for key, keys in self.cameras.items()
            if stack > 1
        }
        extra |= {"time": (1 - stack, 0)} if stack > 1 else {}
        self.layout = ParticleLayout(encoder.layout.feature_dim, tuple(extra))
        low, high = encoder.bounds
        low = np.concatenate([low, [b[0] for b in extra.values()]])
        high = np.concatenate([high, [b[1] for b in extra.values()]])
        self.form = ParticleForm(self.layout, low, high, flatten, named, dtype)
        self.space = self._space(space)

    def reset(self, rows: Rows | None = None) -> None:
        """The next observation of these rows (None: of all) begins an episode."""
        rows = np.arange(self.n_envs) if rows is None else rows
        for memory in (*self._frames.values(), *self._tracks.values(), *self._history.values()):
            memory.forget(rows)

    def memory(self) -> dict[str, Tensor]:
        """All that is remembered from step to step, in the memory where it lies: to save, and to bring back."""
        kinds = {"frames": self._frames, "tracks": self._tracks, "history": self._history}
        return {
            f"{kind}/{key}/{i}": tensor
            for kind, memories in kinds.items()
            for key, memory in memories.items()
            for i, tensor in enumerate(memory.tensors())
        }

    def observe(self, batch: Batch, rows: Rows | None = None) -> Batch:
        """Particles of the observations of these rows (None: of all).

        Raises InputError for arrays with NaN.
        """
        moment = self._moment(batch, rows)
        return self._observed(moment, self._encode([moment])[0])

    def observe_ends(self, last: Batch, rows: Rows, batch: Batch) -> tuple[Batch, Batch]:
        """`observe` of a step in which the episodes of some rows ended, and which their environments began anew.

        last: the last observations of the ended episodes. batch: of all rows, of the next episodes where they ended.
        """
        end, now = self._moment(last, rows), self._moment(batch, None)
        encoded = self._encode([end, now])
        at_end = self._observed(end, encoded[0])
        for memory in (*self._tracks.values(), *self._history.values()):
            memory.forget(rows)
        return at_end, self._observed(now, encoded[1])

    def _moment(self, batch: Batch, rows: Rows | None) -> _Moment:
        arrays = dict(batch) if isinstance(batch, Mapping) else {_WHOLE: batch}
        for key in self.keep.values():
            values = np.asarray(arrays[key])
            if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
                raise InputError(f"observation {key!r}: has NaN; look at the environment that gives it")
        return _Moment(np.arange(self.n_envs) if rows is None else rows, arrays)

    def _encode(self, moments: list[_Moment]) -> list[dict[str, Float[np.ndarray, "R N D"]]]:
        """Particles of every picture of every moment, in one call of the encoder.

        A row that comes again in a later moment has begun a new episode.
        """
        pairs = [(moment, key) for moment in moments for key in self._frames]
        new: list[Bool[np.ndarray, " R"]] = []
        for moment, key in pairs:
            new.append(self._frames[key].unknown(moment.arrays[key], moment.rows))
            if moment is not moments[-1]:
                self._frames[key].forget(moment.rows)
        chosen = [moment.arrays[key][mask] for (moment, key), mask in zip(pairs, new, strict=True)]
        encoded = self.encoder.raw(np.concatenate(chosen))
        pieces = np.split(encoded, np.cumsum([len(part) for part in chosen])[:-1])
        results: list[dict[str, np.ndarray]] = [{} for _ in moments]
        for i, ((moment, key), mask, piece) in enumerate(zip(pairs, new, pieces, strict=True)):
            particles = self._frames[key].packed[moment.rows]
            particles[mask] = piece
            self._frames[key].store(moment.arrays[key], moment.rows, particles)
            results[i // len(self._frames)][key] = particles
        return results

    def _observed(self, moment: _Moment, packed: dict[str, np.ndarray]) -> Batch:
        """The new observation; slots and stacks move on by a step."""
        rows, normalizer = moment.rows, self.encoder.normalizer
        sets = {}
        for key, particles in packed.items():
            if self._tracks:
                particles = self._tracks[key].follow(particles, rows)
            if normalizer is not None:
                dim = normalizer.layout.dim
                particles = np.concatenate([normalizer(particles[..., :dim]), particles[..., dim:]], -1)
            sets[key] = particles
        observation: dict[str, np.ndarray] = {}
        for key, cameras in self.cameras.items():
            tokens = np.concatenate([self._seen_by(i, sets[camera]) for i, camera in enumerate(cameras)], 1)
            if self._history:
                tokens = self._history[key].push(tokens, rows)
            formed = self.form(tokens)
            if not isinstance(formed, dict):
                observation[key] = formed
            else:
                observation |= {_join(key, name): values for name, values in formed.items()}
        for new, old in self.keep.items():
            observation[new] = np.array(moment.arrays[old])
        return observation.get(_WHOLE, observation)

    def _seen_by(self, view: int, tokens: np.ndarray) -> np.ndarray:
        if self._views == 1:
            return tokens
        column = np.full((*tokens.shape[:-1], 1), view, np.float32)
        return np.concatenate([tokens, column], -1)

    def _space(self, old: gym.Space[Any]) -> gym.Space[Any]:
        spaces: dict[str, gym.Space[Any]] = {}
        for key, cameras in self.cameras.items():
            n = self.encoder.n_particles * len(cameras) * (1 if key in _OF_ONE_MOMENT else self.stack)
            space = self.form.space(n)
            if isinstance(space, gym.spaces.Dict):
                spaces |= {_join(key, name): inner for name, inner in space.spaces.items()}
            else:
                spaces[key] = space
        spaces |= {new: entry(old, key) for new, key in self.keep.items()}
        return spaces[_WHOLE] if _WHOLE in spaces else gym.spaces.Dict(spaces)


def batch_of(observations: Sequence[Any]) -> Batch:
    """Single observations, joined along a new leading axis."""
    if isinstance(observations[0], Mapping):
        return {key: np.stack([np.asarray(o[key]) for o in observations]) for key in observations[0]}
    return np.stack([np.asarray(o) for o in observations])


def one_of(batch: Batch, row: int) -> Any:
    """The single observation of a row."""
    return {key: values[row] for key, values in batch.items()} if isinstance(batch, dict) else batch[row]


def rows_of(batch: Batch, rows: Rows) -> Batch:
    """A batch of some rows."""
    return {key: values[rows] for key, values in batch.items()} if isinstance(batch, dict) else batch[rows]


def with_rows(batch: Batch, rows: Rows, new: Batch) -> Batch:
    """A copy of a batch with some rows replaced."""
    if isinstance(batch, dict):
        return {key: with_rows(values, rows, new[key]) for key, values in batch.items()}
    copy = batch.copy()
    copy[rows] = new
    return copy


def _join(key: str, attribute: str) -> str:
    return f"{key}_{attribute}" if key else attribute


def entry(space: gym.Space[Any], key: str) -> gym.Space[Any]:
    if key == _WHOLE:
        return space
    if not isinstance(space, gym.spaces.Dict) or key not in space.spaces:
        known = ", ".join(space) if isinstance(space, gym.spaces.Dict) else "none"
        raise InputError(f"observation: no key {key!r} in the environment's observation; there are {known}")
    return space[key]


def _cameras(
    space: gym.Space[Any], images: Images | None, keep: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Key of each new set -> keys of its pictures."""
    where = image_key(space)
    if images is None:
        if where == () and not keep:
            return {_WHOLE: (_WHOLE,)}
        if where is None:
            raise InputError(
                f"observation: no pixels in {' '.join(str(space).split())[:100]}; make the environment with "
                'render_mode="rgb_array" and wrap it in gymnasium.wrappers.AddRenderObservation'
            )
        raise InputError(
            f'observation: a Dict with pictures: say which ones with images={{"observation": "{where[0]}"}}'
        )
    cameras = {key: (c,) if isinstance(c, str) else tuple(c) for key, c in images.items()}
    if not all(cameras.values()) or not cameras:
        raise InputError(f"observation: images={dict(images)}: name one picture or more for each key")
    if both := cameras.keys() & keep.keys():
        raise InputError(f"observation: {', '.join(sorted(both))}: in images and in keep; rename one of them")
    return cameras


def _check_picture(space: gym.Space[Any], key: str, encoder: ParticleEncoder) -> None:
    box, side = entry(space, key), encoder.image_size
    name = f"observation {key!r}" if key else "observation"
    if image_key(box) != ():
        raise InputError(
            f"{name}: {' '.join(str(box).split())[:100]} is no picture (uint8, height x width x 3)"
        )
    if box.shape != (side, side, 3):
        raise InputError(
            f"{name}: pictures of shape {box.shape}, the encoder {encoder.run} reads ({side}, {side}, 3): wrap the "
            "environment in gymnasium.wrappers.ResizeObservation, or train an encoder on its pictures"
        )
