"""The clients that are connected, as `GET /v1/system` lists them."""

import asyncio
from heapq import nlargest
from typing import Final, Literal

from msgspec import Struct

from tidings.exceptions import Unauthenticated
from tidings.hub.connection import HubConnection
from tidings.hub.hub import Hub
from tidings.hub.lanes import SubscriberState
from tidings.log.newest import SEPARATOR
from tidings.server.http.stream import EventStream
from tidings.server.running_hub import RunningHub

MAX_CLIENTS: Final = 100
"""Clients that are listed: the furthest behind first, then the newest."""
_MAX_PATHS: Final = 5
_PER_TURN: Final = 500


class ClientView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A WebSocket connection or an event stream."""

    connection_id: str
    kind: Literal["websocket", "stream"]
    address: str = ""
    subject: str = ""
    producer_id: str = ""
    """The producer that is attached."""
    paths: list[str] = []
    """Up to 5 of the paths that it reads."""
    path_count: int = 0
    pace_ms: int = 0
    """Minimum time between two writes, in milliseconds."""
    state: Literal["live", "catching_up", "slow", "idle"]
    """`slow`: its socket takes nothing more at the moment. `idle`: it reads no paths."""
    behind_events: int = 0
    """Events between its place and the head, of all paths."""
    waiting_bytes: int = 0
    """Bytes that wait for its socket."""
    source: str = ""
    """The worker that it is connected to, in a hub of several."""


async def list_clients(running: RunningHub, turns: asyncio.Semaphore) -> tuple[int, list[ClientView]]:
    """Return the number of WebSockets, and the clients, in turns of a millisecond or two."""
    websockets = 0
    listed: list[tuple[tuple[int, int, int], HubConnection | EventStream]] = []
    connections = list(enumerate(running.connections))
    for start in range(0, len(connections), _PER_TURN):
        async with turns:
            some: list[tuple[tuple[int, int, int], HubConnection | EventStream]] = []
            for number, connection in connections[start : start + _PER_TURN]:
                websockets += isinstance(connection, HubConnection)
                if isinstance(connection, HubConnection | EventStream):
                    some.append((_rank(running.hub, connection, number), connection))
            listed = nlargest(MAX_CLIENTS, listed + some, key=lambda each: each[0])
            await asyncio.sleep(0)
    return websockets, [_view(running.hub, connection) for _, connection in listed]


def _rank(hub: Hub, connection: HubConnection | EventStream, number: int) -> tuple[int, int, int]:
    return _behind(hub, connection), int(connection.subscriber.blocked), number


def _behind(hub: Hub, connection: HubConnection | EventStream) -> int:
    subscriber = connection.subscriber
    if subscriber.state is SubscriberState.CATCHING_UP and subscriber.paths:
        return max(0, hub.delivery.delivered - subscriber.offset)
    return 0


def _view(hub: Hub, connection: HubConnection | EventStream) -> ClientView:
    subscriber = connection.subscriber
    paths = subscriber.paths.paths
    return ClientView(
        connection_id=connection.connection_id,
        kind="websocket" if isinstance(connection, HubConnection) else "stream",
        address=connection.client,
        subject=_subject_name(connection),
        producer_id=connection.producer_id.rpartition(SEPARATOR)[2],
        paths=[str(path) for path in paths[:_MAX_PATHS]],
        path_count=len(paths),
        pace_ms=subscriber.pace_ms,
        state=_state(connection),
        behind_events=_behind(hub, connection),
        waiting_bytes=hub.delivery.outbound.waiting_of(subscriber),
    )


def _state(connection: HubConnection | EventStream) -> Literal["live", "catching_up", "slow", "idle"]:
    subscriber = connection.subscriber
    if subscriber.blocked:
        return "slow"
    if not subscriber.paths:
        return "idle"
    return "catching_up" if subscriber.state is SubscriberState.CATCHING_UP else "live"


def _subject_name(connection: HubConnection | EventStream) -> str:
    """Return the name of the subject of a connection; "" without one."""
    if isinstance(connection, EventStream):
        return "" if connection.subject is None else connection.subject.name
    if connection.access is None:
        return ""
    try:
        return connection.access.subject.name
    except Unauthenticated:
        return ""
