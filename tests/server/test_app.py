"""The hub as an application: under our own server, under plain uvicorn, and mounted in another application."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.nats_server import free_port
from tests.server.hub_server import QUIET, HubServer, Stream, update
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tidings.exceptions import ConfigError, Draining
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals to another process are POSIX")
TIMEOUT_S = 60.0


def open_log(scheduler: Scheduler) -> Log:
    return MemoryLog("0badcafe")


@contextmanager
def program(*command: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a program during the block, which starts when its port answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=TIMEOUT_S)


def uvicorn(name: str, port: int) -> tuple[str, ...]:
    return "uvicorn", f"tests.server.asgi_programs:{name}", "--port", str(port), "--log-level", "warning"


def wait_closed(stream: Stream) -> dict[str, Any]:
    """Read a stream to its end and return the hub's last message."""
    last: dict[str, Any] = {}
    try:
        while True:
            last = stream.message()
    except EOFError:
        return last


# Signals.


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["hub", "parent"])
def test_uvicorn_ends_its_open_streams(name: str, number: int) -> None:
    port = free_port()
    prefix = "/tidings" if name == "parent" else ""
    with (
        program(*uvicorn(name, port), port=port) as process,
        connect(f"ws://127.0.0.1:{port}{prefix}/ws") as websocket,
        Stream(port, prefix=prefix) as stream,
    ):
        stream.until("channel:live")
        process.send_signal(number)
        assert wait_closed(stream)["data"]["code"] == 4100
        messages: list[Any] = []
        with pytest.raises(ConnectionClosedError):
            messages.extend(websocket)
        # On a busy machine, uvicorn may end a WebSocket before the hub does: with a code of its own.
        if websocket.close_code != 1012:
            assert msgspec.json.decode(messages[-1])["type"] == "connection:closed"
            assert websocket.close_code == 4100
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in output
    # uvicorn raises the signal again after an orderly end.
    assert process.returncode in (0, -number)


@posix
def test_own_server_ends_its_open_streams_and_exits_0() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.asgi_programs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with Stream(port) as first, Stream(port, receive_buffer=4096) as second:
            for stream in (first, second):
                stream.until("channel:live")
            process.send_signal(signal.SIGTERM)
            for stream in (first, second):
                assert wait_closed(stream)["data"]["code"] == 4100
            _, errors = process.communicate(timeout=TIMEOUT_S)
            assert (process.returncode, errors) == (0, "")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@posix
def test_hub_that_cannot_start_logs_the_error_and_ends_the_server() -> None:
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-m", *uvicorn("broken", port)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode != 0
    assert "process 42 holds the data folder (Stop it.)" in done.stderr
    assert "Traceback" not in done.stderr


# Mounted.


def test_mounted_hub_serves_all_routes_below_its_path() -> None:
    def mount(hub: HubApp) -> Starlette:
        return Starlette(routes=[Mount("/tidings", hub)], lifespan=hub.lifespan)

    with HubServer("asgi", wrap=mount, check_host=False) as server:
        below = f"{server.http}/tidings"
        assert server.call(lambda: server.app.started), "the lifespan starts it before its first use"
        assert httpx.get(f"{below}/").json()["name"] == "tidings"
        assert httpx.get(f"{below}/healthz").status_code == 200
        assert httpx.get(f"{server.http}/healthz").status_code == 404
        with (
            Stream(server.port, "?since=now", prefix="/tidings") as stream,
            connect(f"ws://127.0.0.1:{server.port}/tidings/ws?channel=data") as websocket,
        ):
            stream.until("channel:live")
            assert msgspec.json.decode(websocket.recv())["type"] == "connection:established"
            position = httpx.post(f"{below}/v1/events", json=update("a", 1)).json()["position"]
            assert stream.events(1)[0]["position"] == position
            assert msgspec.json.decode(websocket.recv())["data"] == update("a", 1)["data"]
        assert httpx.get(f"{below}/v1/snapshot").json()["events"][0]["position"] == position
        assert httpx.put(f"{below}/v1/events").json()["code"] == "method_not_allowed"
        assert httpx.get(f"{below}/nope").json()["code"] == "not_found"


def test_mounted_hub_without_lifespan_starts_at_first_use() -> None:
    def mount(hub: HubApp) -> Starlette:
        return Starlette(routes=[Mount("/tidings", hub)])

    with HubServer("asgi", wrap=mount) as server:
        assert not server.call(lambda: server.app.started)
        assert httpx.get(f"{server.http}/tidings/healthz").status_code == 200
        assert not server.call(lambda: server.app.started), "liveness needs no hub"
        assert httpx.post(f"{server.http}/tidings/v1/events", json=update("a")).status_code == 200
        assert server.call(lambda: server.app.started)


# Lifespan.


async def test_lifespan_runs_the_hub_and_may_be_repeated() -> None:
    app = HubApp(open_log, config=HubConfig(**QUIET))
    for _ in range(2):
        async with app.lifespan():
            assert app.started
            first = app.hub
        assert not app.started
        assert first.closed
        with pytest.raises(Draining):
            app.running()


async def test_start_twice_starts_once() -> None:
    app = HubApp(open_log, config=HubConfig(**QUIET))
    app.start()
    hub = app.hub
    app.start()
    assert app.hub is hub
    app.stop()
    app.stop()


async def test_signal_handlers_are_restored_after_the_lifespan() -> None:
    calls: list[int] = []

    def theirs(number: int, frame: object) -> None:
        calls.append(number)

    before = signal.signal(signal.SIGTERM, theirs)
    try:
        app = HubApp(open_log, config=HubConfig(**QUIET))
        async with app.lifespan():
            assert signal.getsignal(signal.SIGTERM) is not theirs
            signal.raise_signal(signal.SIGTERM)
            assert calls == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_unhandled_signal_stays_unhandled() -> None:
    app = HubApp(open_log, config=HubConfig(**QUIET))
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    async with app.lifespan():
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("path", ["/v1", "/ws", "/v1/events", "/docs", "/metrics/"])
def test_root_path_that_is_a_route_raises(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HubApp(lambda scheduler: MemoryLog("0badcafe"), root_path=path)
    assert caught.value.option == "root-path"
    HubApp(lambda scheduler: MemoryLog("0badcafe"), root_path="/v2")
