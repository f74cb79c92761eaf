"""What may happen to a journal in a database and to its server while hubs use it: with a real PostgreSQL."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from signal import Signals

import asyncpg
import pytest
from msgspec import structs
from tests.log.journal.harnesses import PostgresHarness
from tests.postgres_server import PostgresServer, new_postgres_server

from tidings.exceptions import LogForeign, LogTooNew, LogUnavailable
from tidings.log.journal.base import JournalEntry, LossReason, Mark
from tidings.log.journal.postgres import open_postgres, parse_address
from tidings.log.journal.postgres_tables import TABLES
from tidings.log.journal.snapshots import SnapshotInfo
from tidings.testing.journal_conformance import RecordingFollower, append, fill


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with new_postgres_server() as server:
        yield server


@pytest.fixture
def harness(server: PostgresServer) -> Iterator[PostgresHarness]:
    with closing(PostgresHarness(server)) as harness:
        yield harness


def administer(harness: PostgresHarness, *statements: str) -> None:
    """Run statements as an administrator."""

    async def connect() -> None:
        connection = await asyncpg.connect(harness.address.dsn)
        for statement in statements:
            await connection.execute(statement.format(name=harness.address.name))
        await connection.close()

    harness.run(connect())


@pytest.mark.parametrize("signal", [Signals.SIGINT, Signals.SIGQUIT], ids=["stopped", "crashed"])
def test_server_that_starts_again_loses_nothing(
    harness: PostgresHarness, server: PostgresServer, signal: Signals
) -> None:
    writer, other = RecordingFollower(harness.open()), RecordingFollower(harness.open())
    for number in range(10):
        append(harness, writer, b"before %d" % number)
    server.stop(signal)
    writer.journal.append(b"lost")
    assert harness.run(_eventually(lambda: isinstance(writer.journal.failure, LogUnavailable)))
    server.start()
    for number in range(10):
        append(harness, writer, b"after %d" % number)
    assert harness.wait_until(lambda: other.entries == writer.entries)
    assert writer.journal.failure is None
    assert writer.seqs == list(range(1, len(writer.seqs) + 1))
    assert (writer.losses, other.losses) == ([], [])


async def _eventually(condition: "object") -> bool:
    assert callable(condition)
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the journal tells no one
            await asyncio.sleep(0.01)
    return True


def test_connections_that_are_cut_are_opened_again(harness: PostgresHarness) -> None:
    follower = fill(harness, 3)
    for number in range(3):
        administer(harness, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings'")
        append(harness, follower, b"after %d" % number)
    assert follower.seqs == list(range(1, len(follower.seqs) + 1))
    assert follower.losses == []


def test_transaction_that_holds_the_journal_delays_appends_only(harness: PostgresHarness) -> None:
    follower, other = RecordingFollower(harness.open()), RecordingFollower(harness.open())
    append(harness, follower, b"before")

    async def hold() -> list[bytes]:
        connection = await asyncpg.connect(harness.address.dsn)
        try:
            async with connection.transaction():
                await connection.execute(
                    "SELECT FROM tidings_journals WHERE name = $1 FOR UPDATE", harness.address.name
                )
                follower.journal.append(b"first")
                other.journal.append(b"second")
                await asyncio.sleep(0.1)
                return follower.bodies
        finally:
            await connection.close()

    assert set(harness.run(hold())) == {b"before"}
    assert harness.wait_until(lambda: {b"first", b"second"} <= set(follower.bodies))
    assert harness.wait_until(lambda: follower.entries == other.entries)


def test_journal_that_is_deleted_is_a_loss(harness: PostgresHarness) -> None:
    follower = fill(harness, 3)
    administer(harness, "DELETE FROM tidings_journals WHERE name = '{name}'")
    assert harness.wait_until(lambda: follower.losses)
    assert follower.losses == [LossReason.REWRITTEN]
    with pytest.raises(LogUnavailable, match="was deleted"):
        harness.run(follower.journal.look())
    follower.journal.append(b"to no one")
    assert harness.run(_eventually(lambda: follower.journal.failure is not None))


def test_entry_that_an_administrator_deletes_is_a_loss(harness: PostgresHarness) -> None:
    last = fill(harness, 6).seqs[-1]
    administer(harness, "DELETE FROM tidings_journal_entries WHERE name = '{name}' AND seq = 3")
    late = RecordingFollower(harness.open())
    assert harness.wait_until(lambda: late.losses)
    assert late.losses == [LossReason.FAILED]
    assert late.seqs == [1, 2]
    assert last >= 6


def test_journals_of_one_database_know_nothing_of_each_other(harness: PostgresHarness, server: PostgresServer) -> None:
    with closing(PostgresHarness(server)) as second:
        ours, theirs = fill(harness, 3), fill(second, 5)
        assert ours.seqs == list(range(1, len(ours.seqs) + 1))
        assert theirs.seqs == list(range(1, len(theirs.seqs) + 1))


def test_journal_of_a_newer_version_is_refused(harness: PostgresHarness) -> None:
    fill(harness, 1)
    administer(harness, "UPDATE tidings_journals SET format = 2 WHERE name = '{name}'")
    with pytest.raises(LogTooNew, match="has format 2"):
        harness.open()


def test_tables_of_others_are_refused(server: PostgresServer) -> None:
    async def refuse() -> None:
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE DATABASE other")
        await connection.close()
        connection = await asyncpg.connect(server.url.replace("/postgres", "/other"))
        await connection.execute("CREATE TABLE tidings_journals (title text)")
        await connection.close()
        with pytest.raises(LogForeign, match="not those of a journal"):
            await open_postgres(parse_address(server.url.replace("/postgres", "/other")))

    asyncio.run(refuse())


def test_role_without_rights_and_server_that_is_away_are_named(server: PostgresServer) -> None:
    async def refuse() -> None:
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE ROLE guest LOGIN")
        await connection.execute("CREATE DATABASE closed")
        await connection.close()
        with pytest.raises(LogUnavailable, match="permission denied") as refused:
            await open_postgres(
                parse_address(server.url.replace("tidings@", "guest:secret@").replace("/postgres", "/closed"))
            )
        assert "create tables" in refused.value.hint
        with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1/") as caught:
            await open_postgres(parse_address("postgresql://hub:secret@127.0.0.1:1/postgres"))
        assert "secret" not in str(caught.value)

    asyncio.run(refuse())


RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


@pytest.mark.parametrize("missing", ["", *RIGHTS])
def test_role_needs_the_documented_rights_and_no_others(
    harness: PostgresHarness, server: PostgresServer, missing: str
) -> None:
    harness.open()  # creates the tables
    granted = ", ".join(right for right in RIGHTS if right != missing)
    role = f"hub_{missing.lower()}"
    administer(harness, f"CREATE ROLE {role} LOGIN", f"GRANT {granted} ON {', '.join(TABLES)} TO {role}")

    async def use_everything() -> None:
        journal = await open_postgres(structs.replace(harness.address, dsn=server.url.replace("tidings@", f"{role}@")))
        harness.journals.append(journal)
        received: list[JournalEntry] = []
        journal.follow(0, received.extend, lambda *_: None)
        journal.append(b"entry")
        while not received:
            if journal.failure is not None:
                raise journal.failure
            await asyncio.sleep(0.001)
        info = SnapshotInfo(id="id", mark=Mark.of(received[0]), chunks=1, bytes=5, digest="")
        await journal.snapshots.put("id", 0, b"chunk")
        await journal.snapshots.finish(info)
        assert await journal.snapshots.list() == [info]
        assert [chunk async for chunk in journal.snapshots.read(info)] == [b"chunk"]
        await journal.snapshots.delete("id")
        await journal.snapshots.sweep(0.0)
        await journal.trim(1)

    if not missing:
        harness.run(use_everything())
        return
    with pytest.raises(LogUnavailable, match="permission denied for table tidings_") as refused:
        harness.run(use_everything())
    assert "SELECT, INSERT, UPDATE and DELETE on tidings_journals" in refused.value.hint


def test_address_is_read() -> None:
    address = parse_address("postgresql://u:p@a:1,b:2/db?sslmode=require&journal=night")
    assert address.dsn == "postgresql://u:p@a:1,b:2/db?sslmode=require"
    assert address.hosts == [f"postgresql://u:p@{host}/db?sslmode=require" for host in ("a:1", "b:2")]
    assert (address.name, address.channel) == ("night", "tidings_journal_night")
    assert str(address) == "postgresql://a:1,b:2/db, journal 'night'"


@pytest.mark.parametrize("url", ["mysql://a/db", "postgresql://a/db?journal=", f"postgresql://a/db?journal={'x' * 41}"])
def test_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="journal"):
        parse_address(url)
