"""A server in a thread whose handlers record every call, for tests of the edge from outside."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from tests.server.echo import app
from tests.server.raw_client import RawClient

from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import ServedWebSocket, websocket_protocol
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import Handshake, Refusal
from tidings.server.websocket.protocol import WebSocket

T = TypeVar("T")
Call = tuple[str, *tuple[Any, ...]]
TIMEOUT_S = 60.0


class RecordingHandler:
    """Records each call in `calls`; `on_text` and similar hooks, if set, then run in the loop."""

    def __init__(self, application: "RecordingApplication", socket: WebSocket) -> None:
        self.application = application
        self.socket = socket
        self.calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def opened(self) -> None:
        self._record("opened")

    def text_received(self, body: bytes) -> None:
        self._record("text", body)

    def binary_received(self, body: bytes) -> None:
        self._record("binary", body)

    def pause_writing(self) -> None:
        self._record("pause")

    def resume_writing(self) -> None:
        self._record("resume")

    def closed(self, code: int, reason: str) -> None:
        self._record("closed", code, reason)

    def _record(self, name: str, *arguments: Any) -> None:
        self.calls.put((name, *arguments))
        react = self.application.reactions.get(name)
        if react is not None:
            react(self, *arguments)

    def next_call(self) -> Call:
        return self.calls.get(timeout=TIMEOUT_S)

    def no_call(self) -> bool:
        return self.calls.empty()


class RecordingApplication:
    """Makes recording handlers, or refuses the paths that ask for it."""

    def __init__(self) -> None:
        self.handshakes: queue.SimpleQueue[Handshake] = queue.SimpleQueue()
        self.handlers: queue.SimpleQueue[RecordingHandler] = queue.SimpleQueue()
        self.reactions: dict[str, Callable[..., None]] = {}

    def open(self, handshake: Handshake, socket: WebSocket) -> WebSocketHandler | Refusal:
        self.handshakes.put(handshake)
        if handshake.path == "/refused":
            return Refusal(
                status=403, body=b'{"code":"forbidden"}', content_type="application/json", headers=(("X-Why", "test"),)
            )
        if handshake.path == "/broken":
            raise RuntimeError("as if the application had a fault")
        handler = RecordingHandler(self, socket)
        self.handlers.put(handler)
        return handler


class RecordingServer:
    """A `DrainingServer` on its own thread and loop; the test's thread reads the handlers' calls."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop], **options: Any) -> None:
        self.application = RecordingApplication()
        protocol = websocket_protocol(self.application, subprotocols=["second", "first"])
        assert issubclass(protocol, ServedWebSocket)
        self.websocket = protocol
        self._ready: Future[int] = Future()
        self._loop_factory = loop_factory
        self._runner = DrainingServer(
            app,
            port=0,
            websocket=protocol,
            on_ready=self._on_ready,
            grace_s=1.0,
            **options,
        )
        self._thread = threading.Thread(target=self._serve)
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._runner.stop)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    @property
    def connections(self) -> int:
        """Number of the server's connections."""
        return self.call(lambda: len(self._runner.server_state.connections))

    def handler(self) -> RecordingHandler:
        """Wait for the opened handler of the next connection."""
        handler = self.application.handlers.get(timeout=TIMEOUT_S)
        assert handler.next_call() == ("opened",)
        return handler

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the server's loop and return its result."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return result.result(TIMEOUT_S)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            self.loop = runner.get_loop()
            try:
                runner.run(self._runner.serve())
            except BaseException as error:
                self._ready.set_exception(error)
                raise

    def _on_ready(self, addresses: Sequence[ListenAddress]) -> None:
        self._ready.set_result(addresses[0].port)


@contextmanager
def connected(
    server: RecordingServer, *, headers: tuple[str, ...] = (), **options: int
) -> Iterator[tuple[RawClient, RecordingHandler]]:
    """Open a connection, with some headers, and return both of its ends."""
    with RawClient(server.port, **options) as client:  # type: ignore[arg-type]
        assert client.open(headers=headers).startswith("HTTP/1.1 101 ")
        yield client, server.handler()
