"""Compression of messages: permessage-deflate (RFC 7692) without context takeover in either direction.

A message is compressed by itself. So the hub compresses an event once for all its readers, an idle connection keeps no
window of 32 KiB and more, and the size of one message shows nothing of another. The price is that a short
message shrinks little, so these stay as they are.
"""

import zlib
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.typing import ExtensionName

from tidings.server.websocket.frames import compressed_text_frame, payload_start

DEFAULT_COMPRESSION_BYTES: Final = 512
"""Size from which a message is compressed. Shorter ones, such as progress, shrink by a third at best, which is less
than the headers of their packet."""

_LEVEL: Final = 1
"""Above 2 KiB, level 6 takes five times the time of level 1, for a result that is a fifth smaller; below, they differ
little."""
_MIN_WINDOW_BITS: Final = 9
"""zlib makes no smaller windows (https://github.com/madler/zlib/issues/171)."""
_MAX_WINDOW_BITS: Final = 15
_TAIL: Final = b"\x00\x00\xff\xff"
"""End of what a flush writes, which is not sent (RFC 7692 §7.2.1)."""
_END: Final = _TAIL + b"\x01\x00\x00\xff\xff"
"""The tail, and an empty final block: it is read as such only if the message before it is complete."""
_AFTER_FINAL_BLOCK: Final = (b"", _END, b"\x00" + _END)
"""Ends of the data after the final block: ours, or that with which a client may end its message (RFC 7692 §7.2.3.4)."""

EXTENSIONS: Final = (ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),)
"""Extensions that the handshake negotiates. The first offer with valid parameters is accepted; others are declined."""


class InflateError(Exception):
    """A message that cannot be decompressed, or is too long.

    Args:
        code: Close code of the connection.
        reason: Reason of the close.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Deflate:
    """How messages to one client are compressed."""

    min_bytes: int
    """Size from which messages are compressed."""
    small_window: bool
    """Whether the client has less than 32 KiB for its window. It then gets frames for the smallest window, 512 bytes:
    one kind of frame more, rather than one for each size."""

    def compress(self, frame: bytes) -> bytes:
        """Return the compressed frame for a whole text frame; the same frame where that is short or does not shrink."""
        start = payload_start(frame)
        size = len(frame) - start
        if size < self.min_bytes:
            return frame
        # A larger window than the message finds nothing more, and costs up to 100 µs for its memory.
        most = _MIN_WINDOW_BITS if self.small_window else _MAX_WINDOW_BITS
        bits = min(max(size.bit_length(), _MIN_WINDOW_BITS), most)
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -bits, bits - 7)
        payload = deflater.compress(memoryview(frame)[start:]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        return compressed_text_frame(payload[: -len(_TAIL)]) if len(payload) - len(_TAIL) < size else frame


def negotiated_deflate(extensions: list[Extension], min_bytes: int) -> Deflate | None:
    """Return how to compress for the client of a handshake, or None if it did not ask for it.

    Args:
        extensions: The accepted extensions.
        min_bytes: Size from which messages are compressed.
    """
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return Deflate(min_bytes, extension.local_max_window_bits < _MAX_WINDOW_BITS)
    return None


def inflate(payload: bytes, max_bytes: int) -> bytes:
    """Return a message that was compressed by itself; never more than `max_bytes` are in memory.

    Raises:
        InflateError: The message is longer, or the data is corrupt or incomplete.
    """
    inflater = zlib.decompressobj(-_MAX_WINDOW_BITS)
    try:
        body = inflater.decompress(payload + _END, max_bytes + 1)
    except zlib.error as cause:
        raise InflateError(CloseCode.INVALID_DATA, "invalid compressed data") from cause
    if len(body) > max_bytes:
        raise InflateError(CloseCode.MESSAGE_TOO_BIG, f"over size limit ({max_bytes} bytes, decompressed)")
    if not inflater.eof or inflater.unused_data not in _AFTER_FINAL_BLOCK:
        raise InflateError(CloseCode.INVALID_DATA, "incomplete compressed data")
    return body


class CompressionMarks(Extension):
    """Lets websockets' protocol accept compressed messages, without decompressing them."""

    name = ExtensionName("permessage-deflate")

    def __init__(self) -> None:
        self.marks: deque[bool] = deque()
        """Whether a message is compressed, for each first frame of a message."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """See `Extension.decode`: on other frames the bit stays, and the protocol refuses them."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY):
            return frame
        self.marks.append(frame.rsv1)
        return replace(frame, rsv1=False)

    def encode(self, frame: Frame) -> Frame:
        """See `Extension.encode`: the protocol writes control frames only."""
        return frame
