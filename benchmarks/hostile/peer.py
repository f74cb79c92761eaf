"""A WebSocket client that keeps no rule: it sends any bytes, reads only when asked to, and costs little to run."""

import contextlib
import json
import select
import socket
import zlib
from collections.abc import Callable
from typing import Any, Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CONTINUATION: Final = 0x0
CLOSE: Final = 0x8
PING: Final = 0x9
COMPRESSED: Final = 0x40
"""Added to the opcode of a compressed message (RFC 7692)."""

_SEGMENT_BYTES = 1 << 18


def frame(payload: bytes = b"", opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Build a client frame; its masking key is 0, so that the payload stays as it is (RFC 6455 §5.3)."""
    first = (0x80 if fin else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 0x10000:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def compressed(body: bytes) -> bytes:
    """Build the frame of a compressed message."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return frame((deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4], TEXT | COMPRESSED)


def message(type: str, data: object, **members: object) -> bytes:
    """Build the frame of a message."""
    return frame(json.dumps({"type": type, **members, "data": data}, separators=(",", ":")).encode())


def connect(host: str, port: int, *, receive_buffer: int | None = None) -> socket.socket:
    """Open a TCP connection. It has no timeout: with one, Python would wait in spite of MSG_DONTWAIT."""
    opened = socket.socket()
    if receive_buffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    opened.connect((host, port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def handshake(path: str, *, versioned: bool = True, token: str = "", compresses: bool = False) -> bytes:
    """Build the request of an opening handshake, with a token if there is one; it may offer compression."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if versioned:
        lines.append("Sec-WebSocket-Protocol: tidings.v1")
    if compresses:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


class Peer:
    """One open WebSocket connection.

    Args:
        host: The hub's host.
        port: Its port.
        query: Query of the URL; by default it reads nothing.
        versioned: Whether it speaks `tidings.v1`.
        receive_buffer: Size of the kernel's buffer for it, in bytes.
        token: Token of the handshake; "" for none.
        compresses: Whether it offers compression.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        query: str = "channels=none",
        versioned: bool = True,
        receive_buffer: int | None = None,
        token: str = "",
        compresses: bool = False,
    ) -> None:
        self.socket = connect(host, port, receive_buffer=receive_buffer)
        self._received = b""
        request = handshake(f"/ws?{query}", versioned=versioned, token=token, compresses=compresses)
        self.socket.sendall(request)
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.decode(errors="replace"))

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self.socket.fileno()

    def send(self, data: bytes) -> bool:
        """Send bytes and wait until the kernel has all of them; return False if the hub closed the connection."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def send_some(self, data: bytes | memoryview) -> int:
        """Send as many bytes as the kernel takes now; return their number, -1 if the hub closed the connection."""
        try:
            return self.socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def take(self) -> bytes | None:
        """Return bytes that the hub has sent, without waiting; None once the hub has closed the connection."""
        try:
            taken = self._received + self.socket.recv(_SEGMENT_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            return None
        self._received = b""
        return taken or None

    def discard(self) -> int:
        """Drop what the hub has sent; return the number of bytes, -1 once the hub has closed the connection."""
        dropped = 0
        while True:
            try:
                part = self.socket.recv(_SEGMENT_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return dropped
            except OSError:
                return -1
            if not part:
                return -1
            dropped += len(part)

    def read(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame.

        Raises:
            ConnectionError: The hub closed the connection.
        """
        while True:
            found = self._next_frame()
            if found is not None:
                return found
            self._receive()

    def available(self) -> list[tuple[int, bytes]]:
        """Return the frames that have arrived, without waiting."""
        while select.select([self.socket], [], [], 0)[0]:
            self._receive()
        frames = []
        while (found := self._next_frame()) is not None:
            frames.append(found)
        return frames

    def read_until(self, type: str) -> dict[str, Any]:
        """Return the next message of a type; others are skipped."""
        while True:
            opcode, payload = self.read()
            if opcode == TEXT:
                found: dict[str, Any] = json.loads(payload)
                if found["type"] == type:
                    return found

    def close(self) -> None:
        """End the TCP connection."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def _next_frame(self) -> tuple[int, bytes] | None:
        data = self._received
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start or len(data) < start + size:
            return None
        self._received = data[start + size :]
        return data[0] & 0x0F, data[start : start + size]

    def _receive(self) -> None:
        part = self.socket.recv(_SEGMENT_BYTES)
        if not part:
            raise ConnectionError("the hub closed the connection")
        self._received += part


def flood(peers: list[Peer], data: bytes, over: Callable[[], bool]) -> None:
    """Send `data` again and again on all connections, as fast as the hub reads, until `over()`.

    Answers are dropped. A connection that the hub closes is not opened again.
    """
    offsets = dict.fromkeys(peers, 0)
    while offsets and not over():
        readable, writable, _ = select.select(list(offsets), list(offsets), [], 0.1)
        for peer in readable:
            if peer.discard() < 0:
                del offsets[peer]
        for peer in writable:
            if peer in offsets:
                sent = peer.send_some(memoryview(data)[offsets[peer] :])
                if sent < 0:
                    del offsets[peer]
                else:
                    offsets[peer] = (offsets[peer] + sent) % len(data)
