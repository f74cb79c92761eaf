import asyncio
import socket
import sys

import pytest
from tests.server.conftest import LoopFactory

from tidings.server.websocket.socket_options import (
    DEFAULT_PEER_TIMEOUT_S,
    MAX_UNSENT_BYTES,
    apply_socket_options,
    set_peer_timeout,
)


class Tuned(asyncio.Protocol):
    """Sets the options on its transport and records their values in the kernel."""

    def __init__(self, options: asyncio.Future[dict[str, int]]) -> None:
        self.options = options

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        apply_socket_options(transport)
        tcp_socket = transport.get_extra_info("socket")
        names = ["TCP_NODELAY", "TCP_NOTSENT_LOWAT", "TCP_USER_TIMEOUT"]
        read = {name: tcp_socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
        read["SO_KEEPALIVE"] = tcp_socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        self.options.set_result(read)
        transport.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have other options")
def test_linux_options_are_set(loop_factory: LoopFactory) -> None:
    async def accept_one() -> dict[str, int]:
        loop = asyncio.get_running_loop()
        options: asyncio.Future[dict[str, int]] = loop.create_future()
        server = await loop.create_server(lambda: Tuned(options), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            read = await asyncio.wait_for(options, 60)
            writer.close()
            await writer.wait_closed()
            return read

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        options = runner.run(accept_one())
    assert options.pop("TCP_NODELAY") != 0
    assert options.pop("SO_KEEPALIVE") != 0
    assert options == {"TCP_NOTSENT_LOWAT": MAX_UNSENT_BYTES, "TCP_USER_TIMEOUT": DEFAULT_PEER_TIMEOUT_S * 1000}


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels have other options")
@pytest.mark.parametrize(
    ("lease_s", "expected"), [(1, (10_000, 5, 2)), (30, (30_000, 15, 7)), (86_400, (60_000, 30, 10))]
)
def test_peer_timeout_follows_the_lease(lease_s: float, expected: tuple[int, int, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:

        class Transport(asyncio.BaseTransport):
            pass

        set_peer_timeout(Transport(extra={"socket": peer}), lease_s)
        names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL")
        read = tuple(peer.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names)
    assert read == expected


def test_other_sockets_are_left_unchanged() -> None:
    class Pipe(asyncio.BaseTransport):
        pass

    apply_socket_options(Pipe())  # has no socket at all
    left, right = socket.socketpair()
    with left, right:
        apply_socket_options(Pipe(extra={"socket": left}))
        assert left.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
