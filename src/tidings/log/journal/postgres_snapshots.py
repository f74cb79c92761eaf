"""The snapshots of a log in two tables of the database of `tidings.log.journal.postgres`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from tidings.log.journal.base import Mark
from tidings.log.journal.postgres_session import DatabaseSession
from tidings.log.journal.postgres_tables import DatabaseConnection, PostgresAddress, to_log_error
from tidings.log.journal.snapshots import SnapshotInfo

_PUT = "INSERT INTO tidings_snapshot_chunks (name, id, number, body) VALUES ($1, $2, $3, $4)"
_FINISH = "INSERT INTO tidings_snapshots VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_LIST = (
    "SELECT id, seq, at_ns, crc, format, chunks, bytes, digest FROM tidings_snapshots WHERE name = $1 ORDER BY seq DESC"
)
_GET = "SELECT body FROM tidings_snapshot_chunks WHERE name = $1 AND id = $2 AND number = $3"
_DELETE = (
    "DELETE FROM tidings_snapshots WHERE name = $1 AND id = $2",
    "DELETE FROM tidings_snapshot_chunks WHERE name = $1 AND id = $2",
)
_SWEEP = """
DELETE FROM tidings_snapshot_chunks WHERE name = $1 AND id IN (
    SELECT id FROM tidings_snapshot_chunks
    WHERE name = $1 AND id NOT IN (SELECT id FROM tidings_snapshots WHERE name = $1)
    GROUP BY id HAVING max(stored) <= now() - $2::interval
)
"""
Result = TypeVar("Result")


class PostgresSnapshots:
    """A `tidings.log.journal.snapshots.SnapshotStore`, over a connection of its own.

    Args:
        address: The database and the journal, whose tables exist.
    """

    chunk_bytes = 512 << 10

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._session = DatabaseSession(address)

    async def _ask(self, call: Callable[[DatabaseConnection], Awaitable[Result]]) -> Result:
        try:
            return await self._session.run(call)
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def put(self, id: str, number: int, chunk: bytes) -> None:
        """See `SnapshotStore.put`."""
        await self._ask(lambda connection: connection.execute(_PUT, self._address.name, id, number, chunk))

    async def finish(self, info: SnapshotInfo) -> None:
        """See `SnapshotStore.finish`."""
        row = (info.mark.seq, info.mark.at_ns, info.mark.crc, info.format, info.chunks, info.bytes, info.digest)
        await self._ask(lambda connection: connection.execute(_FINISH, self._address.name, info.id, *row))

    async def list(self) -> Sequence[SnapshotInfo]:
        """See `SnapshotStore.list`."""
        rows = await self._ask(lambda connection: connection.fetch(_LIST, self._address.name))
        return [
            SnapshotInfo(
                id=row["id"],
                mark=Mark(row["seq"], row["at_ns"], row["crc"]),
                format=row["format"],
                chunks=row["chunks"],
                bytes=row["bytes"],
                digest=row["digest"],
            )
            for row in rows
        ]

    async def read(self, info: SnapshotInfo) -> AsyncIterator[bytes]:
        """See `SnapshotStore.read`."""
        for number in range(info.chunks):
            chunk = await self._get(info.id, number)
            if chunk is None:
                return
            yield chunk

    async def _get(self, id: str, number: int) -> bytes | None:
        chunk: bytes | None = await self._ask(
            lambda connection: connection.fetchval(_GET, self._address.name, id, number)
        )
        return chunk

    async def delete(self, id: str) -> None:
        """See `SnapshotStore.delete`."""

        async def delete(connection: DatabaseConnection) -> None:
            async with connection.transaction():
                for statement in _DELETE:
                    await connection.execute(statement, self._address.name, id)

        await self._ask(delete)

    async def sweep(self, min_age_s: float) -> None:
        """See `SnapshotStore.sweep`."""
        age = timedelta(seconds=min_age_s)
        await self._ask(lambda connection: connection.execute(_SWEEP, self._address.name, age))

    def close(self) -> None:
        """Close the connection."""
        self._session.drop()
