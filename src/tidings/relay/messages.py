"""What one WebSocket message of another service holds: one envelope, or several.

Servers that write what has queued up join it: Go's usual write loop puts a newline between JSON objects of one text
message. Others send an array, or JSON over many lines.
"""

import msgspec
from msgspec import Raw

from tidings.protocol.envelope import single_line

_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def bodies_in(message: bytes) -> list[bytes]:
    """Return what `message` holds, each supposed to be an envelope; what is no JSON is returned as it is."""
    message = message.strip()
    if b"\n" in message and not _is_json(message):
        return [line for line in (line.strip() for line in message.split(b"\n")) if line]
    if message.startswith(b"["):
        try:
            return [b"" + single_line(bytes(each)) for each in _decode_list(message)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [message]
    return [single_line(message)] if message else []


def _is_json(message: bytes) -> bool:
    """Return whether `message` is one JSON value; of several, only the first is looked at."""
    try:
        _decode_raw(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
