"""The receiver of a WebSocket connection's messages, as the native edge calls it."""

from typing import Protocol


class WebSocketHandler(Protocol):
    """Receiver of one connection's messages. Calls come from the event loop, one at a time, and must not block.

    An optional method `shutdown()` is called when the server drains; without it the connection is closed with 1001.
    An optional method `overhead_received(count)` is called with the number of control frames and small fragments that
    were read: they cost the server time and carry nothing.
    An optional method `violated(code, reason)` is called after a violation of the WebSocket protocol, and must close
    the connection, immediately or after it has answered what came before; without it the connection ends immediately.
    An optional method `overloaded()` is called before the connection is closed with 1013, because its incomplete
    messages exceed the server's memory for all of them.
    An optional method `invalid_text_received(body)` may send an error about a text message that is not UTF-8, before
    the connection is closed with 1007.
    An exception that escapes from a call is logged and closes the connection with 1011.
    """

    def opened(self) -> None:
        """Called when the 101 response is written: from now on frames may be written."""

    def text_received(self, body: bytes) -> None:
        """Receive one whole text message, valid UTF-8."""

    def binary_received(self, body: bytes) -> None:
        """Receive one whole binary message."""

    def pause_writing(self) -> None:
        """Called when more bytes than the high-water mark are unsent. May be called during `write`."""

    def resume_writing(self) -> None:
        """Called when the unsent bytes have fallen to the low-water mark."""

    def closed(self, code: int, reason: str) -> None:
        """Called last, exactly once after `opened`.

        The code is the peer's own if it sent a Close, ours if we failed the connection because of the peer's bytes
        (1002, 1007, 1009), and 1006 if the TCP connection ended without either.
        """
