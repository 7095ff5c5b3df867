"""Films (mp4, mkv, webm, avi, mov, mpg, ...) -> frames at their exact times; what is missing is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames
from dlp_dyn.data.readers.decoding import decode, listening, opened, video_of
from dlp_dyn.data.readers.ends import missing_bytes
from dlp_dyn.data.readers.packets import shown_by
from dlp_dyn.data.readers.times import Schedule, schedule
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError

FILMS = {
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".mts", ".ogv",
    ".3gp", ".3g2", ".mxf", ".asf", ".f4v", ".qt", ".divx", ".vob", ".y4m",
}  # fmt: skip
_CUT = 2.5  # a film that ends so many frames before the length in its header is cut short
_ROUNDING = 0.0011  # seconds: Matroska counts in thousandths
_FASTEST = 61  # frames a second: an AVI that counts faster does not count frames


@dataclass(frozen=True)
class Film:
    """A film whose packets have been read, not decoded.

    times: at which each frame is shown, in seconds, rising. step: what lies between them is a multiple of, where the
    container counts in frames. missing: frames that the container names and the file lacks. damage: what is wrong
    with the file, one line each.
    """

    path: Path
    times: Float[np.ndarray, " T"]
    step: float | None
    missing: int
    damage: tuple[str, ...]

    def schedule(self, fps: float | str | None = None) -> Schedule:
        """Which frames to take, see `times.schedule`."""
        steps = np.diff(self.times)
        last = self.step or (np.median(steps) if len(steps) else 0)
        return schedule(np.append(steps, last), fps, str(self.path), rounding=_ROUNDING, step=self.step)

    def frames(self, choices: Choices) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """One frame after the other. InputError for damage; where that is allowed, what is lost is told."""
        planned = self.schedule(choices.fps)
        planned.tell_held(choices.tell, self.path)
        if choices.allow_damaged:
            yield from self._left(planned, choices.tell)
        else:
            yield from self._whole(planned)

    def _whole(self, planned: Schedule) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        if self.missing or self.damage:
            raise self._damaged(*self.damage)
        counts, shown = planned.counts.tolist(), 0
        for frame in decode(self.path, careful=False):
            if frame.complaint:
                raise self._damaged(f"decoder: {frame.complaint}")
            if shown == len(counts):
                raise InputError(f"{self.path}: has more frames than packets; write it again with ffmpeg")
            yield from [frame.picture] * counts[shown]  # frames are shown in the order of their times
            shown += 1
        if shown < len(counts):
            raise self._damaged(f"{len(counts) - shown} of {len(counts)} frames are lost")

    def _left(self, planned: Schedule, tell: Callable[[str], None]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Frames that nothing is said against, where their times say that they belong."""
        counts, found, last = planned.counts.tolist(), 0, -1
        for frame in decode(self.path, careful=True):
            number = last + 1 if frame.time is None else int(np.abs(self.times - frame.time).argmin())
            if not frame.complaint and last < number < len(counts):
                found, last = found + 1, number
                yield from [frame.picture] * counts[number]
        if not found:
            raise InputError(f"{self.path}: damaged, no whole frame is left; remove it")
        lost = len(counts) - found + self.missing
        if lost or self.damage:
            known = f"{lost} of {len(counts) + self.missing} frames are lost and left out"
            tell(f"{self.path}: damaged: " + (known if lost else self.damage[0]))

    def _damaged(self, *reasons: str) -> InputError:
        lost = f"{self.missing} of {len(self.times) + self.missing} frames are lost"
        reason = lost if self.missing else reasons[0]
        return InputError(
            f"{self.path}: damaged or cut short ({reason}); copy it again, or allow damaged films"
        )


def film_episode(path: Path, part: Part | None, choices: Choices) -> EpisodeStream:
    opened: Callable[[], Film] = cache(lambda: open_film(path))

    def frames() -> Frames:
        return ((f"{path}, frame {i}", picture) for i, picture in enumerate(opened().frames(choices)))

    return EpisodeStream(frames, part, fps=lambda: opened().schedule(choices.fps).fps)


def open_film(path: Path) -> Film:
    """Reads the packets of a film. InputError for what is none."""
    stamps: list[int | None] = []
    with opened(path) as container:
        stream = video_of(container, path)
        is_shown = shown_by(stream.codec_context.name, stream.codec_context.extradata or b"")
        places, end = 0, 0.0
        damage = [f"{lacking:,} bytes are missing at its end"] if (lacking := missing_bytes(path)) else []
        with listening() as said:
            try:
                for packet in container.demux():
                    end = max(end, _end(packet, container.start_time or 0))
                    if packet.stream_index == stream.index and packet.size:
                        places = _place(packet, places, container)
                        if is_shown(packet) and not packet.is_discard:
                            stamps.append(packet.pts if packet.pts is not None else packet.dts)
            except FFmpegError as error:
                damage.append(str(error))
            if error := said.errors():
                damage.append(error)
        if not stamps:
            raise InputError(f"{path}: a video without frames; check that it plays")
        missing = _missing(container, stream, places, end)
        return Film(path, _times(stamps, stream), _step(container, stream), missing, tuple(damage))


def _times(stamps: list[int | None], stream: VideoStream) -> Float[np.ndarray, " T"]:
    """In seconds from the first on; from the rate where packets do not say."""
    known = np.sort(np.array([stamp for stamp in stamps if stamp is not None], np.int64))
    if len(known) == len(stamps) and (np.diff(known) > 0).all():
        return known * float(stream.time_base or 0)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return np.arange(len(stamps)) / rate


def _step(container: InputContainer, stream: VideoStream) -> float | None:
    """Of AVI, whose empty places hold the frame before them."""
    rate = float(stream.average_rate or 0)
    return 1 / rate if container.format.name == "avi" and 0 < rate < _FASTEST else None


def _place(packet: Packet, places: int, container: InputContainer) -> int:
    """How many frames there are up to a packet, as the container counts them: AVI counts those it leaves out."""
    if container.format.name == "avi" and packet.dts is not None:
        return packet.dts + 1
    return places + 1


def _missing(container: InputContainer, stream: VideoStream, places: int, end: float) -> int:
    """How many frames the container names beyond those that are there, as near as it says."""
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    short = ((container.duration or 0) / av.time_base - end) * rate
    return max(stream.frames - places, int(short) if short > max(_CUT, 0.05 * rate) else 0, 0)


def _end(packet: Packet, start: int) -> float:
    """Of a packet, in seconds from zero, or from a start before that."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base) - min(start / av.time_base, 0.0)
