"""A WebSocket that is opened only to send why it is closed: a browser sees nothing of a handshake that is refused."""

import secrets
import time
from typing import Final

from tidings.exceptions import LogOpening
from tidings.protocol.codes import CLOSE_CODES, row_of
from tidings.protocol.messages import encode_hub_message
from tidings.protocol.payloads import ConnectionClosed
from tidings.protocol.timestamps import from_nanoseconds
from tidings.server.websocket.protocol import WebSocket
from tidings.server.wire_formats import PLAIN

_DEFAULT_CLOSE: Final = 1013


def closing_message(error: LogOpening) -> tuple[int, bytes]:
    """Return the close code for an error, and the `connection:closed` that reports it: one envelope."""
    code = row_of(error).close or _DEFAULT_CLOSE
    closed = ConnectionClosed(
        code=code,
        reason=error.message,
        reconnect=CLOSE_CODES[code].reconnect,
        retry_after_ms=error.retry_after_ms,
    )
    now = from_nanoseconds(time.time_ns())
    return code, encode_hub_message(closed, timestamp=now, trace_id=secrets.token_hex(16))


class RefusingHandler:
    """The `WebSocketHandler` of a client that comes while the hub is opening its log.

    Args:
        error: The reason, with the time after which the client may come back.
        socket: The connection.
    """

    def __init__(self, error: LogOpening, socket: WebSocket) -> None:
        self._error = error
        self._socket = socket

    def opened(self) -> None:
        """See `WebSocketHandler.opened`: send the reason, and close."""
        code, body = closing_message(self._error)
        self._socket.write(PLAIN.message(body))
        self._socket.close(code, self._error.message)

    def text_received(self, body: bytes) -> None:
        """See `WebSocketHandler.text_received`: what a client sends before it reads the reason is not read."""

    def binary_received(self, body: bytes) -> None:
        """See `WebSocketHandler.binary_received`."""

    def pause_writing(self) -> None:
        """See `WebSocketHandler.pause_writing`."""

    def resume_writing(self) -> None:
        """See `WebSocketHandler.resume_writing`."""

    def closed(self, code: int, reason: str) -> None:
        """See `WebSocketHandler.closed`."""
