"""The native WebSocket edge: uvicorn hands a connection that asks for the upgrade to the class that is made here.

The application behind the edge decides about the handshake; from then on the connection calls a `WebSocketHandler`.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from tidings.exceptions import TooManyConnections
from tidings.server.websocket.accept_queue import MAX_WAIT_S, AcceptQueue
from tidings.server.websocket.deflate import DEFAULT_COMPRESSION_BYTES
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import END_OF_HEAD, Handshake, Opening, Refusal, refusal
from tidings.server.websocket.inbound_budget import InboundBudget
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES
from tidings.server.websocket.protocol import WebSocket
from tidings.server.websocket.read_queue import ReadQueue

MAX_EARLY_BYTES: Final = MAX_MESSAGE_BYTES
"""Bytes that a client may send while its handshake is queued, which the RFC forbids; more abort the connection."""

logger = logging.getLogger(__name__)


class WebSocketApplication(Protocol):
    """The application behind the edge: it decides about handshakes and makes the handlers of connections."""

    def open(self, handshake: Handshake, socket: WebSocket) -> WebSocketHandler | Refusal:
        """Accept with a handler, which may keep `socket` and writes only once it is `opened`; or refuse with HTTP."""


class ServedWebSocket(WebSocket):
    """A connection whose handshake an application decides about, in its turn."""

    application: ClassVar[WebSocketApplication]
    accept_queue: ClassVar[AcceptQueue]
    subprotocols: ClassVar[tuple[str, ...]]
    compression_bytes: ClassVar[int | None]

    __slots__ = ("_early",)

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, server_state, app_state)
        self._early = b""
        """The handshake, and the bytes that came after it while it was queued."""

    def handshake_received(self, data: bytes) -> None:
        """See `WebSocket.handshake_received`."""
        first = not self._early
        self._early += data
        if first:
            self._connections.add(self)  # a drain ends it also while it waits
            name = self.get_extra_info("peername")
            self.accept_queue.run(self, str(name[0]) if isinstance(name, tuple) else "")
        elif len(self._early) > MAX_EARLY_BYTES:
            self.abort()

    def shutdown(self) -> None:
        """See `WebSocket.shutdown`; a handshake that waits for its turn is answered now."""
        if not (self.is_connecting and self._early) or self._serve_early():
            super().shutdown()

    def serve(self) -> bool:
        """See `QueuedHandshake.serve`; the client may have gone away while it was queued."""
        return self.is_connecting and self._serve_early()

    def refuse_busy(self) -> None:
        """See `QueuedHandshake.refuse_busy`."""
        if self.is_connecting:
            self._serve_early(busy=True)

    def _serve_early(self, *, busy: bool = False) -> bool:
        early, self._early = self._early, b""
        head, end, rest = early.partition(END_OF_HEAD)
        accepted = self._handshake(head + end, busy=busy)
        if rest:
            self.data_received(rest)
        return accepted

    def _handshake(self, request: bytes, *, busy: bool) -> bool:
        scheme: Literal["ws", "wss"] = "ws" if self.get_extra_info("sslcontext") is None else "wss"
        name = self.get_extra_info("peername")
        peer = (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
        opening = Opening(
            request,
            subprotocols=self.subprotocols,
            peer=peer,
            scheme=scheme,
            compression_bytes=self.compression_bytes,
        )
        decision: WebSocketHandler | Refusal | None = None
        if opening.handshake is not None:
            decision = _busy() if busy else self._decide(opening.handshake)
        if decision is None or isinstance(decision, Refusal):
            self.refuse(opening.refused(decision))
            return False
        compressible = opening.handshake is not None and opening.handshake.deflate is not None
        self.accept(decision, opening.accepted(), compressible=compressible)
        return True

    def _decide(self, handshake: Handshake) -> WebSocketHandler | Refusal:
        try:
            return self.application.open(handshake, self)
        except Exception:
            logger.exception("the handshake for %s failed", handshake.path)
            return Refusal(status=500, body=b"Internal Server Error\n")


def _busy() -> Refusal:
    error = TooManyConnections("too many clients are connecting", hint="Try again in a few seconds.")
    return refusal(error, wait_s=math.ceil(MAX_WAIT_S))


def websocket_protocol(
    application: WebSocketApplication,
    *,
    subprotocols: Sequence[str] = (),
    max_accepts_per_s: float | None = None,
    compression_bytes: int | None = DEFAULT_COMPRESSION_BYTES,
) -> type[asyncio.Protocol]:
    """Make the class that `uvicorn.Config(ws=...)` takes.

    Args:
        application: Decides about handshakes and makes handlers.
        subprotocols: Subprotocols of this server, the preferred one first.
        max_accepts_per_s: Connections that may open within a second. More wait for a few seconds; beyond that,
            handshakes are refused with 503.
        compression_bytes: Size from which messages to clients that ask for it are compressed; None to compress none.
    """
    members = {
        "__slots__": (),
        "application": application,
        "accept_queue": AcceptQueue(rate=max_accepts_per_s),
        "read_queue": ReadQueue(),
        "inbound_budget": InboundBudget(),
        "subprotocols": tuple(subprotocols),
        "compression_bytes": compression_bytes,
    }
    return type("ServedWebSocket", (ServedWebSocket,), members)
