"""Films (mp4, mkv, webm, avi, mov, mpg, ...) -> frames, upright, at their exact times; what is missing is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from jaxtyping import Int, UInt8

from dlp_dyn.data.readers.times import Schedule, schedule
from dlp_dyn.errors import InputError

FILMS = {
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp",
}  # fmt: skip
_CUT = 2.5  # a film that ends so many frames before its own length is cut short


@dataclass(frozen=True)
class Film:
    """A film whose packets have been looked through, not decoded.

    stamps: when each frame is shown, in ticks of `tick` seconds, rising. missing: frames that the container names and
    the file lacks.
    """

    path: Path
    stamps: Int[np.ndarray, " T"]
    tick: float
    missing: int

    def schedule(self, fps: float | None = None) -> Schedule:
        """Which frames to take, see `times.schedule`."""
        steps = np.diff(self.stamps).astype(np.float64) * self.tick
        last = np.median(steps) if len(steps) else 0
        return schedule(np.append(steps, last), fps, str(self.path))

    def frames(
        self, fps: float | None = None, *, allow_damaged: bool = False
    ) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """One frame after the other. InputError for damage, unless that is allowed: then what is lost is left out."""
        if self.missing and not allow_damaged:
            raise self._damaged(self.missing)
        counts = self.schedule(fps).counts
        shown = 0
        for stamp, picture, sound in _decode(self.path):
            number = int(np.searchsorted(self.stamps, stamp))
            if not allow_damaged and (not sound or number != shown):
                raise self._damaged(max(number - shown, 1))
            shown += 1
            for _ in range(counts[number] if number < len(counts) else 0):
                yield picture
        if shown < len(counts) and not allow_damaged:
            raise self._damaged(len(counts) - shown)

    def _damaged(self, lost: int) -> InputError:
        return InputError(
            f"{self.path}: damaged or cut short: at least {lost} of {len(self.stamps) + self.missing} frames are lost; "
            "copy it again, or allow damaged films"
        )


def open_film(path: Path) -> Film:
    """Looks through the packets of a film. InputError for what is none."""
    stamps: list[int] = []
    with _opened(path) as container:
        stream = _stream(container, path)
        tick = float(stream.time_base or 0)
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    stamp = packet.pts if packet.pts is not None else packet.dts
                    stamps.append(len(stamps) if stamp is None else stamp)
        except av.error.FFmpegError:
            pass  # the end of what can be read: told by the comparison with what should be there
        rising = np.unique(np.array(stamps, np.int64))
        if not len(rising):
            raise InputError(f"{path}: a video without frames; check that it plays")
        return Film(path, rising, tick, _missing(container, stream, rising, len(stamps), tick))


def _missing(
    container: InputContainer, stream: VideoStream, stamps: np.ndarray, n_packets: int, tick: float
) -> int:
    """How many frames the container names beyond those that are there, as near as it says."""
    step = float(np.median(np.diff(stamps))) * tick if len(stamps) > 1 else 0
    length = _seconds(stream.metadata.get("DURATION", ""))
    if length is None and len(container.streams) == 1 and container.duration:
        length = container.duration / av.time_base
    end = (stamps[-1] - stamps[0]) * tick + step
    short = (length - end) / step if length and step and stream.start_time in (None, 0) else 0
    return max(stream.frames - n_packets, int(short) if short > _CUT else 0, 0)


def _seconds(text: str) -> float | None:
    """Of Matroska's H:M:S; None for anything else."""
    try:
        hours, minutes, seconds = map(float, text.strip("\\0 ").split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds


def _decode(path: Path) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"], bool]]:
    """Time stamp, upright picture, and whether the decoder had nothing to complain about."""
    with _opened(path) as container:
        stream = _stream(container, path)
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        number, sound = 0, True
        while True:
            with av.logging.Capture(local=False) as complaints:
                try:
                    packet = next(packets)
                    frames = packet.decode()
                except StopIteration:
                    return
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    frames, sound = [], False
            sound = sound and not any(level <= av.logging.ERROR for level, _, _ in complaints)
            for frame in frames:
                picture = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                stamp = frame.pts if frame.pts is not None else number
                number += 1
                yield stamp, picture, sound and not frame.is_corrupt


def _stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise InputError(f"{path}: not a video (it has no pictures); leave it out")
    return container.streams.video[0]


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: not a video, or damaged; check that it plays") from error
