"""Journals for the conformance suite and for the tests that follow one."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from tidings.log.journal import sqlite
from tidings.log.journal.base import Journal
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
