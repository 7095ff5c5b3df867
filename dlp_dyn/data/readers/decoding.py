"""Films decoded frame by frame, upright, and what FFmpeg's libraries said of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.logging
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class Decoded:
    """time: in seconds, where the film says. complaint: what was said of it; empty where nothing is wrong."""

    time: float | None
    picture: UInt8[np.ndarray, "H W 3"]
    complaint: str


def decode(path: Path, *, careful: bool) -> Iterator[Decoded]:
    """The frames of a film in the order in which they are shown.

    careful: with one thread, where complaints and packets come in step: they are noted for the frames that they
    spoil, those up to the next whole picture (key frame). Otherwise for all that come later.
    """
    damage = _Damage() if careful else _First()
    with opened(path) as container, listening() as said:
        stream = video_of(container, path)
        if careful:
            stream.codec_context.thread_count = 1
        else:
            stream.thread_type = "FRAME"  # threads for parts of a frame keep H.264 from seeing damage
        stream.codec_context.flags |= Flags.unaligned  # a crop on the left is kept to the pixel
        packets, upright = container.demux(stream), _Upright(path)
        try:
            while (packet := next(packets, None)) is not None:
                try:
                    frames = packet.decode()
                except EOFError:
                    return
                except FFmpegError as error:
                    frames = []
                    damage.note(packet, str(error))
                damage.note(packet, said.errors() or ("a packet cut short" if packet.is_corrupt else ""))
                for frame in frames:
                    yield Decoded(frame.time, upright(frame), damage.of(frame))
        finally:
            # Threads that still decode may say something, for which they wait for the interpreter; who gives the
            # decoder up holds that, and waits for them. Here they end their work first.
            stream.codec_context.flush_buffers()


class _First:
    """The first complaint spoils all that follows."""

    def __init__(self) -> None:
        self._complaint = ""

    def note(self, _: Packet, complaint: str) -> None:
        self._complaint = self._complaint or complaint

    def of(self, frame: VideoFrame) -> str:
        return self._complaint or ("a corrupt frame" if frame.is_corrupt else "")


class _Damage:
    """Frames leave the decoder later than their packets enter it; a complaint belongs to the packet."""

    def __init__(self) -> None:
        self._now = self._before = (
            ""  # the first complaint since the last key frame; and between the two before
        )
        self._key: Packet | None = None
        self._of: dict[int | None, str] = {}
        self._shown = ""  # a frame since the last key frame has turned out to be corrupt

    def note(self, packet: Packet, complaint: str) -> None:
        if packet.is_keyframe and packet.size and packet is not self._key:
            self._before, self._now, self._key = self._now, "", packet
        self._now = self._now or complaint
        # A frame that is shown before the key frame and comes after it is made of the frames before that, too.
        key = self._key.pts if self._key is not None else None
        leads = packet.pts is not None and key is not None and packet.pts < key
        self._of[packet.pts] = self._now or (self._before if leads else "")

    def of(self, frame: VideoFrame) -> str:
        self._shown = "a corrupt frame" if frame.is_corrupt else "" if frame.key_frame else self._shown
        return self._of.pop(frame.pts, self._now) or self._shown


class _Upright:
    """Pictures turned and mirrored as the display matrix says: pixel (x, y) is shown at (a x + c y, b x + d y)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rotation: int | None = None
        self._matrix = (1, 0, 0, 1)

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
        if frame.rotation != self._rotation:
            # Not for every frame: side data and frame hold each other, and stay in memory for long.
            self._rotation, self._matrix = frame.rotation, _display_matrix(frame)
        a, b, c, d = self._matrix
        if (a and b) or (c and d) or not (a or b):
            raise InputError(
                f"{self._path}: is to be shown at an angle of {-frame.rotation} degrees; turn it with ffmpeg first"
            )
        picture = frame.to_ndarray(format="rgb24")
        if not a:
            picture, a, d = picture.swapaxes(0, 1), c, b
        return picture[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    data: Iterator[SideData] = iter(frame.side_data)  # pyright: ignore[reportAssignmentType]
    matrix = next((bytes(item) for item in data if item.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    return a, b, c, d


class Said:
    """What FFmpeg's libraries say, on any of their threads."""

    def __init__(self, messages: list[tuple[int, str, str]]) -> None:
        self._messages, self._read = messages, 0

    def errors(self) -> str:
        """The first error since the last call; empty where there is none."""
        new = self._messages[self._read :]
        self._read += len(new)
        return next((" ".join(text.split()) for level, _, text in new if _is_error(level, text)), "")


def _is_error(level: int, text: str) -> bool:
    return level <= av.logging.ERROR or text.startswith("concealing")  # H.264: parts of a frame made up


@contextmanager
def listening() -> Iterator[Said]:
    with av.logging.Capture(local=False) as messages:
        av.logging.set_level(av.logging.INFO)
        skipping = av.logging.get_skip_repeated()
        av.logging.set_skip_repeated(False)  # two frames may be damaged alike
        try:
            yield Said(messages)
        finally:
            av.logging.set_skip_repeated(skipping)
            av.logging.set_level(None)


def opened(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a video, or damaged; check that it plays") from error


def video_of(container: InputContainer, path: Path) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise InputError(f"{path}: not a video (it has no pictures); leave it out")
    return stream
