"""Films cut short at ten places, and with flipped bytes: refused, or what is left is right, in order and told."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data_trials.ffmpeg import X264, complaints, decoded, encode
from benchmarks.data_trials.trial import TOLERANCE, Frames, Imported, Result, attempt, difference
from dlp_dyn.data.readers import Choices

PLACES = (0.08, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
FLIPS = 10  # damaged copies of each film
NOISE = ("-vf", "scale=128:128:flags=neighbor,noise=alls=12:allf=t")
PALETTE = ("-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse")
H265 = ("-c:v", "libx265", "-crf", "12", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none")
FILMS = {
    "h264_index_first.mp4": (*NOISE, *X264, "-g", "6", "-movflags", "+faststart"),
    "h264_index_last.mp4": (*NOISE, *X264, "-g", "6"),
    "h264.mkv": (*NOISE, *X264, "-g", "6"),
    "h264.ts": (*NOISE, *X264, "-g", "6"),
    "h264.flv": (*NOISE, *X264, "-g", "6"),
    "hevc.mkv": (*NOISE, *H265),
    "mpeg4.avi": (*NOISE, "-c:v", "mpeg4", "-q:v", "3"),
    "mpeg2.mpg": (*NOISE, "-c:v", "mpeg2video", "-q:v", "3"),
    "mjpeg.avi": (*NOISE, "-c:v", "mjpeg", "-q:v", "3"),
    "vp8.webm": (*NOISE, "-c:v", "libvpx", "-b:v", "4M"),
    "vp9.webm": (*NOISE, "-c:v", "libvpx-vp9", "-b:v", "4M"),
    "prores.mov": (*NOISE, "-c:v", "prores_ks"),
    "pages.gif": PALETTE,
    "pages.webp": ("-c:v", "libwebp_anim", "-lossless", "1"),
    "pages.apng": ("-c:v", "apng"),
}


@dataclass(frozen=True)
class _Damage:
    """A damaged copy of a film, and what the whole one shows."""

    kind: str
    path: Path
    whole: Frames

    def results(self) -> Iterator[Result]:
        yield attempt(self.kind, self.path.name, self.path, Choices(fps="all"), self._judge)
        name = f"{self.path.name}, allowed"
        choices = Choices(fps="all", allow_damaged=True)
        yield attempt(f"{self.kind}, allowed", name, self.path, choices, self._judge_left)

    def _judge(self, found: Imported) -> str:
        (frames,) = found.episodes
        wrong = difference(frames, self.whole)
        return "" if wrong and self._is_silent(frames) else wrong

    def _judge_left(self, found: Imported) -> str:
        (frames,) = found.episodes
        if self._is_silent(frames):
            return ""
        numbers = [_nearest(frame, self.whole) for frame in frames]
        if None in numbers:
            return f"frame {numbers.index(None)} is none of the whole film"
        known = [number for number in numbers if number is not None]
        if known != sorted(known):
            return f"order {known}"
        lost = len(self.whole) - len({*known})
        told = any(self.path.name in line and "damaged" in line for line in found.told)
        return "" if told or not lost else f"{lost} frames lost, nothing is said"

    def _is_silent(self, frames: Frames) -> bool:
        """Whether ffmpeg shows the same and sees no damage: codecs without checksums cannot tell."""
        return not complaints(self.path) and not difference(frames, decoded(self.path))


def _nearest(frame: np.ndarray, whole: Frames) -> int | None:
    if frame.shape != whole[0].shape:
        return None
    errors = [float(np.abs(frame.astype(np.int16) - other).mean()) for other in whole]
    best = int(np.argmin(errors))
    return best if errors[best] < TOLERANCE else None


def trials(place: Path) -> Iterator[Result]:
    chance = np.random.default_rng(0)
    for name, options in FILMS.items():
        film = place / name
        encode(film, *options)
        data, whole = film.read_bytes(), decoded(film)
        for share in PLACES:
            cut = place / f"cut_{round(100 * share)}_{name}"
            cut.write_bytes(data[: round(share * len(data))])
            yield from _Damage("cut short", cut, whole).results()
            cut.unlink()
        for i in range(FLIPS):
            flipped = place / f"flipped_{i}_{name}"
            damaged = bytearray(data)
            first = int(chance.integers(len(data) - 64))
            for at in chance.integers(first, first + 64, 1 + i % 3):
                damaged[at] ^= 1 << int(chance.integers(8))
            flipped.write_bytes(damaged)
            yield from _Damage("flipped bits", flipped, whole).results()
            flipped.unlink()
