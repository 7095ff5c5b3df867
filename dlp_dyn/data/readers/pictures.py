"""Picture files -> arrays, upright; files of several pages (TIFF, WebP, APNG, GIF) as clips."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames
from dlp_dyn.data.readers.ends import missing_bytes
from dlp_dyn.data.readers.times import Schedule, schedule
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError

PICTURES = {
    ".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jfif", ".avif",
    ".ppm", ".pgm",
}  # fmt: skip
_PAGED = {".png", ".apng", ".tif", ".tiff", ".webp", ".gif", ".avif"}
_MOST_PIXELS = 1 << 27  # of one picture: 16,384 x 8,192
_GIF_ROUNDING = 0.0101  # seconds: GIF counts in hundredths
_FAULTS = (OSError, SyntaxError, ValueError, EOFError, UnidentifiedImageError, Image.DecompressionBombError)


def n_pages(file: Path) -> int:
    """How many pictures a file holds. InputError for what is none."""
    if file.suffix.lower() not in _PAGED:
        return 1
    try:
        with Image.open(file) as image:
            return getattr(image, "n_frames", 1)
    except _FAULTS as error:
        raise _fault(file, error) from error


def read_picture(file: Path) -> np.ndarray:
    """Of a file with one page: uint8 grey, RGB or RGBA, or uint16. InputError for what is none, or cut short."""
    try:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if getattr(image, "n_frames", 1) > 1 and file.suffix.lower() in _PAGED:
                raise InputError(f"{file}: has several pages, others beside it one; move it away")
            _check_size(image, file)
            deep = _is_deep(image)  # before loading: Pillow forgets it then
            image.load()
            if deep:
                pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                if pixels is None:
                    raise _damaged(file)
                return pixels[..., [2, 1, 0, *range(3, pixels.shape[-1])]] if pixels.ndim == 3 else pixels
            return _plain(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except _FAULTS as error:
        raise _fault(file, error) from error


def _check_size(image: Image.Image, file: Path) -> None:
    if image.width * image.height > _MOST_PIXELS:
        raise InputError(f"{file}: {image.width} x {image.height} pixels are too many; make it smaller")


def _is_deep(image: Image.Image) -> bool:
    """More than eight bits a channel: Pillow keeps the upper eight of three channels only."""
    tile = getattr(image, "tile", None)  # of pictures that come from a file
    raw = tile[0].args if tile else ()
    mode = raw[0] if isinstance(raw, tuple) and raw else raw
    return image.mode.startswith(("I", "F")) or (isinstance(mode, str) and ";16" in mode)


def _plain(image: Image.Image) -> np.ndarray:
    clear = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    mode = "RGBA" if clear else "L" if image.mode in ("1", "L") else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


@dataclass(frozen=True)
class Pages:
    """A file of several pages as a clip. durations: seconds that each page is shown, 0 where nothing is said."""

    path: Path
    durations: tuple[float, ...]

    def schedule(self, fps: float | str | None = None) -> Schedule:
        """Which pages to take, see `times.schedule`: a pause gets its length back."""
        rounding = _GIF_ROUNDING if self.path.suffix.lower() == ".gif" else 0.0011
        return schedule(np.array(self.durations), fps, str(self.path), rounding=rounding, last=True)

    def frames(self, choices: Choices) -> Iterator[np.ndarray]:
        planned = self.schedule(choices.fps)
        planned.tell_held(choices.tell, self.path)
        try:
            with Image.open(self.path) as image:
                for page, count in enumerate(planned.counts.tolist()):
                    image.seek(page)
                    image.load()
                    yield from [self._page(image)] * count
        except InputError:
            raise
        except _FAULTS as error:
            raise _fault(self.path, error) from error

    def _page(self, image: Image.Image) -> np.ndarray:
        if not _is_deep(image):
            return _plain(image)
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        raise InputError(f"{self.path}: pages of more than eight bits in colour; write one file a page")


def clip_episode(file: Path, part: Part | None, choices: Choices) -> EpisodeStream:
    opened: Callable[[], Pages] = cache(lambda: open_pages(file))

    def frames() -> Frames:
        return ((f"{file}, frame {i}", page) for i, page in enumerate(opened().frames(choices)))

    return EpisodeStream(frames, part, alpha=True, fps=lambda: opened().schedule(choices.fps).fps)


def open_pages(file: Path) -> Pages:
    """Reads how long each page is shown. InputError for what is no picture, or cut short."""
    durations = []
    if missing_bytes(file):
        raise _damaged(file)
    try:
        with Image.open(file) as image:
            _check_size(image, file)
            n = getattr(image, "n_frames", 1)
            if image.format == "WEBP" and n != _n_webp_pages(file):
                raise _damaged(file)
            for page in range(n):
                image.seek(page)
                image.load()
                durations.append(image.info.get("duration", 0) / 1000)
    except InputError:
        raise
    except _FAULTS as error:
        raise _fault(file, error) from error
    return Pages(file, tuple(durations))


def _n_webp_pages(file: Path) -> int:
    """As the file lists them: its decoder leaves out what it cannot make sense of."""
    pages, at, data = 0, 12, file.read_bytes()
    while at + 8 <= len(data):
        pages += data[at : at + 4] == b"ANMF"
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return max(pages, 1)


def _fault(file: Path, error: Exception) -> InputError:
    if isinstance(error, Image.DecompressionBombError):
        return InputError(f"{file}: has too many pixels; make it smaller")
    return _damaged(file)


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: not an image, or damaged; repair or remove it")
