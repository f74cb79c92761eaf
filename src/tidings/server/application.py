"""What uses the WebSocket edge: the two sides that `websocket` calls."""

from typing import TYPE_CHECKING, Protocol

from tidings.server.handshake import Handshake, Refusal

if TYPE_CHECKING:
    from tidings.server.websocket import WebSocket


class Handler(Protocol):
    """What one connection's messages go to. Calls come from the event loop, one at a time, and must not block.

    An optional method `shutdown()` is called when the server drains; without it the connection is closed with 1001.
    An optional method `invalid_text_received(body)` may say what is wrong with a text message that is not UTF-8, before
    the connection is closed with 1007.
    An exception that escapes from a call is logged and closes the connection with 1011.
    """

    def opened(self) -> None:
        """Learn that the 101 response was written: from here on frames may be."""

    def text_received(self, body: bytes) -> None:
        """Take one whole message, valid UTF-8."""

    def binary_received(self, body: bytes) -> None:
        """Take one whole binary message."""

    def pause_writing(self) -> None:
        """Learn that more than the high-water mark is unsent. May come from within `write`."""

    def resume_writing(self) -> None:
        """Learn that the unsent bytes fell to the low-water mark."""

    def closed(self, code: int, reason: str) -> None:
        """Take the last call, made exactly once after `opened`.

        The code is the peer's own where it sent a Close, ours where we failed the connection for what the peer sent
        (1002, 1007, 1009), and 1006 where the TCP connection went without either.
        """


class Application(Protocol):
    """What decides about a handshake and makes the handler of a connection."""

    def open(self, handshake: Handshake, socket: "WebSocket") -> Handler | Refusal:
        """Accept with a handler, which may keep `socket` and writes only once `opened`; or refuse with HTTP."""
