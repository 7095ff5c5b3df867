"""What others have made -> rollout file, a few frames in memory at a time."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.images import Crop, as_mask, as_rgb, fit
from dlp_dyn.data.readers import Choices, EpisodeStream, open_source
from dlp_dyn.data.readers.base import Frames
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import BUFFER_BYTES, MASKS, PARTS, VIEWS, Episode, RolloutWriter
from dlp_dyn.errors import InputError

Frame = UInt8[np.ndarray, "H W 3"]
Moment = Mapping[str, UInt8[np.ndarray, "H W ..."]]
"""Images of one moment, by their names in a rollout file."""


def convert(
    path: str | Path,
    out: str | Path,
    *,
    image_size: int | None = None,
    crop: Crop | None = None,
    episode_length: int | None = None,
    choices: Choices | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes a rollout file from frames that exist already, see `readers`. `path` is one of:

    - `{train,val,test}/{episode}/{frames}.png` as OBJ3D, CLEVRER and PHYRE are laid out (`Valid`, `video_test`, ...
      do as well); the parts are kept. Names are sorted by their numbers;
    - a folder of such episodes, of videos, of files of pages or of arrays, or the frames of one episode;
    - one video (mp4, gif, ...) or file of pages (tif, webp, png);
    - .npy of shape (T, H, W, 3) or (E, T, H, W, 3); .npz and HDF5 with steps, see `readers.arrays`;
    - a Minari data set (folder or id) with image observations, a LeRobot one, one of stable-worldmodel.

    image_size, crop: see `images.fit`; without them all frames must have one size.
    episode_length: cut longer episodes into pieces of this many frames (a last piece may be shorter).
    choices: what the files do not say, see `readers.Choices`; it is told what was understood before reading begins.
    seed: of the split into parts, where the source has none.
    progress: told how many episodes are written.

    Raises InputError that names the file or frame.
    """
    if episode_length is not None and episode_length < 1:
        raise InputError(f"episode_length {episode_length}: must be 1 or more")
    choices = choices or Choices()
    reader = open_source(path, choices)
    for line in reader.layout.splitlines():
        choices.tell(line)
    rates: set[float | None] = set()
    done = 0
    camera = {"camera": choices.camera} if choices.camera else {}
    attributes = {"env_id": f"import:{Path(path).name}", **camera, **reader.attributes}
    with RolloutWriter(out, seed=seed, attributes=attributes) as writer:
        sized = _Sized(image_size, crop, choices.bits)
        given = False
        for stream in reader:
            rates.add(stream.fps())
            given = stream.part is not None
            start = 0
            for images, ends in _pieces(sized.moments(stream), episode_length):
                episode = _episode(images, stream, start, ends, str(path))
                writer.append(episode, stream.part, text=stream.text, more=not ends)
                start += len(episode)
                done += ends
                if progress and ends:
                    progress(done)
            if not start:
                raise InputError(f"{path}: an episode has no frames; remove it")
        writer.attributes |= _rate(rates, choices, str(path))
    _tell_parts(Rollouts(out), given, choices)


def _tell_parts(written: Rollouts, given: bool, choices: Choices) -> None:
    """Says which parts have no episode: the source has none, or it has too few to hold some out."""
    empty = [part for part in PARTS if not len(written.part(part))]
    if empty:
        remedy = "" if given else "; an episode_length cuts long ones, which leaves some"
        choices.tell(f"{written.n_episodes} in all: no episode is left for {' and '.join(empty)}{remedy}")


class _Sized:
    """Frames of any kind as RGB, those of a camera of one size; masks likewise."""

    def __init__(self, image_size: int | None, crop: Crop | None, bits: int | None) -> None:
        self._image_size, self._bits = image_size, bits
        self._crop: Crop | None = crop
        self._shapes: dict[str, tuple[int, ...]] = {}

    def moments(self, stream: EpisodeStream) -> Iterator[Moment]:
        """What all cameras see. InputError where one of them has more frames than another."""
        cameras = {"frames": stream.frames, **{f"{VIEWS}{name}": view for name, view in stream.views.items()}}
        streams = {key: self._frames(key, view(), stream.alpha) for key, view in cameras.items()}
        if stream.masks is not None:
            streams[MASKS] = self._masks(stream.masks())
        ended = object()
        while True:
            moment = {key: next(frames, ended) for key, frames in streams.items()}
            missing = [key for key, frame in moment.items() if frame is ended]
            if len(missing) == len(moment):
                return
            if missing:
                raise InputError(
                    f"an episode: {missing[0]} has fewer frames than "
                    f"{next(key for key in moment if key not in missing)}; all must show the same moments"
                )
            yield cast(Moment, moment)

    def _frames(self, key: str, frames: Frames, alpha: bool) -> Iterator[Frame]:
        """InputError for the first frame that has another size than those before it."""
        for name, image in frames:
            rgb = as_rgb(image, name, bits=self._bits, alpha=alpha)
            yield self._checked(key, fit(rgb, self._image_size, self._crop, name), name)

    def _masks(self, frames: Frames) -> Iterator[UInt8[np.ndarray, "H W"]]:
        for name, image in frames:
            mask = fit(as_mask(image, name), self._image_size, self._crop, name, nearest=True)
            yield self._checked("frames", mask, name)

    def _checked(self, key: str, frame: np.ndarray, name: str) -> np.ndarray:
        height, width = self._shapes.setdefault(key, frame.shape[:2])
        if frame.shape[:2] != (height, width):
            raise InputError(
                f"{name}: {frame.shape[1]} x {frame.shape[0]} pixels, frames before it {width} x {height}; "
                "give an image size"
            )
        return frame


def _pieces(moments: Iterator[Moment], length: int | None) -> Iterator[tuple[dict[str, np.ndarray], bool]]:
    """What fits in memory, and whether an episode ends with it: with the frames, or after `length` of them."""
    piece: _Piece | None = None
    in_episode = 0
    for moment in moments:
        if piece is not None and (in_episode == length or piece.is_full):
            yield piece.rows(), in_episode == length
            in_episode = 0 if in_episode == length else in_episode
            piece = None
        piece = piece or _Piece(moment)
        piece.add(moment)
        in_episode += 1
    if piece is not None:
        yield piece.rows(), True


class _Piece:
    """Moments side by side in one array: small pictures, kept one by one between large ones, tear the memory apart."""

    def __init__(self, first: Moment) -> None:
        capacity = -(-BUFFER_BYTES // max(sum(image.nbytes for image in first.values()), 1))
        self._rows = {key: np.empty((capacity, *image.shape), image.dtype) for key, image in first.items()}
        self._capacity, self._n = capacity, 0

    @property
    def is_full(self) -> bool:
        return self._n == self._capacity

    def add(self, moment: Moment) -> None:
        for key, image in moment.items():
            self._rows[key][self._n] = image
        self._n += 1

    def rows(self) -> dict[str, np.ndarray]:
        if self.is_full:
            return self._rows
        return {key: rows[: self._n].copy() for key, rows in self._rows.items()}


def _episode(
    images: Mapping[str, np.ndarray], stream: EpisodeStream, start: int, ends: bool, name: str
) -> Episode:
    """Frames from `start` of a source on, with their rows of the rest; what leads out of an episode is not known."""
    n = len(images["frames"])
    columns = {key: values[start : start + n] for key, values in stream.columns.items()}
    for key, values in stream.steps.items():
        piece = values[start : start + n - ends].copy()
        if len(piece) < n - ends:
            raise InputError(
                f"{name}: {len(values)} rows of {key} for {start + n} frames; give one a frame, or one fewer"
            )
        columns[key] = np.concatenate([piece, np.zeros((int(ends), *values.shape[1:]), values.dtype)])
    return Episode.from_columns({**columns, **images})


def _rate(rates: set[float | None], choices: Choices, name: str) -> dict[str, float]:
    """The attribute `fps`, where all episodes have one rate."""
    known = sorted({round(rate, 3) for rate in rates if rate})
    if len(known) > 1:
        choices.tell(
            f"{name}: films of {known[0]:g} to {known[-1]:g} frames a second; give fps to read all at one"
        )
    return {"fps": known[0]} if len(known) == 1 and None not in rates else {}
