"""A connection to the database of `tidings.log.journal.postgres`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from tidings.log.journal.postgres_tables import DatabaseConnection, PostgresAddress

CONNECTING_S = 10.0
"""Time after which a connection that is not established is given up."""
HOST_S = 3.0
"""Time after which the next one of several hosts is tried: a machine that is gone refuses no connection."""
STATEMENT_S = 10.0
"""Time after which a statement is given up, and with it its connection: the database may be gone without a word."""
_SETTINGS = """
SET idle_in_transaction_session_timeout = '10s';
SET lock_timeout = '8s'
"""
"""A process that is cut off within a transaction keeps its locks no longer, and its statements do not gather behind one
that waits for a standby. Statements set these, as poolers refuse them as parameters of the connection."""
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
            self._connection = await self._find_primary()
            await self._connection.execute(_SETTINGS)
        return self._connection

    async def _find_primary(self) -> DatabaseConnection:
        """Return a connection to the first host that accepts writes."""
        *others, last = self._address.hosts
        for dsn in others:
            with suppress(Exception):  # a host that is away, or a standby
                return await self._connect(dsn, HOST_S)
        return await self._connect(last, HOST_S if others else CONNECTING_S)

    async def _connect(self, dsn: str, timeout_s: float) -> DatabaseConnection:
        return await asyncpg.connect(
            dsn,
            timeout=timeout_s,
            command_timeout=STATEMENT_S,
            target_session_attrs=SessionAttribute.read_write,
            server_settings={"application_name": "tidings"},
        )

    async def run(self, call: Callable[[DatabaseConnection], Awaitable[Result]]) -> Result:
        """Return the result of statements, one call after the other; a failure ends the connection."""
        async with self._lock:
            connection = await self.connect()
            try:
                return await call(connection)
            except BaseException:
                # Before the driver asks the database to cancel the statement: a commit that waits for a standby
                # would then be visible, although the standby does not have it and may be promoted.
                self.drop()
                raise

    def drop(self) -> None:
        """Close the connection without waiting."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
