"""The journal of many machines in a PostgreSQL database, which needs no extension and nothing of its administrator.

An entry is stored when its transaction is committed; `synchronous_commit` and the standbys of the database decide what
that survives. Followers are woken by NOTIFY, which needs a session: no connection pool that is shared by transaction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tidings.exceptions import LogUnavailable
from tidings.log.journal import postgres_tables
from tidings.log.journal.base import JournalEntry, JournalState, LossReason, Lost, Mark, Receive
from tidings.log.journal.engine_journal import EngineJournal
from tidings.log.journal.postgres_session import DatabaseSession
from tidings.log.journal.postgres_snapshots import PostgresSnapshots
from tidings.log.journal.postgres_tables import (
    MAX_NAME_BYTES,
    READ_ENTRIES,
    DatabaseConnection,
    PostgresAddress,
    open_tables,
    to_log_error,
)

LOOK_INTERVAL_S = 1.0
"""Time after which a follower reads even without a notification."""
_MIN_RETRY_S = 0.1
_MAX_RETRY_S = 2.0
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def parse_address(url: str) -> PostgresAddress:
    """Return the address in `postgresql://[user[:password]@]host[:port][,host…]/database[?journal=NAME&…]`.

    Other options are those of libpq, such as `sslmode`.

    Raises:
        ValueError: It is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("the URL of a journal has the form postgresql://host:5432/database")
    options = parse_qsl(parts.query, keep_blank_values=True)
    name = dict(options).get("journal", "tidings")
    if not name or len(name.encode()) > MAX_NAME_BYTES or not name.isprintable():
        raise ValueError(f"journal={name} has 1 to {MAX_NAME_BYTES} bytes")
    dsn = urlunsplit(parts._replace(query=urlencode([option for option in options if option[0] != "journal"])))
    host = parts.netloc.rpartition("@")[2]
    return PostgresAddress(dsn=dsn, name=name, label=f"postgresql://{host}{parts.path}")


class PostgresJournal(EngineJournal):
    """A `tidings.log.journal.base.Journal` in two tables; `open_postgres` opens one.

    Args:
        address: The database and the journal.
    """

    def __init__(self, address: PostgresAddress) -> None:
        super().__init__(address)
        self._address = address
        self._appending = DatabaseSession(address)
        self._asking = DatabaseSession(address)
        self.snapshots = PostgresSnapshots(address)
        """See `SnapshotJournal.snapshots`."""

    async def open(self) -> None:
        """Connect, and create the tables if they do not exist. To be called once, first.

        Raises:
            LogError: See `open_postgres`.
        """
        try:
            await self._asking.run(lambda connection: open_tables(connection, self._address))
            await self._appending.connect()
        except Exception as error:
            self._asking.drop()
            raise to_log_error(error, self._address) from error
        self._start_writing()

    # Appending.

    async def _write(self) -> None:
        retry_s = _MIN_RETRY_S
        while True:
            await self._waits.wait()
            try:
                await self._write_queued()
                retry_s = _MIN_RETRY_S
            except Exception as error:  # appending never raises; what was queued is lost, as the port allows
                self.failure = to_log_error(error, self._address)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _MAX_RETRY_S)
                self._take_queued()

    def _take_queued(self) -> list[bytes]:
        bodies = list(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        self._waits.clear()
        return bodies

    async def _write_queued(self) -> None:
        bodies = self._take_queued()
        if bodies:
            await self._appending.run(lambda connection: postgres_tables.append(connection, self._address, bodies))
            self.failure = None

    # Following.

    def follow(self, after: int, receive: Receive, lost: Lost) -> None:
        """See `Journal.follow`."""
        self._replace_follower(_Follower(self._address, self._loop, after, receive, lost))

    # Asking.

    async def _ask(self, call: Callable[[DatabaseConnection], Awaitable[Result]]) -> Result:
        try:
            return await self._asking.run(call)
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def look(self) -> JournalState:
        """See `Journal.look`."""
        state = await self._ask(lambda connection: postgres_tables.look(connection, self._address))
        if state is None:
            raise LogUnavailable(f"{self._address} was deleted")
        return state

    async def entry(self, seq: int) -> JournalEntry | None:
        """See `Journal.entry`."""
        entries = await self._ask(lambda connection: postgres_tables.read(connection, self._address, seq - 1, 1))
        return entries[0] if entries and entries[0].seq == seq else None

    async def trim(self, until: int) -> None:
        """See `Journal.trim`."""
        await self._ask(lambda connection: postgres_tables.trim(connection, self._address, until))

    async def delete(self, last: int) -> None:
        """See `SnapshotJournal.delete`."""
        await self._ask(lambda connection: postgres_tables.delete(connection, self._address, last))

    async def _disconnect(self) -> None:
        self._appending.drop()
        self._asking.drop()
        self.snapshots.close()


class _Follower:
    """Receives the entries after a sequence, over a connection of its own."""

    def __init__(
        self, address: PostgresAddress, loop: asyncio.AbstractEventLoop, after: int, receive: Receive, lost: Lost
    ) -> None:
        self._address = address
        self._place = after
        self._receive = receive
        self._lost = lost
        self._mark: Mark | None = None
        """Identifies the newest entry that was received."""
        self._paused = False
        self._ended = False
        self._wake = asyncio.Event()
        """Whether there may be entries to read, or a pause ended."""
        self._session = DatabaseSession(address)
        self._task = loop.create_task(self._run())

    @property
    def place(self) -> int | None:
        """The sequence of the newest entry that was received; None after `end`, a loss or while paused."""
        return None if self._ended or self._paused else self._place

    def pause(self) -> None:
        """Receive nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Continue after `pause`."""
        self._paused = False
        self._wake.set()

    def end(self) -> None:
        """Receive no more."""
        self._ended = True
        self._task.cancel()
        self._session.drop()

    async def wait_ended(self) -> None:
        """Return when nothing of it runs any more, after `end`."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        retry_s = _MIN_RETRY_S
        while not self._ended:
            try:
                connection = await self._session.connect()
                await connection.add_listener(self._address.channel, self._notified)
                connection.add_termination_listener(self._terminated)
                if not await self._is_rewritten(connection):
                    retry_s = _MIN_RETRY_S
                    await self._follow(connection)
            except Exception as error:  # whatever it is, the next connection may work
                logger.info("following %s: %r", self._address, error)
                self._session.drop()
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _MAX_RETRY_S)
        self._session.drop()

    def _notified(self, *_: object) -> None:
        self._wake.set()

    def _terminated(self, _: object) -> None:
        self._wake.set()  # the next statement fails

    async def _follow(self, connection: DatabaseConnection) -> None:
        """Read until there is a loss; raise if the connection fails."""
        while not self._ended:
            self._wake.clear()
            if await self._has_lost(connection):
                return
            while not self._paused and await self._read(connection):
                pass
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_INTERVAL_S)

    async def _read(self, connection: DatabaseConnection) -> bool:
        """Receive the next entries; return whether to read on."""
        entries = await postgres_tables.read(connection, self._address, self._place, READ_ENTRIES)
        if self._paused or not entries:
            return False
        if entries[0].seq != self._place + 1:
            if not await self._has_lost(connection):
                self._lose(LossReason.FAILED, f"the entry at {self._place + 1} was deleted")
            return False
        entries = [entry for number, entry in enumerate(entries, self._place + 1) if entry.seq == number]
        self._place = entries[-1].seq
        self._mark = Mark.of(entries[-1])
        self._receive(entries)
        return True

    async def _has_lost(self, connection: DatabaseConnection) -> bool:
        """Return whether the next entry will never come, and report it."""
        state = await postgres_tables.look(connection, self._address)
        if state is None:
            return self._lose(LossReason.REWRITTEN, "the journal does not exist any more")
        if state.last < self._place:
            return self._lose(
                LossReason.REWRITTEN,
                f"it ends at {state.last}, before {self._place}: it is another journal or an older copy",
            )
        if state.first > self._place + 1:
            return self._lose(
                LossReason.TRIMMED, f"the entries from {self._place + 1} to {state.first - 1} were trimmed"
            )
        return False

    async def _is_rewritten(self, connection: DatabaseConnection) -> bool:
        """Return whether another entry is at the place now, as after a failover that lost some, and report it."""
        mark = self._mark
        if mark is None:
            return False
        entries = await postgres_tables.read(connection, self._address, mark.seq - 1, 1)
        if entries and entries[0].seq == mark.seq and Mark.of(entries[0]) != mark:
            return self._lose(LossReason.REWRITTEN, f"the entry at {mark.seq} is another one than before")
        return False

    def _lose(self, reason: LossReason, why: str) -> bool:
        if not self._ended:
            self._ended = True
            self._lost(reason, LogUnavailable(f"{self._address}: {why}"))
        return True


async def open_postgres(address: PostgresAddress) -> PostgresJournal:
    """Connect, create the tables if they do not exist, and return the journal.

    Raises:
        LogForeign: The tables are not those of a journal.
        LogTooNew: A newer version of tidings created the journal.
        LogUnavailable: The database does not answer, or refuses.
    """
    journal = PostgresJournal(address)
    await journal.open()
    return journal
