"""A hub whose log takes long to open: what it answers and how it ends, on both edges and inside an application."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.server.hub_server import NO_DASHBOARD, QUIET, TIMEOUT_S, Edge, HubServer, Stream, update
from tests.server.slow_log import ROWS, ROWS_READ, SlowLog
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tidings.exceptions import Draining, LogInUse, LogOpening
from tidings.hub.config import HubConfig
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp

FIGURES = f"{ROWS_READ:,} of {ROWS:,} rows read"
CLOSED_UNTIL_OPEN = [
    "/readyz",
    "/metrics",
    "/v1/events",
    "/v1/snapshot",
    "/v1/stream",
    "/v1/operations",
    "/v1/operations/a",
    "/v1/operation?operation_id=a",
    "/v1/operation-names",
    "/v1/operation-log",
    "/v1/system",
    "/v1/whoami",
    "/v1/admin/sessions",
    "/v1/admin/revocations",
    "/v1/admin/audit",
]


class OpeningServer(HubServer):
    """A served hub that was started, and is still opening its log."""

    def __init__(self, edge: Edge = "native", **options: Any) -> None:
        self.slow = SlowLog()
        super().__init__(edge, open_log=self.slow.open, lifespan="off", dashboard=NO_DASHBOARD, **options)

    def __enter__(self) -> "OpeningServer":
        super().__enter__()
        self.call(self.app.start)
        self.slow.wait_until_it_waits()
        return self

    def release(self) -> None:
        """Let the opening succeed, and wait until the hub runs."""
        self.slow.release()
        self.wait(lambda: self.app.started)


@pytest.fixture(params=["native", "asgi"])
def server(request: pytest.FixtureRequest) -> Iterator[OpeningServer]:
    with OpeningServer(request.param) as server:
        yield server


# HTTP.


def test_liveness_and_readiness_are_answered_while_the_log_opens(server: OpeningServer) -> None:
    with httpx.Client(base_url=server.http) as client:
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "log_opening")
        assert answer.json()["message"] == f"the hub is opening its log: {FIGURES}"
        assert (answer.json()["rows_read"], answer.json()["rows"]) == (ROWS_READ, ROWS)
        assert answer.json()["recoverable"]
        server.release()
        assert client.get("/readyz").json() == {"status": "ready"}


def test_routes_that_need_the_log_answer_503_with_retry_after(server: OpeningServer) -> None:
    with httpx.Client(base_url=server.http) as client:
        answers = [client.get(path) for path in CLOSED_UNTIL_OPEN]
        answers.append(client.post("/v1/events", json=update("d")))
        answers.append(client.post("/v1/operations/a/cancel"))
        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (503, "log_opening"), answer.url
            wait_s = int(answer.headers["retry-after"])
            assert 1 <= wait_s <= 2
            assert wait_s * 1_000 >= answer.json()["retry_after_ms"]
        for path in ("/", "/openapi.json", "/v1/contract.json", "/docs"):
            assert client.get(path).status_code == 200, path
        assert server.call(lambda: server.slow.openings) == 1
        server.release()
        assert client.post("/v1/events", json=update("d")).status_code == 200


def test_event_source_is_told_in_band(server: OpeningServer) -> None:
    with Stream(server.port, headers={"Accept": "text/event-stream"}) as stream:
        error, closed = stream.message(), stream.message()
    assert (error["type"], error["data"]["code"]) == ("connection:error", "log_opening")
    assert (closed["data"]["code"], closed["data"]["reconnect"]) == (1013, True)
    assert closed["data"]["retry_after_ms"] >= 1_000


# WebSockets.


@pytest.mark.parametrize("subprotocols", [[Subprotocol(SUBPROTOCOL)], None], ids=["versioned", "plain"])
def test_websocket_is_told_in_band_and_comes_back(
    server: OpeningServer, subprotocols: list[Subprotocol] | None
) -> None:
    with connect(server.ws, subprotocols=subprotocols) as socket:
        assert socket.subprotocol == (SUBPROTOCOL if subprotocols else None)
        closed = msgspec.json.decode(socket.recv(TIMEOUT_S))
        assert closed["type"] == "connection:closed"
        data = closed["data"]
        assert (data["code"], data["reconnect"]) == (1013, True)
        assert data["reason"] == f"the hub is opening its log: {FIGURES}"
        assert 1_000 <= data["retry_after_ms"] < 2_000
        with pytest.raises(ConnectionClosed) as end:
            socket.recv(TIMEOUT_S)
    assert end.value.rcvd is not None
    assert (end.value.rcvd.code, end.value.rcvd.reason) == (1013, data["reason"])
    server.release()
    with connect(server.ws, subprotocols=subprotocols) as socket:
        assert msgspec.json.decode(socket.recv(TIMEOUT_S))["type"] == "connection:established"


def test_handshake_of_a_foreign_page_or_another_path_is_refused_as_ever(server: OpeningServer) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(server.ws, origin=Origin("http://evil.example")):
        pass
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused, connect(server.ws + "s"):
        pass
    assert refused.value.response.status_code == 404


def test_message_that_was_sent_with_the_handshake_is_not_processed(server: OpeningServer) -> None:
    with connect(server.ws, subprotocols=[Subprotocol(SUBPROTOCOL)]) as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send("{}")
        assert msgspec.json.decode(socket.recv(TIMEOUT_S))["type"] == "connection:closed"
        with pytest.raises(ConnectionClosed):
            socket.recv(TIMEOUT_S)


# The end.


def test_stop_while_opening_ends_the_opening_and_refuses_everything(server: OpeningServer) -> None:
    server.call(server.app.drain)
    server.wait(lambda: server.app.opening_error() is None)
    answer = httpx.get(f"{server.http}/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert httpx.get(f"{server.http}/healthz").status_code == 200
    assert server.slow.opened == []


async def test_log_that_opens_in_spite_of_the_stop_is_closed() -> None:
    slow = SlowLog()
    slow.ignores_stop = True
    app = HubApp(slow.open)
    app.start()
    waiting = asyncio.create_task(app.opened())
    await asyncio.sleep(0)
    app.drain()
    slow.release()
    with pytest.raises(Draining):
        await waiting
    assert [log.closed for log in slow.opened] == [True]
    app.stop()


async def test_stop_waits_for_the_thread_and_closes_its_log() -> None:
    slow = SlowLog()
    slow.ignores_stop = True
    app = HubApp(slow.open)
    app.start()
    slow.wait_until_it_waits()
    slow.release()
    app.stop()
    assert [log.closed for log in slow.opened] == [True]
    with pytest.raises(Draining):
        await app.opened()
    with pytest.raises(Draining):
        app.running()


async def test_failed_opening_is_reported_and_tried_again() -> None:
    slow = SlowLog()
    app = HubApp(slow.open)
    slow.release(LogInUse("process 42 holds the data folder"))
    with pytest.raises(LogInUse, match="process 42"):
        await app.opened()
    with pytest.raises(LogInUse, match="process 42"):
        app.running()
    slow.release()
    await app.opened()
    assert app.started
    app.stop()


async def test_start_begins_one_opening() -> None:
    slow = SlowLog()
    app = HubApp(slow.open)
    for _ in range(3):
        app.start()
        with pytest.raises(LogOpening, match=r"500,000|opening its log"):
            app.running()
    assert slow.openings == 1
    slow.release()
    await asyncio.gather(app.opened(), app.opened())
    assert slow.openings == 1
    app.stop()


# Applications that embed the hub.


def test_server_with_a_lifespan_is_reachable_when_the_log_is_open() -> None:
    slow = SlowLog()
    with HubServer("asgi", open_log=slow.open) as server:
        slow.wait_until_it_waits()
        assert not server.call(lambda: server.server.started)
        slow.release()
        assert httpx.get(f"{server.http}/readyz", timeout=TIMEOUT_S).json() == {"status": "ready"}


async def test_lifespan_begins_when_the_log_is_open() -> None:
    slow = SlowLog()
    app = HubApp(slow.open)
    lifespan = app.lifespan()
    entering = asyncio.create_task(lifespan.__aenter__())
    await asyncio.to_thread(slow.wait_until_it_waits)
    assert not entering.done()
    slow.release()
    await entering
    assert app.started
    await lifespan.__aexit__(None, None, None)
    assert [log.closed for log in slow.opened] == [True]


async def test_lifespan_raises_the_error_of_the_log() -> None:
    slow = SlowLog()
    slow.release(LogInUse("process 42 holds the data folder"))
    with pytest.raises(LogInUse):
        async with HubApp(slow.open).lifespan():
            pass


async def test_signal_ends_a_lifespan_that_waits_for_its_log() -> None:
    slow, calls = SlowLog(), list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        app = HubApp(slow.open)
        lifespan = app.lifespan()
        entering = asyncio.create_task(lifespan.__aenter__())
        await asyncio.to_thread(slow.wait_until_it_waits)
        signal.raise_signal(signal.SIGTERM)
        await entering  # the server goes on to its own end
        assert calls == [signal.SIGTERM]
        assert not app.started
        await lifespan.__aexit__(None, None, None)
        assert slow.opened == []
    finally:
        signal.signal(signal.SIGTERM, before)


def test_first_request_to_a_mounted_hub_waits_for_its_log() -> None:
    slow = SlowLog()

    def mount(app: HubApp) -> Starlette:
        return Starlette(routes=[Mount("/tidings", app)])

    with HubServer("asgi", wrap=mount, open_log=slow.open, check_host=False) as server:
        hub = f"{server.http}/tidings"
        assert httpx.get(f"{hub}/healthz").status_code == 200
        assert slow.openings == 0
        with httpx.Client(timeout=0.2) as hasty, pytest.raises(httpx.ReadTimeout):
            hasty.get(f"{hub}/readyz")
        assert httpx.get(f"{hub}/healthz").status_code == 200
        slow.release()
        assert httpx.post(f"{hub}/v1/events", json=update("d"), timeout=TIMEOUT_S).status_code == 200
        assert slow.openings == 1


async def test_publishing_to_an_embedded_hub_waits_for_its_log() -> None:
    slow = SlowLog()
    app = HubApp(slow.open, config=HubConfig(**QUIET))
    publishing = asyncio.create_task(app.publish("data:update", {"dataset": "d"}))
    await asyncio.to_thread(slow.wait_until_it_waits)
    slow.release()
    assert (await publishing).position.endswith(":1")
    app.stop()
