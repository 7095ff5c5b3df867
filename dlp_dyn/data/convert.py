"""What others have made -> rollout file, a few frames in memory at a time."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.images import Crop, as_rgb, fit
from dlp_dyn.data.readers import Choices, EpisodeStream, open_source
from dlp_dyn.data.writer import BUFFER_BYTES, Episode, RolloutWriter
from dlp_dyn.errors import InputError

Frame = UInt8[np.ndarray, "H W 3"]


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
    - a Minari data set (folder or id) with image observations.

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
    attributes = {"env_id": f"import:{Path(path).name}", **reader.attributes}
    with RolloutWriter(out, seed=seed, attributes=attributes) as writer:
        sized = _Sized(image_size, crop, choices.bits)
        for stream in reader:
            rates.add(stream.fps())
            start = 0
            for frames, ends in _pieces(sized.frames(stream), episode_length):
                writer.append(
                    _episode(frames, stream.steps, start, ends, str(path)), stream.part, more=not ends
                )
                start += len(frames)
                done += ends
                if progress and ends:
                    progress(done)
            if not start:
                raise InputError(f"{path}: an episode has no frames; remove it")
        writer.attributes |= _rate(rates, choices, str(path))


class _Sized:
    """Frames of any kind as RGB of one size."""

    def __init__(self, image_size: int | None, crop: Crop | None, bits: int | None) -> None:
        self._image_size, self._bits = image_size, bits
        self._crop: Crop | None = crop
        self._shape: tuple[int, ...] | None = None

    def frames(self, stream: EpisodeStream) -> Iterator[Frame]:
        """InputError for the first frame that has another size than those before it."""
        for name, image in stream.frames():
            rgb = as_rgb(image, name, bits=self._bits, alpha=stream.alpha)
            frame = fit(rgb, self._image_size, self._crop, name)
            self._shape = self._shape or frame.shape
            if frame.shape != self._shape:
                raise InputError(
                    f"{name}: {frame.shape[1]} x {frame.shape[0]} pixels, frames before it "
                    f"{self._shape[1]} x {self._shape[0]}; give an image size"
                )
            yield frame


def _pieces(
    frames: Iterator[Frame], length: int | None
) -> Iterator[tuple[UInt8[np.ndarray, "T H W 3"], bool]]:
    """What fits in memory, and whether an episode ends with it: with the frames, or after `length` of them."""
    piece: list[Frame] = []
    in_episode = 0
    for frame in frames:
        if piece and (in_episode == length or len(piece) * frame.nbytes >= BUFFER_BYTES):
            yield np.stack(piece), in_episode == length
            in_episode = 0 if in_episode == length else in_episode
            piece = []
        piece.append(frame)
        in_episode += 1
    if piece:
        yield np.stack(piece), True


def _episode(
    frames: UInt8[np.ndarray, "T H W 3"], steps: Mapping[str, np.ndarray], start: int, ends: bool, name: str
) -> Episode:
    """Frames from `start` of a source on, with their rows of the steps; what leads out of an episode is not known."""
    rows = {}
    for key, values in steps.items():
        piece = values[start : start + len(frames) - ends].copy()
        if len(piece) < len(frames) - ends:
            raise InputError(
                f"{name}: {len(values)} rows of {key} for {start + len(frames)} frames; give one a frame, "
                "or one fewer"
            )
        rows[key] = np.concatenate([piece, np.zeros((int(ends), *values.shape[1:]), values.dtype)])
    return Episode(frames, **rows)


def _rate(rates: set[float | None], choices: Choices, name: str) -> dict[str, float]:
    """The attribute `fps`, where all episodes have one rate."""
    known = sorted({round(rate, 3) for rate in rates if rate})
    if len(known) > 1:
        choices.tell(
            f"{name}: films of {known[0]:g} to {known[-1]:g} frames a second; give fps to read all at one"
        )
    return {"fps": known[0]} if len(known) == 1 and None not in rates else {}
