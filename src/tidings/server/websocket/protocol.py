"""The native WebSocket edge: an `asyncio.Protocol` to which uvicorn hands a connection that asks for the upgrade.

Inbound, bytes become messages in `messages`. Outbound, callers write prebuilt frames straight to the transport.
Nothing here knows what the messages mean: that is the `Application`'s and its `Handler`s' side.

What uses the WebSocket edge: the two sides that `websocket` calls.
"""

import asyncio
import enum
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, Protocol, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import CloseCode

from tidings.server.websocket.accept_queue import AcceptQueue
from tidings.server.websocket.frames import CLOSE, PING, TEXT, ping_frame, pong_frame, text_frame
from tidings.server.websocket.handshake import END_OF_HEAD, Handshake, Opening, Refusal
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES, MessageReader
from tidings.server.websocket.socket_options import apply_socket_options, set_peer_timeout

__all__ = ["MAX_MESSAGE_BYTES", "Application", "Handler", "Handshake", "Refusal", "WebSocket", "websocket_protocol"]

CLOSE_TIMEOUT_S: Final = 5.0
"""Seconds from our part of a closing until the TCP connection is aborted, if the peer has not ended it."""

MAX_EARLY_BYTES: Final = MAX_MESSAGE_BYTES
"""Bytes a client may send while its handshake waits for its turn, against the RFC's word; more aborts."""

MAX_UNSENT_PONG_BYTES: Final = 64 * 1024
"""Unsent bytes above which a Ping goes unanswered (only the latest need be, RFC 6455 §5.5.3): a peer that pings
without reading would otherwise fill our memory."""

logger = logging.getLogger(__name__)


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


class _Phase(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    # We sent a Close and wait for the peer's.
    CLOSING = enum.auto()
    # Nothing is read or written any more; the TCP connection may still be going away.
    ENDED = enum.auto()


def _discard(_frame: bytes) -> None:
    """Stand in for `write` where nothing may be written."""


def _sends_at_once(transport: asyncio.Transport) -> bool:
    """Return whether a write reaches the kernel before it returns, as long as nothing waits."""
    if transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("socket") is None:
        return False
    loop = asyncio.get_running_loop()
    return isinstance(loop, asyncio.SelectorEventLoop) or type(loop).__module__.startswith("uvloop")


class WebSocket(asyncio.Protocol):
    """One connection: what its handler holds, and what the transport calls.

    `write` is the transport's own bound method, for frames built by `frames`; it becomes a no-op when the connection
    closes. Who keeps a copy of it (a lane's tuple) must drop that copy by the time `Handler.closed` returns; a call
    through it in the same tick as `close()` or `abort()` is harmless.
    """

    application: ClassVar[Application]
    admission: ClassVar[AcceptQueue]
    subprotocols: ClassVar[tuple[str, ...]] = ()

    __slots__ = (
        "_connections",
        "_direct",
        "_early",
        "_handler",
        "_held",
        "_phase",
        "_reader",
        "_reading_paused",
        "_timer",
        "_transport",
        "write",
    )

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        # uvicorn's annotation lists its own protocols only.
        self._connections = cast("set[Any]", server_state.connections)
        self._phase = _Phase.CONNECTING
        # The handshake, and what came behind it before its turn.
        self._early = b""
        self._direct: socket.socket | None = None
        self._handler: Handler | None = None
        self._reader = MessageReader()
        # Messages that came in the segment during which reading was paused; None while they flow.
        self._held: list[tuple[int, bytes]] | None = None
        self._reading_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self.write: Callable[[bytes], None] = _discard

    # What the handler calls.

    @property
    def is_closing(self) -> bool:
        """Whether the connection is no longer open, from either side's doing."""
        return self._phase is not _Phase.OPEN

    def send_text(self, body: bytes) -> None:
        """Send one text message; does nothing on a closing connection."""
        self.write(text_frame(body))

    def ping(self) -> None:
        """Send a Ping; does nothing on a closing connection. Its Pong is dropped: TCP notices a dead peer."""
        self.write(ping_frame())

    def set_peer_timeout(self, within_s: float) -> None:
        """See `tidings.hub.wire.Outlet.set_peer_timeout`."""
        set_peer_timeout(self._transport, within_s)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake; does nothing on a closing connection.

        No further message is delivered. `Handler.closed` comes when the peer answers, when the TCP connection ends
        or after `CLOSE_TIMEOUT_S`, whichever is first. A reason longer than 123 bytes is cut.

        Raises:
            websockets.exceptions.ProtocolError: If no endpoint may send this code (RFC 6455 §7.4).
        """
        if self._phase is not _Phase.OPEN:
            return
        if self._reader.ended:
            # The peer was first: its Close waits behind messages held back, which nobody wants any more.
            assert self._held
            self._end(self._held[-1][1])
            return
        self._transport.write(self._reader.close(code, reason))
        self._leave(_Phase.CLOSING)
        # The peer's Close may stand behind what was not read.
        self._transport.resume_reading()

    def abort(self) -> None:
        """End the TCP connection at once; unsent bytes are lost. `Handler.closed` follows in the next tick."""
        self._phase = _Phase.ENDED
        self.write = _discard
        self._transport.abort()

    def pause_reading(self) -> None:
        """Deliver no message after the present one, and let the peer's bytes wait in the kernel."""
        if self._phase is not _Phase.OPEN or self._reading_paused:
            return
        self._reading_paused = True
        if self._held is None:
            self._held = []
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, in order, beginning in the next tick (never from within this call)."""
        if self._phase is _Phase.OPEN and self._reading_paused:
            self._reading_paused = False
            asyncio.get_running_loop().call_soon(self._release_held)

    def direct(self) -> Callable[[bytes], int | None]:
        """Return the fastest way to write while nothing waits to be sent.

        That is the socket's own `send`, which spares a copy of the transport's bookkeeping a write: it returns how many
        bytes the kernel took and raises BlockingIOError for none. It may be used only while `write_buffer_size` is 0,
        so with write buffer limits of 0 and between `resume_writing` and `pause_writing`; what it left goes to `write`.
        Where there is no such way (TLS, or an event loop that completes writes later) it is `write`.
        """
        if self._direct is None:
            if self._phase is not _Phase.OPEN or not _sends_at_once(self._transport):
                return self.write
            shared = self._transport.get_extra_info("socket")
            # A second object for the transport's descriptor: detached before the transport closes it.
            self._direct = socket.socket(shared.family, shared.type, shared.proto, fileno=shared.fileno())
        return self._direct.send

    def write_buffer_size(self) -> int:
        """Return how many bytes are written and not yet with the kernel."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Set the marks, in bytes, at which writing is paused and resumed."""
        self._transport.set_write_buffer_limits(high=high, low=low)

    # What the transport and uvicorn call.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from the HTTP protocol."""
        self._transport = cast(asyncio.Transport, transport)
        # uvicorn would do so only after the handshake, and a `pause_writing` during `opened` would go astray.
        self._transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Read a segment: the handshake, then frames."""
        if self._phase is _Phase.OPEN:
            self._deliver(self._reader.feed(data))
        elif self._phase is _Phase.CLOSING:
            if any(kind == CLOSE for kind, _ in self._reader.feed(data)):
                self._end(b"")
        elif self._phase is _Phase.CONNECTING:
            first = not self._early
            self._early += data
            if first:
                self.admission.admit(self._open)
            elif len(self._early) > MAX_EARLY_BYTES:
                self.abort()

    def eof_received(self) -> bool:
        """Take the peer's half-close as the end of the connection: it can no longer close it in order."""
        self._finish(CloseCode.ABNORMAL_CLOSURE, "")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything go."""
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

    def pause_writing(self) -> None:
        """Pass the transport's word on."""
        if self._handler is not None and self._phase is _Phase.OPEN:
            self._guard(self._handler.pause_writing)

    def resume_writing(self) -> None:
        """Pass the transport's word on."""
        if self._handler is not None and self._phase is _Phase.OPEN:
            self._guard(self._handler.resume_writing)

    def shutdown(self) -> None:
        """Drain: ask the handler, or close with 1001."""
        shutdown = getattr(self._handler, "shutdown", None)
        if shutdown is not None:
            self._guard(shutdown)
        else:
            self.close(CloseCode.GOING_AWAY, "the server is shutting down")

    # The opening.

    def _open(self) -> None:
        early, self._early = self._early, b""
        if self._phase is not _Phase.CONNECTING or self._transport.is_closing():
            return  # the client has left the queue
        head, end, rest = early.partition(END_OF_HEAD)
        self._shake_hands(head + end)
        if rest:
            self.data_received(rest)

    def _shake_hands(self, request: bytes) -> None:
        scheme: Literal["ws", "wss"] = "ws" if self._transport.get_extra_info("sslcontext") is None else "wss"
        name = self._transport.get_extra_info("peername")
        peer = (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
        opening = Opening(request, subprotocols=self.subprotocols, peer=peer, scheme=scheme)
        decision = self._decide(opening.handshake) if opening.handshake is not None else None
        if decision is None or isinstance(decision, Refusal):
            self._phase = _Phase.ENDED
            self._transport.write(opening.refused(decision))
            self._transport.close()
            return
        apply_socket_options(self._transport)
        self._handler = decision
        self._phase = _Phase.OPEN
        self._connections.add(self)
        self.write = self._transport.write
        self.write(opening.accepted())
        self._guard(decision.opened)

    def _decide(self, handshake: Handshake) -> Handler | Refusal:
        try:
            return self.application.open(handshake, self)
        except Exception:
            logger.exception("the handshake for %s failed", handshake.path)
            return Refusal(status=500, body=b"Internal Server Error\n")

    # Delivery.

    def _deliver(self, messages: Iterable[tuple[int, bytes]]) -> None:
        for kind, body in messages:
            if kind > CLOSE:
                if kind == PING and self._transport.get_write_buffer_size() < MAX_UNSENT_PONG_BYTES:
                    self.write(pong_frame(body))
            elif self._held is not None:
                self._held.append((kind, body))
            elif self._phase is not _Phase.OPEN:
                return
            elif kind == CLOSE:
                self._end(body)
            else:
                self._deliver_one(kind, body)

    def _deliver_one(self, kind: int, body: bytes) -> None:
        assert self._handler is not None
        if kind == TEXT and not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError:
                explain = getattr(self._handler, "invalid_text_received", None)
                if explain is not None:
                    self._guard(partial(explain, body))
                if self._phase is _Phase.OPEN:
                    self._end(self._reader.fail(CloseCode.INVALID_DATA, "not UTF-8"))
                return
        try:
            if kind == TEXT:
                self._handler.text_received(body)
            else:
                self._handler.binary_received(body)
        except Exception:
            self._close_for_fault()

    def _release_held(self) -> None:
        if self._reading_paused or self._held is None or self._phase is not _Phase.OPEN:
            return
        held, self._held = self._held, None
        self._deliver(held)
        if self._held is None and self._phase is _Phase.OPEN:
            self._transport.resume_reading()

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            self._close_for_fault()

    def _close_for_fault(self) -> None:
        logger.exception("a connection's handler failed; closing it with 1011")
        self.close(CloseCode.INTERNAL_ERROR, "internal error")

    # The end.

    def _end(self, answer: bytes) -> None:
        """Write the last frame, if there is one, and begin to end the TCP connection, as a server does first."""
        if answer:
            self._transport.write(answer)
        if self._reader.failed and self._transport.can_write_eof():
            # The peer may be sending still. Bytes left unread at a close make the kernel send RST, which can destroy
            # our Close before the peer reads it; so only our half is closed, and the rest is read and dropped.
            self._transport.write_eof()
        else:
            self._transport.close()
        self._finish(*self._reader.outcome)

    def _finish(self, code: int, reason: str) -> None:
        """Tell the handler, once, and accept nothing more."""
        handler, self._handler = self._handler, None
        if handler is None:
            return
        self._leave(_Phase.ENDED)
        try:
            handler.closed(code, reason)
        except Exception:
            logger.exception("a connection's handler failed in closed(%d)", code)

    def _leave(self, phase: _Phase) -> None:
        """Stop delivering and writing, and see to it that the TCP connection ends in bounded time."""
        self._phase = phase
        self.write = _discard
        self._held = None
        self._reading_paused = False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)


def websocket_protocol(application: Application, *, subprotocols: Sequence[str] = ()) -> type[asyncio.Protocol]:
    """Make the class that `uvicorn.Config(ws=...)` takes.

    Args:
        application: What opens connections.
        subprotocols: The names this server speaks, the preferred first.
    """
    members = {
        "__slots__": (),
        "application": application,
        "admission": AcceptQueue(),
        "subprotocols": tuple(subprotocols),
    }
    return type("ServedWebSocket", (WebSocket,), members)
