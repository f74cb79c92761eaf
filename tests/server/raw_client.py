"""A WebSocket client on a blocking socket, so that a test controls every byte and segment."""

import socket
import ssl
import struct
import time
from typing import Self

from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side

TIMEOUT_S = 60.0


def masked(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Build a client frame."""
    return Frame(opcode, payload, fin=fin).serialize(mask=True)


def text(payload: bytes, *, fin: bool = True) -> bytes:
    return masked(Opcode.TEXT, payload, fin=fin)


def close(code: int, reason: str = "") -> bytes:
    return masked(Opcode.CLOSE, Close(code, reason).serialize())


def handshake_request(path: str = "/", *, headers: tuple[str, ...] = (), version: str = "HTTP/1.1") -> bytes:
    lines = [
        f"GET {path} {version}",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class RawClient:
    """One TCP connection to 127.0.0.1, and the bytes received on it."""

    def __init__(self, port: int, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.socket()
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            plain.settimeout(TIMEOUT_S)
            plain.connect(("127.0.0.1", port))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise
        self._inbound = Protocol(Side.CLIENT, max_size=None)
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send the parts as one segment (as far as TCP has such a thing)."""
        self.socket.sendall(b"".join(parts))

    def open(self, path: str = "/", *, headers: tuple[str, ...] = (), with_it: bytes = b"") -> str:
        """Shake hands and return the response's head; `with_it` is sent in the same segment as the request."""
        self.send(handshake_request(path, headers=headers), with_it)
        return self.read_response()

    def read_response(self) -> str:
        """Read the head of an HTTP response; bytes after it count as frames."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(65536)
            if not data:
                break
            received += data
        head, _, rest = received.partition(b"\r\n\r\n")
        if rest:
            self._feed(rest)
        return head.decode()

    def frame(self) -> Frame:
        """Wait for the next frame.

        Raises:
            EOFError: The server closed the connection first.
        """
        while not self._frames:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._feed(data)
        return self._frames.pop(0)

    def closing(self) -> Close:
        """Read up to the server's Close and return it."""
        while True:
            frame = self.frame()
            if frame.opcode is Opcode.CLOSE:
                return Close.parse(bytes(frame.data))

    def wait_eof(self) -> None:
        """Wait until the server has closed its half, and drop the bytes that still arrive."""
        while self.socket.recv(65536):
            pass

    def reset(self) -> None:
        """End the TCP connection with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send_until_blocked(self, chunk: bytes, *, settle_s: float = 0.3) -> int:
        """Send whole chunks until the server has read nothing for `settle_s`; return the number of bytes sent."""
        self.socket.setblocking(False)
        sent = 0
        last = time.monotonic()
        while time.monotonic() - last < settle_s:
            try:
                # Continue in the middle of the chunk where the last send stopped.
                sent += self.socket.send(chunk[sent % len(chunk) :])
                last = time.monotonic()
            except BlockingIOError:
                time.sleep(0.005)
        self.socket.settimeout(TIMEOUT_S)
        return sent

    def _feed(self, data: bytes) -> None:
        self._inbound.receive_data(data)
        for event in self._inbound.events_received():
            assert not isinstance(event, Request | Response)
            self._frames.append(event)
