"""The native WebSocket edge: uvicorn hands a connection that asks for the upgrade to the class that is made here.

The application behind the edge decides about the handshake; from then on the connection calls a `WebSocketHandler`.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from tidings.server.websocket.accept_queue import AcceptQueue
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import END_OF_HEAD, Handshake, Opening, Refusal
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
            self.accept_queue.run(self._open)
        elif len(self._early) > MAX_EARLY_BYTES:
            self.abort()

    def _open(self) -> None:
        early, self._early = self._early, b""
        if not self.is_connecting:
            return  # the client went away while it was queued
        head, end, rest = early.partition(END_OF_HEAD)
        self._handshake(head + end)
        if rest:
            self.data_received(rest)

    def _handshake(self, request: bytes) -> None:
        scheme: Literal["ws", "wss"] = "ws" if self.get_extra_info("sslcontext") is None else "wss"
        name = self.get_extra_info("peername")
        peer = (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
        opening = Opening(request, subprotocols=self.subprotocols, peer=peer, scheme=scheme)
        decision = self._decide(opening.handshake) if opening.handshake is not None else None
        if decision is None or isinstance(decision, Refusal):
            self.refuse(opening.refused(decision))
        else:
            self.accept(decision, opening.accepted())

    def _decide(self, handshake: Handshake) -> WebSocketHandler | Refusal:
        try:
            return self.application.open(handshake, self)
        except Exception:
            logger.exception("the handshake for %s failed", handshake.path)
            return Refusal(status=500, body=b"Internal Server Error\n")


def websocket_protocol(
    application: WebSocketApplication, *, subprotocols: Sequence[str] = ()
) -> type[asyncio.Protocol]:
    """Make the class that `uvicorn.Config(ws=...)` takes.

    Args:
        application: Decides about handshakes and makes handlers.
        subprotocols: Subprotocols of this server, the preferred one first.
    """
    members = {
        "__slots__": (),
        "application": application,
        "accept_queue": AcceptQueue(),
        "read_queue": ReadQueue(),
        "inbound_budget": InboundBudget(),
        "subprotocols": tuple(subprotocols),
    }
    return type("ServedWebSocket", (ServedWebSocket,), members)
