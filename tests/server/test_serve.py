import asyncio
import errno
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn
from tests.server.conftest import LoopFactory
from tests.server.echo import Message, app
from tests.server.raw_client import RawClient, close, text
from tests.server.server_process import ServerProcess

import tidings.server.serve as serve_module
from tidings.exceptions import AddressInUse, AddressUnavailable, ConfigError
from tidings.server.serve import DrainingServer, ListenAddress, duplicate_listeners, listen

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals to another process are POSIX")


@pytest.fixture(params=["auto", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_stream(port: int) -> RawClient:
    client = RawClient(port)
    client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"data: tick" not in received:
        received += client.socket.recv(1000)
    return client


# The end of a process.


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_websockets_and_streams_and_exits_0(number: int, loop: str) -> None:
    with ServerProcess("--grace", "1", "--loop", loop) as server, ExitStack() as stack:
        websockets = [stack.enter_context(RawClient(server.port)) for _ in range(3)]
        for client in websockets:
            client.open()
        streams = [stack.enter_context(open_stream(server.port)) for _ in range(3)]
        server.signal(number)
        server.wait_drain()
        for client in websockets:
            assert client.closing().code == 1001
            client.send(close(1001))
            client.wait_eof()
        for stream in streams:
            stream.wait_eof()
        with pytest.raises(ConnectionRefusedError):
            RawClient(server.port)
        code, errors = server.wait()
    assert code == 0, errors


@posix
def test_silent_clients_are_aborted_within_the_grace_period() -> None:
    with ServerProcess("--grace", "0.5") as server, RawClient(server.port) as client, RawClient(server.port) as silent:
        client.open()
        silent.send(b"GET /half-a-request HTTP/1.1\r\n")
        server.signal(signal.SIGTERM)
        code, errors = server.wait()
        assert code == 0, errors
        assert client.closing().code == 1001


@posix
def test_second_ctrl_c_ends_immediately() -> None:
    with ServerProcess("--grace", "30") as server, RawClient(server.port) as client:
        client.open()
        server.signal(signal.SIGINT)
        server.wait_drain()
        server.signal(signal.SIGINT)
        code, _ = server.wait()
    assert code == -signal.SIGINT


@posix
def test_second_sigterm_changes_nothing() -> None:
    with ServerProcess("--grace", "30") as server, RawClient(server.port) as client:
        client.open()
        server.signal(signal.SIGTERM)
        server.wait_drain()
        server.signal(signal.SIGTERM)
        assert client.closing().code == 1001
        client.send(close(1001))
        assert server.wait()[0] == 0


def test_run_with_a_port_in_use_raises_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=rf"AddressInUse: cannot listen on 127\.0\.0\.1 port {port}: \w+"):
            ServerProcess("--port", str(port)).__enter__()


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_certificate_enables_tls(certificate: tuple[Path, Path], loop: str) -> None:
    trust = ssl.create_default_context(cafile=certificate[0])
    options = ["--certificate", str(certificate[0]), "--key", str(certificate[1]), "--loop", loop, "--grace", "1"]
    with ServerProcess(*options) as server, RawClient(server.port, tls=trust) as client:
        assert client.open().startswith("HTTP/1.1 101 ")
        client.send(text(b"over TLS"))
        assert client.frame().data == b"over TLS"
        client.send(text(b"x" * 300_000)[:1_000])  # refused by its length: the rest would meet a closed socket
        assert client.closing().code == 1009
    with ServerProcess(*options) as server, RawClient(server.port, tls=trust) as client:
        client.open()
        server.signal(signal.SIGTERM)
        assert client.closing().code == 1001
        client.send(close(1001))
        code, errors = server.wait()
        assert code == 0, errors


@pytest.mark.parametrize("broken", ["no such file", "not PEM", "another key"])
def test_invalid_certificate_raises_config_error(certificate: tuple[Path, Path], tmp_path: Path, broken: str) -> None:
    chain, key = certificate
    if broken == "no such file":
        chain = tmp_path / "missing.pem"
    elif broken == "not PEM":
        chain = tmp_path / "empty.pem"
        chain.write_text("")
    else:
        key = tmp_path / "other.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    runner = DrainingServer(app, port=0, ssl_certfile=chain, ssl_keyfile=key)
    with pytest.raises(ConfigError) as caught:
        runner.run()
    assert caught.value.option == "ssl_certfile"
    assert ("missing.pem" in str(caught.value)) == (broken == "no such file")


def test_key_without_certificate_raises_config_error() -> None:
    with pytest.raises(ConfigError, match="certificate"):
        DrainingServer(app, ssl_keyfile="key.pem")


# Inside a running loop.


class Hooks:
    """Records the hooks that the server calls, and stops it once it is ready."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.addresses: list[ListenAddress] = []
        self.runner: DrainingServer

    def ready(self, addresses: object) -> None:
        assert isinstance(addresses, list)
        self.addresses = addresses
        self.seen.append("ready")
        self.runner.stop()

    async def drain(self) -> None:
        self.seen.append("drain")

    async def app(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        for name in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{name}"
            self.seen.append(name)
            await send({"type": f"lifespan.{name}.complete"})


def test_hooks_are_called_in_order(loop_factory: LoopFactory) -> None:
    hooks = Hooks()
    hooks.runner = DrainingServer(hooks.app, port=0, on_ready=hooks.ready, on_drain=hooks.drain)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(hooks.runner.serve())
    assert hooks.seen == ["startup", "ready", "drain", "shutdown"]
    assert hooks.addresses[0].host == "127.0.0.1"
    assert hooks.addresses[0].port > 0


def test_requests_that_arrive_as_a_drain_begins_are_answered(loop_factory: LoopFactory) -> None:
    hooks, request = Hooks(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients: list[socket.socket] = []

    def connect() -> None:
        for has_sent in (False, True):
            clients.append(socket.create_connection(hooks.addresses[0], timeout=60))
            if has_sent:
                clients[-1].sendall(request)
                assert clients[-1].recv(65_536).startswith(b"HTTP/1.1 200")

    async def send() -> None:
        for client in clients:
            client.sendall(request)  # blocks the loop: the kernel has it, and the server has not read it

    async def serve() -> None:
        hooks.runner = DrainingServer(app, port=0, on_ready=hooks.addresses.extend, on_drain=send, lifespan="off")
        serving = asyncio.create_task(hooks.runner.serve())
        while not hooks.addresses:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)
        await asyncio.to_thread(connect)
        hooks.runner.stop()
        await serving

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve())
    for client in clients:
        with client:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_connections_that_wait_as_a_drain_begins_are_answered(loop_factory: LoopFactory) -> None:
    hooks, request = Hooks(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients: list[socket.socket] = []

    async def serve() -> None:
        hooks.runner = DrainingServer(app, port=0, on_ready=hooks.addresses.extend, lifespan="off")
        serving = asyncio.create_task(hooks.runner.serve())
        while not hooks.addresses:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)
        for _ in range(100):  # blocks the loop: they wait in the kernel, more of them than are accepted in one tick
            clients.append(socket.create_connection(hooks.addresses[0], timeout=60))
            clients[-1].sendall(request)
        hooks.runner.stop()
        await serving

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve())
    for client in clients:
        with client:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_request_over_an_idle_connection_during_a_drain_ends_it(
    loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_FIRST_REQUEST_S", 60.0)  # the drain ends as the connection does
    hooks, request = Hooks(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients: list[socket.socket] = []

    def connect() -> None:
        clients.append(socket.create_connection(hooks.addresses[0], timeout=60))
        clients[0].sendall(request)
        assert b"connection: close" not in clients[0].recv(65_536).lower()

    async def serve() -> None:
        hooks.runner = DrainingServer(
            app, port=0, on_ready=hooks.addresses.extend, on_drain=hooks.drain, lifespan="off"
        )
        serving = asyncio.create_task(hooks.runner.serve())
        while not hooks.addresses:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)
        await asyncio.to_thread(connect)
        hooks.runner.stop()
        await asyncio.sleep(0.2)
        assert hooks.seen == [], "the hub accepts events until the connection has had its request"
        clients[0].sendall(request)
        await serving

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve())
    with clients[0] as client:
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()


async def test_failing_or_hanging_drain_does_not_block_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("as if the hub had a fault")

    async def hang() -> None:
        await asyncio.Event().wait()

    for drain in (fail, hang):
        hooks = Hooks()
        hooks.runner = DrainingServer(hooks.app, port=0, on_ready=hooks.ready, on_drain=drain, grace_s=0.1)
        await asyncio.wait_for(hooks.runner.serve(), 10)
        assert hooks.seen == ["startup", "ready", "shutdown"]
    assert "as if the hub had a fault" in caplog.text
    assert "the drain took more than" in caplog.text


async def test_hanging_lifespan_does_not_block_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    never = asyncio.Event()  # kept here, so that tasks that wait for it are not garbage-collected

    async def stubborn(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await never.wait()

    hooks = Hooks()
    hooks.runner = DrainingServer(stubborn, port=0, on_ready=hooks.ready, grace_s=0.1)
    await asyncio.wait_for(hooks.runner.serve(), 10)
    assert "did not shut down" in caplog.text


async def test_serve_with_a_port_in_use_raises_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressInUse):
        await DrainingServer(app, port=taken.getsockname()[1]).serve()


def test_signal_handlers_are_restored_after_serving(loop_factory: LoopFactory) -> None:
    before = signal.getsignal(signal.SIGTERM)
    hooks = Hooks()
    hooks.runner = DrainingServer(hooks.app, port=0, on_ready=hooks.ready)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(hooks.runner.serve())
    assert signal.getsignal(signal.SIGTERM) is before


# Listening sockets.


def close_all(sockets: Sequence[socket.socket]) -> None:
    for opened in sockets:
        opened.close()


def test_port_0_picks_a_free_port() -> None:
    [listening] = listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname(), timeout=60):
        assert listening.getsockname()[1] > 0


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
        assert {opened.getsockname()[0] for opened in sockets} <= {info[4][0] for info in found}
    finally:
        close_all(sockets)


def test_port_in_use_raises_address_in_use_with_a_hint() -> None:
    [listening] = listen("127.0.0.1", 0)
    with listening:
        port = listening.getsockname()[1]
        with pytest.raises(AddressInUse) as caught:
            listen("127.0.0.1", port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)
    assert f"127.0.0.1 port {port}" in str(caught.value)
    assert "--port" in caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EADDRINUSE


@pytest.mark.parametrize(
    ("host", "port", "hint"),
    [
        ("192.0.2.1", 0, "--host 127.0.0.1"),  # TEST-NET-1, which no machine has (RFC 5737)
        ("no-such-host.invalid", 0, "--host"),  # RFC 2606
        ("a..b", 0, "--host"),
        ("127.0.0.1", 65536, "0 to 65535"),
        ("127.0.0.1", -1, "0 to 65535"),
    ],
)
def test_foreign_address_raises_address_unavailable(host: str, port: int, hint: str) -> None:
    with pytest.raises(AddressUnavailable) as caught:
        listen(host, port)
    assert (caught.value.host, caught.value.port) == (host, port)
    assert hint in caught.value.hint


def test_missing_address_family_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        foreign, ours = ("2001:db8::1", 0, 0, 0), ("127.0.0.1", 0)  # RFC 3849
        return [(socket.AF_INET6, 0, 0, "", foreign), (socket.AF_INET, 0, 0, "", ours)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    [listening] = listen("a-name", 0)
    with listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_restart_reuses_the_port_of_lingering_connections() -> None:
    [listening] = listen("127.0.0.1", 0)
    with listening:
        listening.setblocking(True)
        address = listening.getsockname()
        with socket.create_connection(address, timeout=60) as client:
            accepted, _ = listening.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    close_all(listen(*address))


async def count_ticks_to_accept(sockets: Sequence[socket.socket], clients: int) -> int:
    """Return the number of ticks in which the running loop accepts clients that are all connected already."""
    loop = asyncio.get_running_loop()
    ticks = accepted = 0

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1
            transport.close()

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if accepted < clients:
            loop.call_soon(tick)
        else:
            done.set()

    done = asyncio.Event()
    servers = [await loop.create_server(Accepted, sock=opened, backlog=clients) for opened in sockets]
    connected = [socket.create_connection(sockets[0].getsockname(), timeout=60) for _ in range(clients)]
    tick()
    await done.wait()
    for server in servers:
        server.close()
    close_all(connected)
    return ticks


def test_crowd_is_accepted_a_dozen_per_tick() -> None:
    sockets = listen("127.0.0.1", 0)
    doors = [*sockets, *duplicate_listeners(sockets)]
    try:
        # The loop that serves: uvloop's where it is installed.
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            assert runner.run(count_ticks_to_accept(doors, 160)) <= 20
    finally:
        close_all(doors)
