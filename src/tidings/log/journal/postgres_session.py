"""A connection to the database of `tidings.log.journal.postgres`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tidings.log.journal.postgres_tables import DatabaseConnection, PostgresAddress

CONNECTING_S = 10.0
"""Time after which a connection that is not established is given up."""
STATEMENT_S = 10.0
"""Time after which a statement is given up, and with it its connection: the database may be gone without a word."""
Result = TypeVar("Result")


class DatabaseSession:
    """One connection to the database, which is opened again after it was lost.

    Args:
        address: The database.
    """

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._connection: DatabaseConnection | None = None
        self._lock = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as it was noticed here."""
        return self._connection is not None and not self._connection.is_closed()

    async def connect(self) -> DatabaseConnection:
        """Return the connection, opened if there is none."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._address.dsn,
                timeout=CONNECTING_S,
                command_timeout=STATEMENT_S,
                target_session_attrs=SessionAttribute.read_write,  # of several hosts, the one that is not a standby
                server_settings={"application_name": "tidings"},
            )
        return self._connection

    async def run(self, call: Callable[[DatabaseConnection], Awaitable[Result]]) -> Result:
        """Return the result of statements, one call after the other; a failure ends the connection."""
        async with self._lock:
            connection = await self.connect()
            try:
                return await call(connection)
            except BaseException:
                self.drop()
                raise

    def drop(self) -> None:
        """Close the connection without waiting."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
