"""Journals for the conformance suite and for the tests that follow one."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
from tests.nats_server import NatsServer
from tests.postgres_server import PostgresServer

from tidings.exceptions import LogError
from tidings.log.journal import jetstream_stream, postgres, sqlite
from tidings.log.journal.base import Journal
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.jetstream_stream import JetStreamAddress
from tidings.log.journal.postgres import PostgresJournal, open_postgres
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.journal.sqlite_file import FILE
from tidings.testing.clock import ManualClock
from tidings.testing.journal_conformance import JournalHarness
from tidings.testing.loop import ManualLoop
from tidings.testing.manual_journal import ManualEngine

Result = TypeVar("Result")
_IN_MEMORY = Path("/dev/shm")
_LOOK_INTERVAL_S = 0.02
_LOOKS = 3
_ROUNDS = 200
_POLL_S = 0.0005
_MAX_VIRTUAL_S = 5.0
_QUIET_S = 0.1
_MAX_WAIT_S = 20.0


class ManualJournalHarness(JournalHarness):
    def __init__(self, **faults: float) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.engine = ManualEngine(self.loop, self.clock, **faults)  # type: ignore[arg-type]

    def open(self) -> Journal:
        return self.engine.open()

    def wait_until(self, condition: Callable[[], object]) -> bool:
        end = self.clock.now + _MAX_VIRTUAL_S
        self.loop.run_until_idle()
        while not condition():
            if not self.loop.advance_to_timer(end):
                return bool(condition())
        return True

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        try:
            call.send(None)
        except StopIteration as done:
            result: Result = done.value
            return result
        raise AssertionError("the call waits for something")

    def rewind(self, last: int) -> None:
        self.engine.rewind(last)

    def close(self) -> None:
        pass


class SqliteJournalHarness(JournalHarness):
    """One folder, with the loop of all its journals.

    Args:
        bells: Whether the journals wake each other.
        max_file_bytes: See `SqliteJournal`.
        look_interval_s: The time between two looks.
    """

    def __init__(
        self, *, bells: bool = True, max_file_bytes: int = 1 << 30, look_interval_s: float = _LOOK_INTERVAL_S
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidings-journal-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self._look_interval_s = sqlite.LOOK_INTERVAL_S
        sqlite.LOOK_INTERVAL_S = look_interval_s
        self._bells = bells
        self._max_file_bytes = max_file_bytes
        self._journals: list[SqliteJournal] = []

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def open(self) -> SqliteJournal:
        journal = SqliteJournal(self.folder, self.loop, bells=self._bells, max_file_bytes=self._max_file_bytes)
        self._journals.append(journal)
        return journal

    def connect(self) -> closing[sqlite3.Connection]:
        """Return a connection of another program."""
        return closing(sqlite3.connect(self.path, isolation_level=None))

    def wait_until(self, condition: Callable[[], object]) -> bool:
        return self.loop.run_until_complete(self._wait_until(condition))

    async def _wait_until(self, condition: Callable[[], object]) -> bool:
        # All is stored within the calls. What does not arrive with three looks, and the reads after them, never does.
        for _ in range(_LOOKS):
            until = self.loop.time() + sqlite.LOOK_INTERVAL_S
            while self.loop.time() < until:
                if condition():
                    return True
                await asyncio.sleep(_POLL_S)
        for _ in range(_ROUNDS):
            if condition():
                return True
            await asyncio.sleep(0)
        return False

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(call)

    def rewind(self, last: int) -> None:
        with self.connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM entries WHERE seq > ?", (last,))
            connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'entries'", (last,))
            connection.execute("COMMIT")

    def close(self) -> None:
        for journal in self._journals:
            journal.close()
        self.loop.close()
        sqlite.LOOK_INTERVAL_S = self._look_interval_s
        shutil.rmtree(self.folder, ignore_errors=True)


class ServerHarness(JournalHarness):
    """Journals of a server, in one loop."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidings-server-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.journals: list[JetStreamJournal | PostgresJournal] = []

    def wait_until(self, condition: Callable[[], object]) -> bool:
        return self.loop.run_until_complete(self._wait_until(condition))

    async def _wait_until(self, condition: Callable[[], object]) -> bool:
        end = self.loop.time() + _MAX_WAIT_S
        while not condition():
            if self.loop.time() > end or await self._is_quiet(condition):
                return bool(condition())
        return True

    async def _is_quiet(self, condition: Callable[[], object]) -> bool:
        """Wait; return whether all followers have received what the stream has, and nothing happened meanwhile."""
        before = await self._look()
        end = self.loop.time() + _QUIET_S
        while self.loop.time() < end and not condition():  # noqa: ASYNC110  # no condition has an event
            await asyncio.sleep(_POLL_S)
        places = [place for journal in self.journals if (place := journal.place) is not None]
        return before == await self._look() and all(place == before for place in places)

    async def _look(self) -> int:
        for journal in reversed(self.journals):
            with suppress(LogError):  # closed, or still without the server that was started again
                return (await journal.look()).last
        return 0

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self.loop.run_until_complete(call)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()
            self.loop.run_until_complete(journal.wait_closed())
        self.loop.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class JetStreamHarness(ServerHarness):
    """A stream of one server, which is put back by starting the server on an older copy of its folder."""

    def __init__(self) -> None:
        super().__init__()
        self.server = NatsServer(self.folder / "server")
        self.server.start()
        self._last = 0

    @property
    def address(self) -> JetStreamAddress:
        return jetstream_stream.parse_address(f"{self.server.url}/hubs")

    def open(self) -> JetStreamJournal:
        journal = self.loop.run_until_complete(open_jetstream(self.address))
        self.journals.append(journal)
        return journal

    def wait_until(self, condition: Callable[[], object]) -> bool:
        met = super().wait_until(condition)
        self._copy()
        return met

    def _copy(self) -> None:
        """Keep a copy of what the server has stored, by its last sequence."""
        last = self.loop.run_until_complete(self._look())
        if last > self._last:
            self._last = last
            shutil.copytree(self.server.folder, self.folder / str(last), dirs_exist_ok=True)

    def rewind(self, last: int) -> None:
        self.server.stop()
        shutil.rmtree(self.server.folder)
        shutil.copytree(self.folder / str(last), self.server.folder)
        self.server.start()

    def close(self) -> None:
        super().close()
        self.server.stop()


class PostgresHarness(ServerHarness):
    """A journal of its own in a database that all tests of a run share.

    Args:
        server: The server.
    """

    def __init__(self, server: PostgresServer) -> None:
        super().__init__()
        self.address = postgres.parse_address(f"{server.url}?journal={uuid4().hex}")

    def open(self) -> PostgresJournal:
        journal = self.loop.run_until_complete(open_postgres(self.address))
        self.journals.append(journal)
        return journal

    def rewind(self, last: int) -> None:
        self.run(self._rewind(last))

    async def _rewind(self, last: int) -> None:
        connection = await asyncpg.connect(self.address.dsn)
        async with connection.transaction():
            await connection.execute("UPDATE tidings_journals SET last = $2 WHERE name = $1", self.address.name, last)
            await connection.execute(
                "DELETE FROM tidings_journal_entries WHERE name = $1 AND seq > $2", self.address.name, last
            )
        await connection.close()
