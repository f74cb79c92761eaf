"""The tables of `tidings.log.journal.postgres`, its statements, and the errors of the database.

A sequence of PostgreSQL is given before the transaction commits, so that readers would skip entries that are committed
later. Here the row of the journal in `tidings_journals` counts: a process that appends holds its lock until the commit.
"""

from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from tidings.exceptions import LogError, LogForeign, LogFull, LogTooNew, LogUnavailable
from tidings.log.journal.base import JournalEntry, JournalState

if TYPE_CHECKING:
    DatabaseConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:  # its stubs are generic, the class is not
    DatabaseConnection = asyncpg.Connection

FORMAT = 1
MAX_NAME_BYTES = 40
"""Longest name of a journal: the names of channels have 63 bytes."""
READ_ENTRIES = 64
TRIM_ENTRIES = 500
"""Number of entries that are deleted in one transaction."""
_LOCK = 0x7469_646E
"""ASCII "tidn": the advisory lock for creating the tables."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS tidings_journals "
    "(name text PRIMARY KEY, format integer NOT NULL, first bigint NOT NULL, last bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tidings_journal_entries (name text NOT NULL, seq bigint NOT NULL, "
    "at_ns bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (name, seq))",
    # Bodies are compact already, and compressing them costs the server more than the disk.
    "ALTER TABLE tidings_journal_entries ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE TABLE IF NOT EXISTS tidings_snapshots (name text NOT NULL, id text NOT NULL, seq bigint NOT NULL, "
    "at_ns bigint NOT NULL, crc bigint NOT NULL, format integer NOT NULL, chunks integer NOT NULL, "
    "bytes bigint NOT NULL, digest text NOT NULL, PRIMARY KEY (name, id))",
    "CREATE TABLE IF NOT EXISTS tidings_snapshot_chunks (name text NOT NULL, id text NOT NULL, number integer NOT NULL,"
    " stored timestamptz NOT NULL DEFAULT now(), body bytea NOT NULL, PRIMARY KEY (name, id, number))",
    "ALTER TABLE tidings_snapshot_chunks ALTER COLUMN body SET STORAGE EXTERNAL",
)
TABLES = ("tidings_journals", "tidings_journal_entries", "tidings_snapshots", "tidings_snapshot_chunks")
_NEWEST_TABLE = TABLES[-1]
"""Exists where all tables do: they are created in one transaction."""
_APPEND = """
WITH head AS (UPDATE tidings_journals SET last = last + cardinality($2::bytea[]) WHERE name = $1 RETURNING last),
stored AS (
    INSERT INTO tidings_journal_entries (name, seq, at_ns, body)
    SELECT $1, head.last - cardinality($2::bytea[]) + new.number,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000, new.body
    FROM head, unnest($2::bytea[]) WITH ORDINALITY AS new (body, number)
    RETURNING seq
)
SELECT newest.seq, pg_notify($3, newest.seq::text) FROM (SELECT max(seq) AS seq FROM stored) AS newest
WHERE newest.seq IS NOT NULL
"""
"""One statement, which commits by itself: a process that dies or is cut off never keeps the lock of the others."""
_READ = "SELECT seq, at_ns, body FROM tidings_journal_entries WHERE name = $1 AND seq > $2 ORDER BY seq LIMIT $3"
_LOOK = "SELECT format, first, last FROM tidings_journals WHERE name = $1"
_TRIM = """
WITH head AS (
    UPDATE tidings_journals SET first = greatest(first, least($2::bigint, last) + 1) WHERE name = $1 RETURNING first
)
DELETE FROM tidings_journal_entries AS entry USING head WHERE entry.name = $1 AND entry.seq < head.first
"""
_DELETE = (
    "DELETE FROM tidings_journal_entries WHERE name = $1",
    "DELETE FROM tidings_snapshot_chunks WHERE name = $1",
    "DELETE FROM tidings_snapshots WHERE name = $1",
)
_FULL = (asyncpg.DiskFullError, asyncpg.InsufficientResourcesError)
_FOREIGN = asyncpg.SyntaxOrAccessError
_REFUSED = asyncpg.InvalidAuthorizationSpecificationError
_NOT_PERMITTED = asyncpg.InsufficientPrivilegeError


class PostgresAddress(Struct, frozen=True, kw_only=True):
    """Where a journal is."""

    dsn: str
    """The URL of the database, as libpq reads it."""
    name: str = "tidings"
    """Name of the journal in its tables."""
    label: str = ""
    """The URL without user and password, for people."""

    @property
    def hosts(self) -> list[str]:
        """The URLs of the hosts, one each: the driver would try them all within one time limit."""
        parts = urlsplit(self.dsn)
        user, at, hosts = parts.netloc.rpartition("@")
        return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]

    @property
    def channel(self) -> str:
        """The channel on which appends are notified."""
        return f"tidings_journal_{self.name}"

    def __str__(self) -> str:
        """Return the address without user and password."""
        return f"{self.label}, journal {self.name!r}"


def to_log_error(error: Exception, address: PostgresAddress) -> LogError:
    """Return the error of the log for one of the driver or the database."""
    if isinstance(error, LogError):
        return error
    if isinstance(error, _FULL):
        return LogFull(f"{address}: {error}")
    if isinstance(error, _REFUSED):
        return LogUnavailable(
            f"{address} refused: {error}",
            hint="Check the user and its password (PGPASSWORD or PGPASSFILE).",
        )
    if isinstance(error, _NOT_PERMITTED):
        return LogUnavailable(
            f"{address} refused: {error}",
            hint="Let the user create tables for the first start, and later SELECT, INSERT, UPDATE and DELETE on"
            f" {', '.join(TABLES)}.",
        )
    if isinstance(error, _FOREIGN):
        return LogForeign(f"{address}: the tables are not those of a journal: {error}")
    return LogUnavailable(f"{address} failed: {str(error) or type(error).__name__}")


async def open_tables(connection: DatabaseConnection, address: PostgresAddress) -> None:
    """Create the tables and the journal if they do not exist, and check them. Many processes may do it together.

    Raises:
        LogForeign: The tables are not those of a journal.
        LogTooNew: A newer version of tidings created the journal.
        LogUnavailable: The database refused.
    """
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if await connection.fetchval("SELECT to_regclass($1)", _NEWEST_TABLE) is None:
                for statement in _TABLES:
                    await connection.execute(statement)
            await connection.execute(
                "INSERT INTO tidings_journals VALUES ($1, $2, 1, 0) ON CONFLICT DO NOTHING", address.name, FORMAT
            )
        row = await connection.fetchrow(_LOOK, address.name)
        await connection.fetch(_READ, address.name, 0, 0)
    except Exception as error:
        raise to_log_error(error, address) from error
    if row is not None and row["format"] > FORMAT:
        raise LogTooNew(f"{address} has format {row['format']}; this version reads up to {FORMAT}")


async def append(connection: DatabaseConnection, address: PostgresAddress, bodies: list[bytes]) -> None:
    """Append entries in one transaction, and notify all followers of it once."""
    if await connection.fetchval(_APPEND, address.name, bodies, address.channel) is None:
        raise LogUnavailable(f"{address} was deleted")


async def read(connection: DatabaseConnection, address: PostgresAddress, after: int, limit: int) -> list[JournalEntry]:
    """Return the next entries after a sequence."""
    rows = await connection.fetch(_READ, address.name, after, limit)
    return [JournalEntry(row["seq"], row["at_ns"], row["body"]) for row in rows]


async def look(connection: DatabaseConnection, address: PostgresAddress) -> JournalState | None:
    """Return the range of entries; None if the journal was deleted."""
    row = await connection.fetchrow(_LOOK, address.name)
    return None if row is None else JournalState(first=row["first"], last=row["last"])


async def delete(connection: DatabaseConnection, address: PostgresAddress, last: int) -> None:
    """Delete the journal and its snapshots if its newest entry is `last`."""
    async with connection.transaction():
        # First the head, whose lock every append needs.
        row = "DELETE FROM tidings_journals WHERE name = $1 AND last = $2 RETURNING last"
        if await connection.fetchval(row, address.name, last) is None:
            raise LogUnavailable(f"{address} has another entry now")
        for statement in _DELETE:
            await connection.execute(statement, address.name)


async def trim(connection: DatabaseConnection, address: PostgresAddress, until: int) -> None:
    """Delete all entries up to a sequence, in short transactions, as no process can append during one."""
    state = await look(connection, address)
    while state is not None and state.first <= min(until, state.last):
        await connection.execute(_TRIM, address.name, min(until, state.first + TRIM_ENTRIES - 1))
        state = await look(connection, address)
