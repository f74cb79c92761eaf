"""A WebSocket client on a non-blocking socket, for tests in which many of them share one loop."""

import socket
from collections.abc import Callable
from typing import Self

from tests.server.raw_client import handshake_request

TIMEOUT_S = 60.0


class RawWatcher:
    """A connection that reads as many bytes as its test allows.

    Args:
        port: Port of the hub on 127.0.0.1.
        query: The URL's query, without the `?`.
        receive_buffer: Bytes of the socket's receive buffer; the kernel's default otherwise.
    """

    def __init__(self, port: int, query: str, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        try:
            if receive_buffer is not None:  # before connecting, which negotiates the window
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.settimeout(TIMEOUT_S)
            self.socket.connect(("127.0.0.1", port))
            self.socket.sendall(handshake_request(f"/ws?{query}"))
            self.socket.setblocking(False)
        except BaseException:
            self.socket.close()
            raise
        self._stripped = Stripped()
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def receive(self, size: int = 1 << 18) -> list[bytes]:
        """Read up to `size` available bytes and return the messages that are complete now.

        Messages to this client alone come first and are left out.
        """
        self._unread += self.receive_frames(size)
        messages, end = split_frames(self._unread)
        self._unread = self._unread[end:]
        return messages

    def receive_frames(self, size: int = 1 << 18) -> bytes:
        """Read like `receive`, and return the bytes unparsed; used instead of it."""
        return self._stripped.feed(receive(self.socket, size))


class Stripped:
    """The bytes of a plain connection without its greeting: the response's head and `connection:established`."""

    def __init__(self) -> None:
        self._head = b""
        self.feed: Callable[[bytes], bytes] = self._feed
        """Takes the bytes read, and returns those of event frames."""

    def _feed(self, data: bytes) -> bytes:
        self._head += data
        head, end, frames = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        assert head.startswith(b"HTTP/1.1 101 "), head
        messages, size = split_frames(frames, most=1)
        if not messages:
            return b""
        assert b'"connection:established"' in messages[0], messages[0]
        self.feed = bytes
        return frames[size:]


def receive(connection: socket.socket, size: int) -> bytes:
    """Return at most `size` bytes, b"" if none are available.

    Raises:
        EOFError: The hub has closed the connection.
    """
    try:
        data = connection.recv(size)
    except BlockingIOError:
        return b""
    if not data:
        raise EOFError
    return data


def split_frames(data: bytes, *, most: int = 1 << 30) -> tuple[list[bytes], int]:
    """Return the payloads of whole text frames at the front of `data`, and the number of bytes of these and of
    Pings."""
    messages: list[bytes] = []
    start, size = 0, len(data)
    while len(messages) < most and size - start >= 2:
        length, payload = data[start + 1], start + 2
        if length == 126:
            length, payload = int.from_bytes(data[payload : payload + 2], "big"), payload + 2
        elif length == 127:
            length, payload = int.from_bytes(data[payload : payload + 8], "big"), payload + 8
        if payload + length > size:
            break
        assert data[start] in (0x81, 0x89), f"neither text nor a Ping: {data[start]:#x}"
        if data[start] == 0x81:
            messages.append(data[payload : payload + length])
        start = payload + length
    return messages, start
