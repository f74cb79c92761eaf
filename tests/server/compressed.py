"""Compressed messages as a client sends them (RFC 7692)."""

import zlib

from tests.server.raw_client import masked
from websockets.frames import Opcode

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def deflated(message: bytes, *, bits: int = 15, level: int = 6, final: bool = False) -> bytes:
    """Return the payload of a compressed message; with a `final` block as in RFC 7692 §7.2.3.4."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -bits)
    payload = deflater.compress(message)
    if final:
        return payload + deflater.flush() + b"\x00"
    return (payload + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def reserved(frame: bytes, bit: int = 0x40) -> bytes:
    """Return a frame with a reserved bit set."""
    return bytes((frame[0] | bit,)) + frame[1:]


def compressed(payload: bytes, *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    """Build the first frame of a compressed message."""
    return reserved(masked(opcode, payload, fin=fin))
