"""Reads whole messages from a client's byte stream (RFC 6455 §5 and §7): joins fragments, keeps limits. No I/O."""

from typing import Final

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, Side, State

from tidings.server.websocket.frames import CLOSE, PING, PONG, read_plain_frames

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""Bytes in a message, whole or in fragments. Four times the limit of `data`, so that the refusal can name the event."""

MAX_REASON_BYTES: Final = 123
"""Bytes of UTF-8 in the reason of a Close (RFC 6455 §5.5)."""

_CLOSE_FRAME = bytes((0x80 | CLOSE,))


class MessageReader:
    """The inbound half of one connection, and the state of its closing.

    `read_plain_frames` reads plain frames. At the first other frame, websockets' Sans-I/O protocol takes over the
    connection and keeps it: it costs 1–2 KB and five times the time per frame, which a connection that only subscribes
    or publishes never pays.
    """

    __slots__ = ("_failure", "_fragments", "_protocol", "_tail")

    def __init__(self) -> None:
        # The start of a plain frame whose end has not arrived yet.
        self._tail = b""
        self._protocol: Protocol | None = None
        # Kind and start of the fragmented message. One buffer, not a list: the number of empty fragments is unlimited.
        self._fragments: tuple[int, bytearray] | None = None
        # The Close with which we failed the connection because of the peer's bytes.
        self._failure: Close | None = None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Read a segment and return the messages that it completes, in order, as (opcode, payload).

        Text is not yet validated. The caller answers Pings. A Close stands for the orderly end as well as for a
        violation: it is the last item, its payload is the frame to send (b"" for none), and `outcome` and `failed`
        then have the details.
        """
        if self._protocol is not None:
            return self._read(self._protocol, data)
        if self._tail:
            data = self._tail + data
        messages, end, plain = read_plain_frames(data)
        self._tail = data[end:]
        if not plain:
            messages += self._take_over()
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
        messages = self._take_over() if self._protocol is None else []
        assert not messages  # the tail is less than a frame
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
        return Frame(Opcode.CLOSE, self._failure.serialize()).serialize(mask=False)

    def release(self) -> None:
        """Release the memory at the end of the connection; the suspended parser and its protocol form a cycle."""
        if self._protocol is not None:
            self._protocol.parser.close()

    def _take_over(self) -> list[tuple[int, bytes]]:
        # Not the handshake's own protocol: its parser would keep the request as long as the connection lives.
        self._protocol = _ClosableProtocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        tail, self._tail = self._tail, b""
        return self._read(self._protocol, tail)

    def _read(self, protocol: Protocol, data: bytes) -> list[tuple[int, bytes]]:
        if protocol.eof_sent:
            return []
        protocol.receive_data(data)
        messages: list[tuple[int, bytes]] = []
        for frame in protocol.events_received():
            assert not isinstance(frame, Request | Response)
            kind, body = int(frame.opcode), bytes(frame.data)
            if kind in (PING, PONG):
                messages.append((kind, body))
            elif kind != CLOSE:
                self._join(messages, kind, body, final=frame.fin)
        written = protocol.data_to_send()
        if protocol.eof_sent:
            if protocol.parser_exc is not None:
                self._failure = protocol.close_sent
            messages.append((CLOSE, _close_frame(written)))
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
