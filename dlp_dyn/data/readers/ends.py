"""How many bytes a file lacks at its end, by the lengths that containers note of themselves."""

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MP4_BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"moof",
    b"free",
    b"skip",
    b"wide",
    b"mfra",
    b"sidx",
    b"styp",
    b"uuid",
    b"meta",
}


def missing_bytes(file: Path) -> int:
    """0 where none are missing, or where the container does not say (streams, programs of a broadcast)."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(12)
        stream.seek(0)
        if head[:4] == b"RIFF":
            end = _riff(stream, size)
        elif head[:4] == _EBML:
            end = _matroska(stream)
        elif head[4:8] in _MP4_BOXES:
            end = _mp4(stream, size)
        else:
            end = 0
    return max(end - size, 0)


def _riff(stream: BinaryIO, size: int) -> int:
    """AVI, WebP: a file of several gigabytes is a row of them. Who writes into a pipe leaves the length out."""
    end = 0
    while end < size:
        stream.seek(end)
        head = stream.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
    return end


def _matroska(stream: BinaryIO) -> int:
    """Of the segment, which all but the header is in; live streams do not say."""
    header = stream.read(4)
    stream.seek(_length(stream) or 0, 1)
    if header != _EBML or stream.read(4) != _SEGMENT:
        return 0
    length = _length(stream)
    return 0 if length is None else stream.tell() + length


def _length(stream: BinaryIO) -> int | None:
    """The zeros before the first one of its bits say how many bytes it has (RFC 8794, 4); all ones: unknown."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(more)) & (1 << 7 * (more + 1)) - 1
    return None if value == (1 << 7 * (more + 1)) - 1 else value


def _mp4(stream: BinaryIO, size: int) -> int:
    """ISO/IEC 14496-12, 4.2: boxes one after the other, the last of which may go on to the end."""
    end = 0
    while end + 8 <= size:
        stream.seek(end)
        head = stream.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8:
            break
        end += length
    return end
