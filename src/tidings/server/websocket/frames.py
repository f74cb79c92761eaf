"""WebSocket frames as bytes (RFC 6455 §5.2): builds frames for sending, and reads plain ones.

A plain frame, as nearly every frame is, is final, masked, of a known opcode and shorter than 64 KiB. Everything else
(fragments, longer frames, Close, violations of the protocol) is left to websockets' Sans-I/O protocol, from the first
byte of that frame on. Measured for 350-byte text frames: 0.9 µs each here, 5 µs each there.
"""

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from websockets.frames import Opcode

# The C implementation is optional in websockets (PyPy, platforms without a wheel).
try:
    from websockets.speedups import apply_mask as _apply_mask
except ImportError:  # pragma: no cover - depends on the platform
    from websockets.utils import apply_mask as _apply_mask

CLOSE = int(Opcode.CLOSE)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
COMPRESSED = 0x4
"""Added to the kind of a compressed message (RFC 7692): TEXT and BINARY become opcodes that RFC 6455 reserves."""

unmask: Callable[[bytes, bytes], bytes] = _apply_mask

_FIN = 0x80
_RSV1 = 0x40
_MASKED = 0x80
_SIZE_16_BITS = 126
_SIZE_64_BITS = 127
_MASK_SIZE = 4
_MAX_CONTROL_BYTES = 125  # RFC 6455 §5.5

_header_16_bits = Struct("!BBH").pack
_header_64_bits = Struct("!BBQ").pack
_short_text_headers = tuple(bytes((_FIN | TEXT, size)) for size in range(_SIZE_16_BITS))
# First byte of a plain frame -> its opcode.
_plain_kinds = {_FIN | kind: kind for kind in (TEXT, BINARY, PING, PONG)}
_compressible_kinds = _plain_kinds | {_FIN | _RSV1 | kind: kind | COMPRESSED for kind in (TEXT, BINARY)}


def text_frame(payload: bytes) -> bytes:
    """Build a whole, unmasked text frame, as a server sends it."""
    size = len(payload)
    if size < _SIZE_16_BITS:
        return _short_text_headers[size] + payload
    if size < 0x10000:
        return _header_16_bits(_FIN | TEXT, _SIZE_16_BITS, size) + payload
    return _header_64_bits(_FIN | TEXT, _SIZE_64_BITS, size) + payload


def payload_start(frame: bytes) -> int:
    """Return where the payload of an unmasked frame begins."""
    size = frame[1]
    return 2 if size < _SIZE_16_BITS else 4 if size == _SIZE_16_BITS else 10


def compressed_text_frame(payload: bytes) -> bytes:
    """Build a whole, unmasked text frame with a compressed payload (RFC 7692 §6)."""
    frame = text_frame(payload)
    return bytes((frame[0] | _RSV1,)) + frame[1:]


def binary_frame(payload: bytes) -> bytes:
    """Build a whole, unmasked binary frame, as a server sends it."""
    # The opcode is the one bit in which the two kinds of data frame differ.
    frame = text_frame(payload)
    return bytes((_FIN | BINARY,)) + frame[1:]


def ping_frame(payload: bytes = b"") -> bytes:
    """Build an unmasked Ping.

    Raises:
        ValueError: If the payload is longer than the 125 bytes a control frame holds.
    """
    return _control_frame(PING, payload)


def pong_frame(payload: bytes) -> bytes:
    """Build an unmasked Pong, which repeats its Ping's payload (RFC 6455 §5.5.3).

    Raises:
        ValueError: If the payload is longer than the 125 bytes a control frame holds.
    """
    return _control_frame(PONG, payload)


def _control_frame(kind: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL_BYTES:
        raise ValueError(f"control frame of {len(payload)} bytes: at most {_MAX_CONTROL_BYTES} are allowed")
    return bytes((_FIN | kind, len(payload))) + payload


class PlainFrames(NamedTuple):
    """The plain frames at the start of some bytes."""

    frames: list[tuple[int, bytes]]
    """Opcode and unmasked payload of each, in order."""
    end: int
    """Where they end. The rest begins with another frame."""
    plain: bool
    """Whether the frame that begins at `end` may still be plain; true where no byte of it has arrived yet."""


def read_plain_frames(
    data: bytes, position: int = 0, max_frames: int = 1 << 30, *, compressible: bool = False
) -> PlainFrames:
    """Read whole plain frames of `data` from `position`, the first byte of a frame; at most `max_frames`.

    Where they are `compressible`, those with a compressed payload are plain, too: their kind contains `COMPRESSED`.
    """
    frames: list[tuple[int, bytes]] = []
    append = frames.append
    kind_of = (_compressible_kinds if compressible else _plain_kinds).get
    size = len(data)
    while position < size and len(frames) < max_frames:
        kind = kind_of(data[position])
        if kind is None:
            return PlainFrames(frames, position, False)
        if size - position < 2:
            break
        length = data[position + 1] - _MASKED
        payload = position + 2 + _MASK_SIZE
        if length >= _SIZE_16_BITS:
            if length == _SIZE_64_BITS or kind >= CLOSE:
                return PlainFrames(frames, position, False)
            if size - position < 4:
                break
            length = data[position + 2] << 8 | data[position + 3]
            payload += 2
        elif length < 0:  # not masked, as every client's frame must be (RFC 6455 §5.1)
            return PlainFrames(frames, position, False)
        end = payload + length
        if end > size:
            break
        append((kind, unmask(data[payload:end], data[payload - _MASK_SIZE : payload])))
        position = end
    return PlainFrames(frames, position, True)
