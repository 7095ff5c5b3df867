"""Films (mp4, mkv, webm, avi, mov, mpg, ...) -> frames, upright, at their exact times; what is missing is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import av.logging
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames
from dlp_dyn.data.readers.packets import shown_by
from dlp_dyn.data.readers.times import Schedule, schedule
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError

FILMS = {
    ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".m2ts", ".mts", ".ogv",
    ".3gp", ".mxf",
}  # fmt: skip
_CUT = 2.5  # a film that ends so many frames before the length in its header is cut short
_ROUNDING = 0.0011  # seconds: Matroska counts in thousandths


@dataclass(frozen=True)
class Film:
    """A film whose packets have been read, not decoded.

    times: at which each frame is shown, in seconds, rising. missing: frames that the container names and the file
    lacks. complaints: what the demuxer said.
    """

    path: Path
    times: Float[np.ndarray, " T"]
    missing: int
    complaints: tuple[str, ...]

    def schedule(self, fps: float | str | None = None) -> Schedule:
        """Which frames to take, see `times.schedule`."""
        steps = np.diff(self.times)
        return schedule(
            np.append(steps, np.median(steps) if len(steps) else 0), fps, str(self.path), rounding=_ROUNDING
        )

    def frames(self, choices: Choices) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """One frame after the other. InputError for damage; where that is allowed, what is lost is told."""
        counts, allowed = self.schedule(choices.fps).counts, choices.allow_damaged
        if not allowed and (self.missing or self.complaints):
            raise self._damaged(self.missing, *self.complaints)
        shown = 0
        for time, picture, complaint in _decode(self.path, careful=allowed):
            if complaint and not allowed:
                raise self._damaged(self.missing, complaint)
            if shown == len(counts) and not allowed:
                raise InputError(f"{self.path}: has more frames than packets; write it again with ffmpeg")
            if complaint or shown == len(counts):
                continue
            # Frames are shown in the order of their times, unless some are lost.
            number = shown if time is None else int(np.abs(self.times - time).argmin())
            yield from [picture] * int(counts[number if allowed else shown])
            shown += 1
        lost = len(counts) - shown + self.missing
        if lost and not allowed:
            raise self._damaged(lost)
        if lost:
            choices.tell(
                f"{self.path}: damaged: {lost} of {len(counts) + self.missing} frames are lost and left out"
            )

    def _damaged(self, lost: int, complaint: str = "", *_: str) -> InputError:
        reason = (
            f"{lost} of {len(self.times) + self.missing} frames are lost" if lost else f"decoder: {complaint}"
        )
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
    with _opened(path) as container:
        stream = _stream(container, path)
        is_shown = shown_by(stream.codec_context.name, stream.codec_context.extradata or b"")
        places, end = 0, 0.0
        with _listening() as heard:
            try:
                for packet in container.demux():
                    end = max(end, _end(packet, container.start_time or 0))
                    if packet.stream_index == stream.index and packet.size:
                        places = _place(packet, places, container)
                        if is_shown(packet) and not packet.is_discard:
                            stamps.append(packet.pts if packet.pts is not None else packet.dts)
            except FFmpegError as error:
                heard.append(str(error))
        if not stamps:
            raise InputError(f"{path}: a video without frames; check that it plays")
        return Film(path, _times(stamps, stream), _missing(container, stream, places, end), tuple(heard))


def _times(stamps: list[int | None], stream: VideoStream) -> Float[np.ndarray, " T"]:
    """In seconds from the first on; from the rate where packets do not say."""
    known = np.sort(np.array([stamp for stamp in stamps if stamp is not None], np.int64))
    if len(known) == len(stamps) and (np.diff(known) > 0).all():
        return known * float(stream.time_base or 0)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return np.arange(len(stamps)) / rate


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


def _decode(path: Path, *, careful: bool) -> Iterator[tuple[float | None, UInt8[np.ndarray, "H W 3"], str]]:
    """Time, upright picture, and what the decoder complained of since the last whole picture (key frame).

    careful: with one thread, where complaints and pictures come in step.
    """
    with _opened(path) as container:
        stream = _stream(container, path)
        stream.thread_type = "SLICE" if careful else "AUTO"
        stream.codec_context.flags |= Flags.unaligned  # a crop on the left is kept to the pixel
        packets, complaint = container.demux(stream), ""
        while True:
            with _listening() as heard:
                try:
                    frames = next(packets).decode()
                except (StopIteration, EOFError):
                    return
                except FFmpegError as error:
                    frames = []
                    heard.append(str(error))
            complaint = complaint or (heard[0] if heard else "")
            for frame in frames:
                if careful and frame.key_frame and not heard and not frame.is_corrupt:
                    complaint = ""
                yield (
                    frame.time,
                    _upright(frame, path),
                    complaint or ("a corrupt frame" if frame.is_corrupt else ""),
                )


def _upright(frame: VideoFrame, path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Turned and mirrored as the display matrix says: pixel (x, y) is shown at (a x + c y, b x + d y)."""
    picture = frame.to_ndarray(format="rgb24")
    matrix = next((bytes(data) for data in frame.side_data if data.type == SideData.DISPLAYMATRIX), None)
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if (a and b) or (c and d) or not (a or b):
        raise InputError(
            f"{path}: is to be shown at an angle of {-frame.rotation} degrees; turn it with ffmpeg first"
        )
    if not a:
        picture, a, d = picture.swapaxes(0, 1), c, b
    return picture[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What FFmpeg's libraries report as errors meanwhile."""
    heard: list[str] = []
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as messages:
            yield heard
    finally:
        av.logging.set_level(None)
    heard.extend(" ".join(text.split()) for level, _, text in messages if level <= av.logging.ERROR)


def _stream(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise InputError(f"{path}: not a video (it has no pictures); leave it out")
    return stream


def _opened(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a video, or damaged; check that it plays") from error
