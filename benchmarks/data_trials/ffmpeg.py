"""ffmpeg's own command line: encoding what is tried, and decoding it for comparison."""

import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.data_trials.trial import Frames, numbered
from dlp_dyn.errors import InputError

N = 24  # frames of a film
YUV = ("-pix_fmt", "yuv420p")
X264 = ("-c:v", "libx264", "-crf", "6", *YUV)


def complaints(film: Path) -> str:
    """What ffmpeg says is wrong with a film."""
    words = [ffmpeg(), "-v", "error", "-i", str(film), "-map", "0:V:0", "-f", "null", "-"]
    return subprocess.run(words, capture_output=True, check=False).stderr.decode(errors="replace")


@cache
def ffmpeg() -> str:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise InputError("ffmpeg is needed beside our reader: pip install imageio-ffmpeg") from error
    return imageio_ffmpeg.get_ffmpeg_exe()


def run(*words: str | Path, data: bytes | None = None) -> bytes:
    done = subprocess.run(
        [ffmpeg(), "-v", "error", "-nostdin" if data is None else "-y", "-y", *map(str, words)],
        input=data,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ffmpeg {' '.join(map(str, words))}: {done.stderr.decode()[-300:]}")
    return done.stdout


def encode(out: Path, *options: str, size: tuple[int, int] = (64, 64), n: int = N, rate: int = 25) -> None:
    """`n` numbered frames of (width, height) pixels."""
    width, height = size
    data = b"".join(numbered(i, height, width).tobytes() for i in range(n))
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-")
    run(*raw, *options, out, data=data)


def decoded(film: Path, *options: str) -> Frames:
    """Every frame that ffmpeg shows, once, as RGB."""
    shown = run(
        "-i",
        film,
        "-map",
        "0:V:0",
        "-fps_mode",
        "passthrough",
        *options,
        "-f",
        "image2pipe",
        "-c:v",
        "ppm",
        "-pix_fmt",
        "rgb24",
        "-",
    )
    frames, at = [], 0
    while at < len(shown):
        _, size, _, _ = shown[at : at + 40].split(b"\n", 3)
        width, height = map(int, size.split())
        start = at + 2 + 1 + len(size) + 1 + 4
        at = start + 3 * width * height
        frames.append(np.frombuffer(shown[start:at], np.uint8).reshape(height, width, 3))
    return frames


def with_cover(out: Path) -> None:
    """A picture for the player's list stands beside the film, as a stream of its own."""
    source, cover = out.with_name("source.mp4"), out.with_name("cover.png")
    encode(source, *X264)
    encode(cover, "-frames:v", "1", size=(256, 256), n=1)
    run(
        "-i",
        source,
        "-i",
        cover,
        "-map",
        "1",
        "-map",
        "0",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        out,
    )
    source.unlink()
    cover.unlink()


def packed_b_frames(out: Path) -> None:
    """As DivX wrote them: a B-frame shares the packet of the frame after it, and an empty packet follows."""
    import av

    source = out.with_name("source.avi")
    encode(source, "-c:v", "mpeg4", "-q:v", "2", "-bf", "1", "-g", "100")
    with av.open(str(source)) as given, av.open(str(out), "w") as container:
        stream = given.streams.video[0]
        copy = container.add_stream_from_template(stream)
        packets = [bytes(packet) for packet in given.demux(stream) if packet.size]
        first = packets[0].index(b"\x00\x00\x01\xb6")
        packets[0] = packets[0][:first] + b"\x00\x00\x01\xb2DivX503b1393p" + packets[0][first:]
        empty = bytes([0, 0, 1, 0xB6, 0x50])  # a P-frame that is not coded
        packed, waiting = [], b""
        for data, following in zip(packets, [*packets[1:], b""], strict=True):
            if waiting:
                packed.append(empty)
                waiting = b""
            elif _is_b(following):
                packed.append(data + following)
                waiting = following
            else:
                packed.append(data)
        for i, data in enumerate(packed):
            packet = av.Packet(data)
            packet.stream, packet.dts, packet.pts = copy, i, i
            packet.time_base = Fraction(1, 25)
            packet.is_keyframe = i == 0
            container.mux(packet)
    source.unlink()


def _is_b(vop: bytes) -> bool:
    start = vop.find(b"\x00\x00\x01\xb6")
    return start >= 0 and vop[start + 4] >> 6 == 2
