import asyncio
import errno
import socket
from collections.abc import Sequence

import pytest
import uvicorn

from tidings.exceptions import AddressInUse, AddressUnavailable
from tidings.server.serve import duplicate_listeners, listen


def close_all(sockets: Sequence[socket.socket]) -> None:
    for opened in sockets:
        opened.close()


def test_port_0_picks_a_free_port_that_accepts() -> None:
    [listening] = listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname(), timeout=5):
        assert listening.getsockname()[1] > 0


def test_every_address_of_a_name_gets_the_same_port() -> None:
    sockets = listen("localhost", 0)
    try:
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
        assert {opened.getsockname()[0] for opened in sockets} <= {info[4][0] for info in found}
    finally:
        close_all(sockets)


def test_a_port_in_use_is_named_with_a_way_out() -> None:
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
        ("192.0.2.1", 0, "--host 127.0.0.1"),  # TEST-NET-1, no machine's own (RFC 5737)
        ("no-such-host.invalid", 0, "--host"),  # RFC 2606
        ("a..b", 0, "--host"),
        ("127.0.0.1", 65536, "0 to 65535"),
        ("127.0.0.1", -1, "0 to 65535"),
    ],
)
def test_an_address_that_is_not_ours_is_explained(host: str, port: int, hint: str) -> None:
    with pytest.raises(AddressUnavailable) as caught:
        listen(host, port)
    assert (caught.value.host, caught.value.port) == (host, port)
    assert hint in caught.value.hint


def test_an_address_family_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        foreign, ours = ("2001:db8::1", 0, 0, 0), ("127.0.0.1", 0)  # RFC 3849
        return [(socket.AF_INET6, 0, 0, "", foreign), (socket.AF_INET, 0, 0, "", ours)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    [listening] = listen("a-name", 0)
    with listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_restart_may_take_the_port_while_old_connections_linger() -> None:
    [listening] = listen("127.0.0.1", 0)
    with listening:
        listening.setblocking(True)
        address = listening.getsockname()
        with socket.create_connection(address, timeout=5) as client:
            accepted, _ = listening.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
            assert client.recv(1) == b""
    close_all(listen(*address))


async def count_ticks_to_accept(sockets: Sequence[socket.socket], clients: int) -> int:
    """Return how many ticks of the running loop it takes to accept clients who are all there already."""
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
    connected = [socket.create_connection(sockets[0].getsockname(), timeout=5) for _ in range(clients)]
    tick()
    await done.wait()
    for server in servers:
        server.close()
    close_all(connected)
    return ticks


def test_many_who_come_at_once_are_let_in_by_the_dozen() -> None:
    sockets = listen("127.0.0.1", 0)
    doors = [*sockets, *duplicate_listeners(sockets)]
    try:
        # The loop that serves: uvloop's where it is installed.
        with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
            assert runner.run(count_ticks_to_accept(doors, 160)) <= 20
    finally:
        close_all(doors)
