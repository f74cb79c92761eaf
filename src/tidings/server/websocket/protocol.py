"""One connection of the native WebSocket edge, an `asyncio.Protocol`, from its opening handshake to its end.

Inbound, a `MessageReader` turns bytes into messages. Outbound, callers write prebuilt frames straight to the transport.
The meaning of messages is left to a `WebSocketHandler`.
"""

import abc
import asyncio
import enum
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from tidings.server.websocket.deflate import InflateError, inflate
from tidings.server.websocket.frames import CLOSE, COMPRESSED, PING, TEXT, ping_frame, pong_frame, text_frame
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.inbound_budget import InboundBudget
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES, MessageReader
from tidings.server.websocket.read_queue import ReadQueue
from tidings.server.websocket.socket_options import apply_socket_options, set_peer_timeout, share_socket

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds from our Close until the TCP connection is aborted, if the peer has not ended it."""

MAX_WAITING_BYTES: Final = 64 * 1024
"""Bytes that may wait in the transport where writes do not go to the socket directly. Larger ones are split."""

MAX_SLICE_PONGS: Final = 16
"""Pings of one slice of a segment that are answered one by one; of the others, only the last is."""

logger = logging.getLogger(__name__)


class _Phase(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    # We have sent a Close and wait for the peer's.
    CLOSING = enum.auto()
    # Reading and writing have stopped; the TCP connection may still be going away.
    ENDED = enum.auto()


def _discard(_frame: bytes | memoryview) -> None:
    """Replace `write` where nothing may be written."""


class WebSocket(asyncio.Protocol, abc.ABC):
    """One connection: the handler writes through it, and the transport calls it. A subclass opens it.

    `write` is the transport's own bound method, for frames built by `frames`; it becomes a no-op when the connection
    closes. A copy of it (in a lane's tuple) must be dropped by the time `WebSocketHandler.closed` returns; a call
    through the copy in the same tick as `close()` or `abort()` is harmless.
    """

    read_queue: ClassVar[ReadQueue]
    inbound_budget: ClassVar[InboundBudget]

    __slots__ = (
        "_connections",
        "_direct",
        "_handler",
        "_held",
        "_phase",
        "_reader",
        "_reading_paused",
        "_timer",
        "_transport",
        "_transport_paused",
        "_turn_due",
        "_unsent_pong",
        "_writing_paused",
        "write",
    )

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        # uvicorn's annotation lists its own protocols only.
        self._connections = cast("set[Any]", server_state.connections)
        self._phase = _Phase.CONNECTING
        self._direct: socket.socket | None = None
        self._handler: WebSocketHandler | None = None
        self._reader = MessageReader()
        # Messages that were read and could not be delivered, because the handler paused reading.
        self._held: list[tuple[int, bytes]] = []
        self._reading_paused = False
        # Whether the connection waits for its turn, in the queue or for a call of `_continue`.
        self._turn_due = False
        self._transport_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._writing_paused = False
        self._unsent_pong: bytes | None = None
        """Payload of the latest Ping that came while writing was paused."""
        self._transport: asyncio.Transport
        self.write: Callable[[bytes | memoryview], None] = _discard

    # Called by the handler.

    @property
    def is_closing(self) -> bool:
        """Whether the connection is no longer open, because of either side."""
        return self._phase is not _Phase.OPEN

    def send_text(self, body: bytes) -> None:
        """Send one text message; does nothing on a closing connection."""
        self.write(text_frame(body))

    def ping(self) -> None:
        """Send a Ping; does nothing on a closing connection. Its Pong is dropped: TCP detects a dead peer."""
        self.write(ping_frame())

    def set_peer_timeout(self, within_s: float) -> None:
        """See `tidings.hub.wire.Outlet.set_peer_timeout`."""
        set_peer_timeout(self._transport, within_s)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake; does nothing on a closing connection.

        No further message is delivered. `WebSocketHandler.closed` is called when the peer answers, when the TCP
        connection ends or after `CLOSE_TIMEOUT_S`, whichever is first. A reason longer than 123 bytes is cut.

        Raises:
            websockets.exceptions.ProtocolError: If no endpoint may send this code (RFC 6455 §7.4).
        """
        if self._phase is not _Phase.OPEN:
            return
        if self._reader.ended:
            # The peer was first: its Close waits behind messages that are dropped.
            self._end(self._reader.answer)
            return
        self._transport.write(self._reader.close(code, reason))
        self._leave(_Phase.CLOSING)
        # The peer's Close may follow bytes that were not read yet.
        self._continue_soon()

    def abort(self) -> None:
        """End the TCP connection immediately; unsent bytes are lost. `closed` is called in the next tick."""
        self._phase = _Phase.ENDED
        self.write = _discard
        self._transport.abort()

    def pause_reading(self) -> None:
        """Deliver no message after the current one, and leave the peer's bytes in the kernel."""
        if self._phase is _Phase.OPEN:
            self._reading_paused = True
            self.pause_transport()

    def resume_reading(self) -> None:
        """Deliver messages again, in order, from the next tick on (never during this call)."""
        if self._phase is _Phase.OPEN and self._reading_paused:
            self._reading_paused = False
            self._continue_soon()

    def direct(self) -> Callable[[bytes], int]:
        """Return the fastest function that writes while no bytes are unsent.

        That is the socket's own `send`, which avoids the transport's bookkeeping per write: it returns how many bytes
        the kernel took and raises BlockingIOError for none. It may be used only while `write_buffer_size` is 0, so with
        write buffer limits of 0 and between `resume_writing` and `pause_writing`; the rest goes to `write`. With TLS,
        or an event loop that completes writes later, it writes to the transport up to `MAX_WAITING_BYTES`.
        """
        if self._direct is None:
            shared = share_socket(self._transport) if self._phase is _Phase.OPEN else None
            if shared is None:
                return self._write_bounded
            self._direct = shared
        return self._direct.send

    def _write_bounded(self, frames: bytes) -> int:
        if len(frames) > MAX_WAITING_BYTES - self.write_buffer_size():
            raise BlockingIOError
        self.write(frames)
        return len(frames)

    def write_buffer_size(self) -> int:
        """Return the number of bytes that are written but not yet taken by the kernel."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Set the numbers of unsent bytes at which writing is paused and resumed."""
        self._transport.set_write_buffer_limits(high=high, low=low)

    # Called by the transport and by uvicorn.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from the HTTP protocol."""
        self._transport = cast(asyncio.Transport, transport)
        # uvicorn does so only after the handshake, and a `pause_writing` during `opened` would be lost.
        self._transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Read a segment: of the handshake, then of frames."""
        if self._phase is _Phase.OPEN or self._phase is _Phase.CLOSING:
            self._reader.push(data)
            if not self._turn_due and not self._reading_paused:
                self._queue_turn()
            if self._turn_due or self._reading_paused:  # otherwise the turn has done it
                self.inbound_budget.update(self, self._kept_bytes())
        elif self._phase is _Phase.CONNECTING:
            self.handshake_received(data)

    def eof_received(self) -> bool:
        """End the connection at the peer's half-close: the peer can no longer close it in order."""
        self._finish(CloseCode.ABNORMAL_CLOSURE, "")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Release all resources."""
        if self._direct is not None:
            self._direct.detach()
            self._direct = None
        self._connections.discard(self)
        self._finish(CloseCode.ABNORMAL_CLOSURE, "")
        self._phase = _Phase.ENDED
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reader.release()
        self.inbound_budget.update(self, 0)

    def pause_writing(self) -> None:
        """Forward the transport's call to the handler."""
        self._writing_paused = True
        if self._handler is not None and self._phase is _Phase.OPEN:
            self._guard(self._handler.pause_writing)

    def resume_writing(self) -> None:
        """Forward the transport's call to the handler."""
        self._writing_paused = False
        if self._unsent_pong is not None:
            payload, self._unsent_pong = self._unsent_pong, None
            self.write(pong_frame(payload))
        if self._handler is not None and self._phase is _Phase.OPEN and not self._writing_paused:
            self._guard(self._handler.resume_writing)

    def shutdown(self) -> None:
        """Drain: call the handler's `shutdown`, or close with 1001."""
        if not self._call_optional("shutdown"):
            self.close(CloseCode.GOING_AWAY, "the server is shutting down")

    # The opening handshake.

    @abc.abstractmethod
    def handshake_received(self, data: bytes) -> None:
        """Receive the request for the upgrade, and what follows it until the request is accepted or refused."""

    @property
    def is_connecting(self) -> bool:
        """Whether the request is neither accepted nor refused yet, and the client still waits for that."""
        return self._phase is _Phase.CONNECTING and not self._transport.is_closing()

    def get_extra_info(self, name: str) -> Any:
        """See `asyncio.BaseTransport.get_extra_info`."""
        return self._transport.get_extra_info(name)

    def accept(self, handler: WebSocketHandler, response: bytes, *, compressible: bool = False) -> None:
        """Write the 101 response, and open the connection; `compressible` if the response negotiates compression."""
        self._reader.compressible = compressible
        apply_socket_options(self._transport)
        self._handler = handler
        self._phase = _Phase.OPEN
        self._connections.add(self)
        self.write = self._transport.write
        self.write(response)
        self._guard(handler.opened)

    def refuse(self, response: bytes) -> None:
        """Write the response that refuses the request, and end the connection."""
        self._phase = _Phase.ENDED
        self._transport.write(response)
        self._transport.close()

    # `ReadingConnection`: turns of reading.

    def unread_bytes(self) -> int:
        """See `ReadingConnection.unread_bytes`."""
        return self._reader.unread_bytes

    def take_turn(self, deadline: float) -> bool:
        """See `ReadingConnection.take_turn`."""
        reader = self._reader
        if self._held:
            held, self._held = self._held, []
            self._deliver(held, deadline)
        elif reader.more:
            self._read_slice(deadline)
        while reader.more and not self._held and not self._reading_paused and perf_counter() < deadline:
            self._read_slice(deadline)
        if (self._held or reader.more) and not self._reading_paused and self._phase is not _Phase.ENDED:
            return True
        self._turn_due = False
        self._resume_transport()
        self.inbound_budget.update(self, self._kept_bytes())
        return False

    # `InboundConnection`: bytes that are kept.

    def waits_for_peer(self) -> bool:
        """See `InboundConnection.waits_for_peer`."""
        return not self._turn_due and not self._reading_paused

    def drop_inbound(self) -> None:
        """See `InboundConnection.drop_inbound`: report it, and end the connection with 1013."""
        if self._phase is _Phase.OPEN:
            self._call_optional("overloaded")
            self.close(CloseCode.TRY_AGAIN_LATER, "the server is overloaded")
        self._reader.release()
        self._held.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()  # unread bytes at a close would destroy our Close; see `_end`
        else:
            self._transport.close()
        self._finish(CloseCode.TRY_AGAIN_LATER, "the server is overloaded")
        self._phase = _Phase.ENDED
        self._resume_transport()

    def _kept_bytes(self) -> int:
        return self._reader.incomplete_bytes + sum(len(body) for _, body in self._held)

    def _read_slice(self, deadline: float) -> None:
        messages = self._reader.read()
        if self._phase is _Phase.OPEN:
            self._deliver(messages, deadline)
        elif self._phase is _Phase.CLOSING and any(kind == CLOSE for kind, _ in messages):
            self._end(b"")

    def pause_transport(self) -> None:
        """See `ReadingConnection.pause_transport`."""
        if not self._transport_paused:
            self._transport_paused = True
            self._transport.pause_reading()

    def _resume_transport(self) -> None:
        if self._transport_paused and not self._reading_paused:
            self._transport_paused = False
            self._transport.resume_reading()

    def _queue_turn(self) -> None:
        self._turn_due = True
        self.read_queue.run(self)

    def _continue_soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        """Deliver what was held or not read yet, and then receive bytes again."""
        self._turn_due = False
        if self._phase is _Phase.ENDED or self._reading_paused:
            return
        if self._held or self._reader.more:
            self._queue_turn()
        if not self._turn_due:
            self._resume_transport()

    # Delivery.

    def _deliver(self, messages: Iterable[tuple[int, bytes]], deadline: float) -> None:
        """Deliver messages until `deadline`, at least one, and hold the others."""
        overhead, ping, late = 0, None, False
        for kind, body in messages:
            if kind > CLOSE:
                overhead += 1
                if kind == PING:
                    # Only the latest needs an answer (RFC 6455 §5.5.3), but clients count on one for each.
                    ping = None if overhead <= MAX_SLICE_PONGS else body
                    if ping is None:
                        self._answer_ping(body)
            elif late or self._reading_paused:
                self._held.append((kind, body))
            elif self._phase is not _Phase.OPEN:
                return
            elif kind == CLOSE:
                self._end_reading(body)
            else:
                self._deliver_one(kind, body)
                late = perf_counter() >= deadline
        if ping is not None:
            self._answer_ping(ping)
        if self._reader.overhead:
            overhead += self._reader.overhead
            self._reader.overhead = 0
        if overhead and self._handler is not None and self._phase is _Phase.OPEN:
            self._call_optional("overhead_received", overhead)

    def _deliver_one(self, kind: int, body: bytes) -> None:
        assert self._handler is not None
        if kind & COMPRESSED:
            # One message at a time, when its turn has come: what waits, and is counted, is as small as it was sent.
            try:
                body = inflate(body, MAX_MESSAGE_BYTES)
            except InflateError as error:
                self._end_reading(self._reader.fail(error.code, error.reason))
                return
            kind ^= COMPRESSED
        if kind == TEXT and not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError:
                self._call_optional("invalid_text_received", body)
                if self._phase is _Phase.OPEN and not self._reading_paused:
                    self._end(self._reader.fail(CloseCode.INVALID_DATA, "not UTF-8"))
                return
        try:
            if kind == TEXT:
                self._handler.text_received(body)
            else:
                self._handler.binary_received(body)
        except Exception:
            self._close_for_fault()

    def _answer_ping(self, payload: bytes) -> None:
        """Answer a Ping; only the latest where answers have to wait (RFC 6455 §5.5.3).

        A peer that pings without reading would otherwise fill our memory.
        """
        if self._writing_paused:
            self._unsent_pong = payload
        else:
            self.write(pong_frame(payload))

    def _call_optional(self, name: str, *args: object) -> bool:
        """Call an optional method of the handler; return whether there is one."""
        method = getattr(self._handler, name, None)
        if method is None:
            return False
        self._guard(partial(method, *args))
        return True

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            self._close_for_fault()

    def _close_for_fault(self) -> None:
        logger.exception("a connection's handler failed; closing it with 1011")
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    # The closing handshake.

    def _end_reading(self, answer: bytes) -> None:
        """End the connection at the peer's Close or violation; after a violation, the handler may do it later."""
        if not (self._reader.failed and self._call_optional("violated", *self._reader.outcome)):
            self._end(answer)

    def _end(self, answer: bytes) -> None:
        """Write the last frame, if any, and end the TCP connection: the server closes first (RFC 6455 §7.1.1)."""
        if answer:
            self._transport.write(answer)
        if self._reader.failed and self._transport.can_write_eof():
            # The peer may still be sending. Unread bytes at a close make the kernel send RST, which can destroy our
            # Close before the peer reads it; so only our half is closed, and the rest is read and dropped.
            self._transport.write_eof()
        else:
            self._transport.close()
        self._finish(*self._reader.outcome)

    def _finish(self, code: int, reason: str) -> None:
        """Call the handler's `closed`, once, and accept nothing more."""
        handler, self._handler = self._handler, None
        if handler is None:
            return
        self._leave(_Phase.ENDED)
        try:
            handler.closed(code, reason)
        except Exception:
            logger.exception("a connection's handler failed in closed(%d)", code)

    def _leave(self, phase: _Phase) -> None:
        """Stop delivering and writing, and make sure that the TCP connection ends in bounded time."""
        self._phase = phase
        self.write = _discard
        self._held.clear()
        self._reading_paused = False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)
