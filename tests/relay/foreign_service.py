"""A service with its own WebSocket, like a Go service that sends such envelopes; it does not use tidings."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Self, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

T = TypeVar("T")
TIMEOUT_S = 60.0

GREETING = '{"type":"connection:established","timestamp":"2025-07-30T12:00:00Z","data":{"client_id":"c-1"}}'


def envelope(type: str, data: Any, *, at: str = "2025-07-30T12:00:00.123456789Z", **fields: Any) -> str:
    """Return the five fields as Go's encoder writes them."""
    return json.dumps(
        {"type": type, "timestamp": at, "trace_id": "trace-1", "data": data, **fields}, separators=(",", ":")
    )


def numbered(first: int, last: int) -> list[str]:
    """Return updates of the datasets `d-<first>` to `d-<last>`, each a nanosecond after the one before."""
    return [
        envelope("data:update", {"dataset": f"d-{n}"}, at=f"2025-07-30T12:00:00.{n:09d}Z", channel="data")
        for n in range(first, last + 1)
    ]


class ForeignService:
    """Greets each connection, sends it the newest messages again, and broadcasts; runs on its own thread.

    Args:
        remembers: How many of its newest messages it sends again to each connection.
        port: 0 picks a free one.
    """

    def __init__(self, *, remembers: int = 0, port: int = 0) -> None:
        self.port = port
        self.accepted = 0
        self.headers: list[dict[str, str]] = []
        self.refusing: HTTPStatus | None = None
        """Status with which every handshake is refused."""
        self._remembers = remembers
        self._history: list[str | bytes] = []
        self._changed = threading.Condition()
        self._connections: set[ServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/feed"

    def start(self) -> None:
        """Listen, on the same port as before if there was one."""

        async def start() -> None:
            self._server = await serve(
                self._serve, "127.0.0.1", self.port, process_request=self._check, ping_interval=0.2
            )
            self.port = self._server.sockets[0].getsockname()[1]

        self._call(start)

    def stop(self) -> None:
        """Stop like a killed process: connections break, and the port refuses new ones."""

        async def stop() -> None:
            server, self._server = self._server, None
            if server is not None:
                for connection in list(self._connections):
                    connection.transport.abort()
                server.close()
                await server.wait_closed()

        self._call(stop)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def say(self, *messages: str | bytes) -> None:
        """Broadcast WebSocket messages, text or binary, each as it is."""

        async def say() -> None:
            self._history.extend(messages)
            for connection in list(self._connections):
                with contextlib.suppress(ConnectionClosed):
                    for message in messages:
                        await connection.send(message)

        self._call(say)

    def drop(self) -> None:
        """Break every connection, in the middle of a message."""

        async def drop() -> None:
            for connection in list(self._connections):
                connection.transport.abort()

        self._call(drop)

    def close(self, code: int, reason: str) -> None:
        """Close every connection in order."""

        async def close() -> None:
            for connection in list(self._connections):
                await connection.close(code, reason)

        self._call(close)

    def wait_accepted(self, count: int) -> None:
        """Wait until `count` connections have been accepted, and have received the newest messages."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.accepted >= count, TIMEOUT_S), f"{self.accepted} came"

    async def _serve(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await connection.send(GREETING)
            for message in self._history[len(self._history) - self._remembers :] if self._remembers else ():
                await connection.send(message)
            self._connections.add(connection)
            with self._changed:
                self.accepted += 1
                self._changed.notify_all()
            try:
                await connection.wait_closed()
            finally:
                self._connections.discard(connection)

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        self.headers.append({name.lower(): value for name, value in request.headers.raw_items()})
        if self.refusing is not None:
            return connection.respond(self.refusing, "not now\n")
        return None

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(TIMEOUT_S)


def joined(messages: Sequence[str]) -> str:
    """Return several envelopes in one message, as Go's usual write loop joins queued messages."""
    return "\n".join(messages)
