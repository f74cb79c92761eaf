"""Two nodes over a cluster of three real servers that fail: nothing acknowledged is lost, or stored twice."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import Signals

import nats
import pytest
from tests.log.journal.publishers import Publishers
from tests.nats_server import NatsServer, start_cluster

from tidings.log.journal.jetstream import open_jetstream
from tidings.log.journal.jetstream_stream import JetStreamAddress, parse_address

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]
Fault = Callable[[NatsServer, list[NatsServer]], Coroutine[None, None, None]]
_STALL_S = 6.0
_KILLS = 2


@contextmanager
def cluster(folder: Path) -> Iterator[list[NatsServer]]:
    servers = start_cluster(folder, 3)
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


async def find_leader(address: JetStreamAddress, servers: list[NatsServer]) -> NatsServer:
    """Return the server that leads the stream, when all others have its entries."""
    connection = await nats.connect(list(address.servers))
    while True:
        with suppress(nats.errors.Error):  # a stream without a leader
            info = await connection.jetstream().stream_info(address.stream)
            assert info.cluster is not None
            replicas = info.cluster.replicas or []
            if len(replicas) == len(servers) - 1 and all(each.current and not each.lag for each in replicas):
                break
        await asyncio.sleep(0.1)
    await connection.close()
    return next(server for server in servers if server.name == info.cluster.leader)


async def terminate(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.stop(Signals.SIGTERM)
    await asyncio.sleep(1)
    leader.start()


async def stall(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.send(Signals.SIGSTOP)
    await asyncio.sleep(_STALL_S)
    leader.send(Signals.SIGCONT)


async def lose_quorum(leader: NatsServer, followers: list[NatsServer]) -> None:
    for server in followers:
        server.send(Signals.SIGSTOP)
    await asyncio.sleep(_STALL_S)
    for server in followers:
        server.send(Signals.SIGCONT)


async def leave(leader: NatsServer, followers: list[NatsServer]) -> None:
    leader.send(Signals.SIGUSR2)  # lame duck: it passes its streams and clients to the others
    await asyncio.sleep(_STALL_S)
    leader.stop(Signals.SIGKILL)
    leader.start()


@pytest.mark.parametrize("fault", [terminate, stall, lose_quorum, leave])
def test_cluster_that_fails_loses_and_doubles_nothing(fault: Fault, tmp_path: Path) -> None:
    with cluster(tmp_path) as servers:
        asyncio.run(_check_fault(fault, servers))


def find_address(servers: list[NatsServer]) -> JetStreamAddress:
    hosts = ",".join(server.url.removeprefix("nats://") for server in servers)
    return parse_address(f"nats://{hosts}/hubs?replicas=3&max_bytes=100000000")


async def _check_fault(fault: Fault, servers: list[NatsServer]) -> None:
    address = find_address(servers)
    publishers = Publishers([await open_jetstream(address) for _ in range(2)])
    await publishers.start()
    leader = await find_leader(address, servers)
    await fault(leader, [server for server in servers if server is not leader])
    await publishers.measure_recovery(fault.__name__)
    await publishers.finish()


def test_leaders_that_are_killed_one_after_the_other_are_replaced(tmp_path: Path) -> None:
    with cluster(tmp_path) as servers:
        asyncio.run(_kill_leaders(servers))


async def _kill_leaders(servers: list[NatsServer]) -> None:
    address = find_address(servers)
    publishers = Publishers([await open_jetstream(address) for _ in range(2)])
    await publishers.start()
    for number in range(_KILLS):
        leader = await find_leader(address, servers)
        leader.stop(Signals.SIGKILL)
        await asyncio.sleep(1)
        leader.start()
        await publishers.measure_recovery(f"kill {number + 1}")
    await publishers.finish()
