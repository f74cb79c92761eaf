import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.client.hub_server import TIMEOUT_S, HubServer
from tests.client.waiting import until
from websockets.asyncio.client import ClientConnection, connect

from tidings.client import websocket
from tidings.client.websocket import open_websocket

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    # Python 3.12 and later warn that a fork beside other threads is dangerous; that is why this is tested.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]
PROGRAM = [sys.executable, "-W", "error", "-m", "tests.client.forked_program"]


@contextmanager
def forked(hub: HubServer) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A producer and the pid of its child, both at rest."""
    parent = subprocess.Popen([*PROGRAM, hub.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    try:
        yield parent, int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.stdin.close()  # the child ends with its input
        assert parent.stdout.read() == b""
        parent.stdout.close()
        parent.wait(TIMEOUT_S)


async def test_connection_of_a_dead_parent_ends_while_its_child_lives(hub: HubServer) -> None:
    with forked(hub) as (parent, child):
        assert hub.connections() == 1
        parent.send_signal(signal.SIGKILL)
        await until(lambda: hub.connections() == 0)
        os.kill(child, 0)


def fork_and_look(socket: int) -> bytes:
    """Return the target of a descriptor in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, os.readlink(f"/proc/self/fd/{socket}").encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as stream:
        return stream.read()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
async def test_forked_child_closes_the_socket_and_the_parent_keeps_it(hub: HubServer) -> None:
    connection = await open_websocket(hub.url)
    await connection.receive()
    (opened,) = [one for one in websocket._open if not one.transport.is_closing()]
    socket = opened.transport.get_extra_info("socket").fileno()
    assert fork_and_look(socket) == os.devnull.encode()
    await connection.send(b'{"type":"connection:ping","id":"1","data":null}')
    assert b"connection:pong" in await connection.receive()
    await connection.aclose()


async def test_connection_opened_during_a_fork_is_replaced(hub: HubServer) -> None:
    """The child could not close its copy, which was not registered yet."""
    opened: list[ClientConnection] = []

    async def opening() -> ClientConnection:
        connection = await connect(hub.url, subprotocols=["tidings.v1"], proxy=None)  # type: ignore[list-item]
        opened.append(connection)
        if len(opened) == 1:
            await asyncio.to_thread(fork_and_look, connection.transport.get_extra_info("socket").fileno())
        return connection

    kept = await websocket.open_fork_safe(opening)
    assert len(opened) == 2
    assert kept is opened[1]
    assert opened[0].close_code == 1000
    await kept.close()
