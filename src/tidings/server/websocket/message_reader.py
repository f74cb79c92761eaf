"""Reads whole messages from a client's byte stream (RFC 6455 §5 and §7): joins fragments, keeps limits. No I/O."""

from typing import Final

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State

from tidings.server.websocket.deflate import CompressionMarks
from tidings.server.websocket.frames import CLOSE, COMPRESSED, PING, PONG, read_plain_frames

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""Bytes in a message, whole or in fragments. Four times the limit of `data`, so that the refusal can name the event."""

MAX_REASON_BYTES: Final = 123
"""Bytes of UTF-8 in the reason of a Close (RFC 6455 §5.5)."""

MAX_SLICE_FRAMES: Final = 64
"""Frames of one call of `MessageReader.read`: half a millisecond of work for their receiver."""

_SLICE_BYTES: Final = 4 * 1024
"""Bytes that the slow protocol gets at a time; it holds up to 700 empty fragments, 3 ms of its work."""

_SMALL_BYTES: Final = 512
"""Payload below which a fragment counts as overhead: it costs more than it carries."""

_CLOSE_FRAME = bytes((0x80 | CLOSE,))


class MessageReader:
    """The inbound half of one connection, and the state of its closing.

    `read_plain_frames` reads plain frames. At the first other frame, websockets' Sans-I/O protocol takes over the
    connection and keeps it: it costs 1–2 KB and five times the time per frame, which a connection that only subscribes
    or publishes never pays.
    """

    __slots__ = (
        "_data",
        "_failure",
        "_fragments",
        "_marks",
        "_place",
        "_protocol",
        "answer",
        "compressible",
        "more",
        "overhead",
    )

    def __init__(self) -> None:
        self.compressible = False
        """Whether messages may be compressed, as their kind then states; set before the first `push`."""
        self._marks: CompressionMarks | None = None
        # Bytes that were not read yet, from `_place` on; at the end, perhaps the start of a frame.
        self._data = b""
        self._place = 0
        self._protocol: Protocol | None = None
        # Kind and start of the fragmented message. One buffer, not a list: the number of empty fragments is unlimited.
        self._fragments: tuple[int, bytearray] | None = None
        # The Close with which we failed the connection because of the peer's bytes.
        self._failure: Close | None = None
        self.more = False
        """Whether the bytes may hold another whole frame."""
        self.answer = b""
        """The frame to send for the Close that `read` returned; b"" for none."""
        self.overhead = 0
        """Small fragments that were read; the caller resets it."""

    @property
    def unread_bytes(self) -> int:
        """Number of bytes of `push` that `read` has not reached; the start of an incomplete frame is among them."""
        return len(self._data) - self._place

    @property
    def incomplete_bytes(self) -> int:
        """Number of bytes that are kept for messages that are not complete."""
        kept = len(self._data) - self._place
        if self._fragments is not None:
            kept += len(self._fragments[1])
        if self._protocol is not None:
            kept += len(self._protocol.reader.buffer)
        return kept

    def push(self, data: bytes) -> None:
        """Add a segment to the bytes that `read` reads."""
        self._data = self._data[self._place :] + data if len(self._data) > self._place else data
        self._place = 0
        self.more = True

    def read(self) -> list[tuple[int, bytes]]:
        """Return the next messages, in order, as (opcode, payload); `more` then states whether to call it again.

        Text is not yet validated, and nothing is decompressed. The caller answers Pings. A Close stands for the orderly
        end as well as for a violation: it is the last item, its payload is the frame to send (b"" for none), and
        `outcome` and `failed` then have the details.
        """
        if self._protocol is not None:
            return self._read_slice(self._protocol)
        messages, self._place, plain = read_plain_frames(
            self._data, self._place, MAX_SLICE_FRAMES, compressible=self.compressible
        )
        if not plain:
            return messages + self._read_slice(self._take_over())
        self.more = len(messages) == MAX_SLICE_FRAMES
        if self._place == len(self._data):
            self._data, self._place, self.more = b"", 0, False
        return messages

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Add a segment, and return all messages that it completes; see `read`."""
        self.push(data)
        messages: list[tuple[int, bytes]] = []
        while self.more:
            messages += self.read()
        return messages

    @property
    def ended(self) -> bool:
        """Whether `feed` has returned a Close, or `fail` was called: no further message follows."""
        return self._protocol is not None and self._protocol.eof_sent

    @property
    def failed(self) -> bool:
        """Whether a violation ended the connection, so that the peer may still be sending."""
        return self._failure is not None

    @property
    def outcome(self) -> tuple[int, str]:
        """Close code and reason: ours if we failed the connection, else the peer's, else 1006."""
        close = self._failure
        if close is None and self._protocol is not None:
            close = self._protocol.close_rcvd
        return (int(close.code), close.reason) if close is not None else (int(CloseCode.ABNORMAL_CLOSURE), "")

    def close(self, code: int, reason: str) -> bytes:
        """Start the closing handshake and return the frame to send. A reason over 123 bytes is cut.

        Raises:
            websockets.exceptions.ProtocolError: If no endpoint may send this code (RFC 6455 §7.4).
            websockets.exceptions.InvalidState: If the connection has `ended` or is closing.
        """
        Close(code, "").check()  # before the reader takes over, so that a refused code changes nothing
        if self._protocol is None:
            self._take_over()
        assert self._protocol is not None
        self._protocol.send_close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
        self._fragments = None
        return b"".join(self._protocol.data_to_send())

    def fail(self, code: int, reason: str) -> bytes:
        """Fail the connection because of the peer's bytes and return the frame to send (RFC 6455 §7.1.7).

        The frame replaces the answer to a Close that the peer sent after its violation.
        """
        if self._protocol is None:
            self._take_over()
        assert self._protocol is not None
        self._failure = Close(code, reason)
        if not self._protocol.eof_sent:
            self._protocol.fail(code, reason)
            self._protocol.data_to_send()
        self.answer = Frame(Opcode.CLOSE, self._failure.serialize()).serialize(mask=False)
        return self.answer

    def release(self) -> None:
        """Release the memory at the end of the connection; the suspended parser and its protocol form a cycle."""
        self._data, self._place, self.more = b"", 0, False
        self._fragments = None
        if self._protocol is not None:
            self._protocol.parser.close()
            self._protocol.reader.buffer.clear()

    def _take_over(self) -> Protocol:
        # Not the handshake's own protocol: its parser would keep the request as long as the connection lives.
        self._protocol = _ClosableProtocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        if self.compressible:
            self._marks = CompressionMarks()
            self._protocol.extensions = [self._marks]
        return self._protocol

    def _read_slice(self, protocol: Protocol) -> list[tuple[int, bytes]]:
        data = self._data[self._place : self._place + _SLICE_BYTES]
        self._place += len(data)
        if self._place >= len(self._data) or protocol.eof_sent:
            self._data, self._place, self.more = b"", 0, False
        if protocol.eof_sent or not data:
            return []
        protocol.receive_data(data)
        messages: list[tuple[int, bytes]] = []
        for frame in protocol.events_received():
            assert not isinstance(frame, Request | Response)
            kind, body = int(frame.opcode), bytes(frame.data)
            if kind in (PING, PONG):
                messages.append((kind, body))
            elif kind != CLOSE:
                if not frame.fin and len(body) < _SMALL_BYTES:
                    self.overhead += 1
                if self._marks is not None and kind != Opcode.CONT and self._marks.marks.popleft():
                    kind |= COMPRESSED
                self._join(messages, kind, body, final=frame.fin)
        written = protocol.data_to_send()
        if protocol.eof_sent:
            if protocol.parser_exc is not None:
                self._failure = protocol.close_sent
            self.answer = _close_frame(written)
            messages.append((CLOSE, self.answer))
            self._data, self._place, self.more = b"", 0, False
        return messages

    def _join(self, messages: list[tuple[int, bytes]], kind: int, part: bytes, *, final: bool) -> None:
        if kind != Opcode.CONT:
            if final:
                messages.append((kind, part))
            else:
                self._fragments = (kind, bytearray(part))
        elif self._fragments is not None:  # None: a fragment of a message that `close` has dropped
            kind, whole = self._fragments
            whole += part
            if final:
                self._fragments = None
                messages.append((kind, bytes(whole)))


class _ClosableProtocol(Protocol):
    """websockets' protocol, but with a Close allowed between fragments, as any control frame is (RFC 6455 §5.4)."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


def _close_frame(written: list[bytes]) -> bytes:
    # The other items are Pongs, which the caller sends or not, and an empty end mark.
    return b"".join(frame for frame in written if frame.startswith(_CLOSE_FRAME))
