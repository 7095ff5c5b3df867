"""Which packets of a film show a frame, where not all do: VP8 and MPEG-4 part 2, whose first bits tell."""

from collections.abc import Callable

from av.packet import Packet

_VOP = b"\x00\x00\x01\xb6"


def shown_by(codec: str, header: bytes) -> Callable[[Packet], bool]:
    """For the packets of a stream in their order. header: what the container keeps of the codec."""
    if codec in ("vp8", "libvpx"):
        return _shown_by_vp8
    if codec == "mpeg4":
        return _Mpeg4(header)
    return lambda _: True


def _shown_by_vp8(packet: Packet) -> bool:
    """Frames for reference only stand in packets of their own (RFC 6386, 9.1)."""
    return bool(bytes(packet)[0] >> 4 & 1)


class _Mpeg4:
    """DivX packs a B-frame into the packet of the frame after it; an empty frame stands in its place.

    Other empty frames show nothing new.
    """

    def __init__(self, header: bytes) -> None:
        self._bits, self._packed = _time_bits(header), 0

    def __call__(self, packet: Packet) -> bool:
        data = bytes(packet)
        self._bits = _time_bits(data) or self._bits
        frames = data.split(_VOP)[1:]
        if not frames or not self._bits:
            return True
        coded = sum(map(self._is_coded, frames))
        has_one = coded + self._packed > 0
        self._packed += coded - has_one
        return has_one

    def _is_coded(self, frame: bytes) -> bool:
        """ISO/IEC 14496-2, 6.2.5: coding type, seconds in unary, a marker, the time, a marker, and whether coded."""
        bits = _Bits(frame[:64])
        bits.skip(2)
        while bits.take(1):
            pass
        bits.skip(1 + self._bits + 1)
        return bool(bits.take(1))


def _time_bits(data: bytes) -> int:
    """How long the time of a frame is, from the header of the layer (ISO/IEC 14496-2, 6.2.3); 0: there is none."""
    start = next((i for i in _positions(data, b"\x00\x00\x01") if data[i + 3 : i + 4] in _LAYERS), None)
    if start is None:
        return 0
    bits = _Bits(data[start + 4 : start + 64])
    bits.skip(1 + 8)
    if bits.take(1):
        bits.skip(4 + 3)
    if bits.take(4) == 15:  # the aspect ratio is spelled out
        bits.skip(16)
    if bits.take(1):
        bits.skip(2 + 1)
        if bits.take(1):
            bits.skip(79)
    bits.skip(2 + 1)
    return max((bits.take(16) - 1).bit_length(), 1)


_LAYERS = {bytes([code]) for code in range(0x20, 0x30)}


def _positions(data: bytes, code: bytes) -> list[int]:
    found, at = [], data.find(code)
    while at >= 0:
        found.append(at)
        at = data.find(code, at + 1)
    return found


class _Bits:
    """The bits of some bytes, from the highest on; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data), 8 * len(data)

    def take(self, n: int) -> int:
        self._left -= n
        return (self._value >> self._left if self._left >= 0 else 0) & (1 << n) - 1

    def skip(self, n: int) -> None:
        self._left -= n
