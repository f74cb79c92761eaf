"""A served hub in a thread: behind the native edge, or behind plain uvicorn."""

import asyncio
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Literal, Self, TypeVar

import msgspec
import uvicorn
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tidings.hub.config import HubConfig
from tidings.hub.hub import Hub
from tidings.log.base import Retention
from tidings.log.memory import MemoryLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp, OpenLog
from tidings.server.serve import DrainingServer, listen
from tidings.server.websocket.application import websocket_protocol
from tidings.server.websocket.deflate import DEFAULT_COMPRESSION_BYTES
from tidings.testing.faulty_log import FaultyLog

T = TypeVar("T")
Edge = Literal["native", "asgi"]
TIMEOUT_S = 60.0
QUIET: dict[str, Any] = {"status_s": 0.0, "metrics_s": 0.0}
"""Configuration of a hub that publishes no events of its own."""
NO_DASHBOARD = os.devnull
"""The option `dashboard` of a hub as it is in a checkout without a build."""


class HubServer:
    """One hub on its own thread and loop, over a memory log with faults on demand.

    Args:
        edge: `native` is our own server with the native WebSocket edge, `asgi` is plain uvicorn.
        config: Configuration; by default the hub publishes no events of its own.
        retention: Retention of the log.
        wrap: Wraps the hub's application before it is served.
        compression_bytes: Option of the native edge.
        open_log: Opens another log than `log`.
        lifespan: Whether the server starts the hub.
        options: Options of `HubApp`.
    """

    def __init__(
        self,
        edge: Edge = "native",
        *,
        config: dict[str, Any] | None = None,
        retention: Retention | None = None,
        wrap: Callable[[HubApp], Any] | None = None,
        compression_bytes: int | None = DEFAULT_COMPRESSION_BYTES,
        open_log: OpenLog | None = None,
        lifespan: Literal["auto", "off"] = "auto",
        **options: Any,
    ) -> None:
        self.log = FaultyLog(MemoryLog(secrets.token_hex(4), retention))
        open_log = open_log or (lambda scheduler: self.log)
        self.app = HubApp(open_log, config=HubConfig(**{**QUIET, **(config or {})}), **options)
        served: Any = self.app if wrap is None else wrap(self.app)
        self._sockets = listen("127.0.0.1", 0)
        self.port: int = self._sockets[0].getsockname()[1]
        self.server: uvicorn.Server
        if edge == "native":
            native = websocket_protocol(self.app, subprotocols=[SUBPROTOCOL], compression_bytes=compression_bytes)
            self.server = DrainingServer(served, websocket=native, grace_s=2.0, lifespan=lifespan)
        else:
            self.server = uvicorn.Server(
                uvicorn.Config(
                    served,
                    ws="websockets-sansio",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    lifespan=lifespan,
                )
            )
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve)
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """Drain, and start to stop the server."""
        self.call(self.app.drain)
        if isinstance(self.server, DrainingServer):
            self._loop.call_soon_threadsafe(self.server.stop)
        else:
            self.server.should_exit = True

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the server's loop and return its result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return result.result(TIMEOUT_S)

    @property
    def hub(self) -> Hub:
        """The hub. The server may not have started it yet, so its own loop looks, and starts it then."""
        return self.call(lambda: self.app.hub)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, called in the server's loop, is true."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.call(condition):
            assert time.monotonic() < deadline, "the condition never became true"
            time.sleep(0.005)

    def connections(self) -> int:
        """Return the number of connections of the hub; for `wait` and `call`."""
        return len(self.app.connections)

    @property
    def http(self) -> str:
        """URL of its HTTP side."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """URL of its WebSocket."""
        return f"ws://127.0.0.1:{self.port}/ws"

    def publish(self, *events: dict[str, Any]) -> list[str]:
        """Publish over HTTP, where no event may be refused, and return the positions."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", "/v1/events", msgspec.json.encode(events), {"Content-Type": "application/json"})
            results = msgspec.json.decode(connection.getresponse().read())["results"]
        finally:
            connection.close()
        return [result["position"] for result in results]

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self.server.config.get_loop_factory()) as runner:
                self._loop = runner.get_loop()
                runner.run(self._run())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            raise

    async def _run(self) -> None:
        # The sockets listen already: clients that connect before the server accepts wait in their queue.
        self._loop.call_soon(self._started.set_result, None)
        try:
            await self.server.serve(self._sockets)
        finally:
            self.app.stop()


class Stream:
    """A client of `/v1/stream` on a blocking socket: reads one block (up to an empty line) at a time."""

    def __init__(
        self,
        port: int,
        query: str = "",
        *,
        prefix: str = "",
        path: str = "/v1/stream",
        headers: dict[str, str] | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        plain = socket.socket()
        try:
            if receive_buffer is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            plain.settimeout(TIMEOUT_S)
            plain.connect(("127.0.0.1", port))
        except BaseException:
            plain.close()
            raise
        self._connection.sock = plain
        self._connection.request("GET", f"{prefix}{path}{query}", headers=headers or {})
        self.response: HTTPResponse = self._connection.getresponse()
        self.last_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def block(self) -> dict[str, str]:
        """Return the fields of the next block.

        Raises:
            EOFError: The stream ended.
        """
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline().decode()
            if not line.endswith("\n"):
                raise EOFError
            if line == "\n":
                self.last_id = fields.get("id", self.last_id)
                return fields
            name, _, value = line[:-1].partition(":")
            fields[name] = value.removeprefix(" ")

    def message(self) -> dict[str, Any]:
        """Return the next envelope."""
        while "data" not in (fields := self.block()):
            pass
        envelope: dict[str, Any] = msgspec.json.decode(fields["data"])
        return envelope

    def until(self, type: str) -> list[dict[str, Any]]:
        """Return the envelopes up to the next one of `type`, itself included."""
        found = [self.message()]
        while found[-1]["type"] != type:
            found.append(self.message())
        return found

    def events(self, count: int) -> list[dict[str, Any]]:
        """Return the next `count` events; messages to this client alone are skipped."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            envelope = self.message()
            if "position" in envelope:
                found.append(envelope)
        return found


def leave_running(server: HubServer, producer: str, operation: str) -> None:
    """Let a producer with a long lease begin an operation, and wait until the hub knows that it is away."""
    attach = {"type": "producer:attach", "id": "1", "data": {"producer_id": producer, "lease_s": 600}}
    begin = {"type": "operation:start", "id": "2", "data": {"operation_id": operation}}
    with connect(f"{server.ws}?channels=none", subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
        for command in (attach, begin):
            socket.send(msgspec.json.encode(command).decode())
            while msgspec.json.decode(socket.recv()).get("reply_to") != command["id"]:
                pass
    server.wait(lambda: server.app.hub.leases.presence(operation) == "away")


def update(dataset: str, version: int = 0, *, padding: int = 0) -> dict[str, Any]:
    """Make a durable event of a key."""
    data: dict[str, Any] = {"dataset": dataset, "version": version}
    if padding:
        data["metadata"] = {"padding": "x" * padding}
    return {"type": "data:update", "data": data}


def progress(operation: str, percent: float, *, padding: int = 0) -> dict[str, Any]:
    """Make an event of class `latest`."""
    data = {"operation_id": operation, "progress": percent, "message": "x" * padding}
    return {"type": "operation:progress", "data": data}


logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
