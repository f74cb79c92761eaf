"""Networks and machines that fail between hubs and their database: with real servers, and nothing acknowledged lost."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals

import pytest
from tests.client.tcp_proxy import TcpProxy
from tests.log.journal.publishers import Publishers, wait_until
from tests.postgres_server import PostgresServer, new_postgres_server

from tidings.log.journal import postgres_session
from tidings.log.journal.postgres import PostgresJournal, open_postgres, parse_address
from tidings.testing.journal_conformance import RecordingFollower

_CUTS = 5
_GIVE_UP_S = 0.5


def url_of(*ports: int) -> str:
    return f"postgresql://tidings@{','.join(f'127.0.0.1:{port}' for port in ports)}/postgres?journal=hubs"


@contextmanager
def silent_port() -> Iterator[int]:
    """Listen on a port as a machine that is gone: connections to it are never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_node_that_is_cut_off_while_it_appends_holds_up_no_other() -> None:
    with new_postgres_server() as server:
        asyncio.run(_check_cut(server))


async def _check_cut(server: PostgresServer) -> None:
    async with TcpProxy(server.port) as network:
        one, other = [await open_postgres(parse_address(url_of(port))) for port in (network.port, server.port)]
        heard = RecordingFollower(other)
        for number in range(_CUTS):
            before = len(heard.bodies)
            appending = asyncio.create_task(_append_always(one))
            await wait_until(lambda before=before: len(heard.bodies) > before + 20)  # type: ignore[misc]
            network.stall()
            appending.cancel()
            other.append(b"other %d" % number)
            async with asyncio.timeout(postgres_session.STATEMENT_S / 2):
                await wait_until(lambda number=number: b"other %d" % number in heard.bodies)  # type: ignore[misc]
            network.resume()
        assert heard.seqs == list(range(1, len(heard.seqs) + 1))
        for journal in (one, other):
            journal.close()
            await journal.wait_closed()


async def _append_always(journal: PostgresJournal) -> None:
    while True:
        journal.append(b"one")
        await asyncio.sleep(0)


@pytest.mark.alone
def test_standby_that_is_promoted_has_all_that_was_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_session, "STATEMENT_S", _GIVE_UP_S)
    monkeypatch.setattr(postgres_session, "HOST_S", _GIVE_UP_S)
    with new_postgres_server(replicates=True) as primary, silent_port() as gone:
        standby = primary.copy_to(primary.folder.parent / "standby")
        standby.start()
        try:
            asyncio.run(_check_failover(primary, standby, gone))
        finally:
            standby.stop()


async def _check_failover(primary: PostgresServer, standby: PostgresServer, gone: int) -> None:
    address = parse_address(url_of(gone, standby.port, primary.port))
    publishers = Publishers([await open_postgres(address) for _ in range(2)])
    await publishers.start()
    standby.stop()
    await wait_until(lambda: all(publisher.log.failed for publisher in publishers.each))
    heads = [publisher.log.head for publisher in publishers.each]
    await asyncio.sleep(3 * _GIVE_UP_S)
    assert [publisher.log.head for publisher in publishers.each] == heads, "what no standby has is not seen"
    standby.start()
    await publishers.measure_recovery("standby away")
    primary.stop(Signals.SIGQUIT)
    standby.promote()
    await publishers.measure_recovery("failover")
    await publishers.finish()
