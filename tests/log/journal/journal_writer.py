"""A process that forks writers of a journal, to be killed one after the other.

For each line on its standard input it forks a writer, prints `started PID`, and once that writer is dead, `dead`. A
writer appends entries `PID NUMBER` with padding, one after the other, each when it has received the one before, and
prints `received NUMBER SEQ` for each of its own.
"""

import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.log.killed_writers import report, serve_writers

from tidings.log.journal.base import JournalEntry, LossReason
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.sqlite import checkpointer


class Writer:
    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = SqliteJournal(folder, loop)
        self._number = 0

    async def write_forever(self) -> None:
        state = await self._journal.look()
        self._journal.follow(state.last, self._receive, self._lost)
        self._append()
        await asyncio.Event().wait()

    def _append(self) -> None:
        self._number += 1
        padding = b"x" * random.choice((0, 100, 5_000, 100_000))
        self._journal.append(b"%d %d %b" % (os.getpid(), self._number, padding))

    def _receive(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            pid, number, _ = entry.body.split(b" ")
            if int(pid) == os.getpid():
                assert int(number) == self._number
                report(f"received {self._number} {entry.seq}")
                self._append()

    def _lost(self, reason: LossReason, error: Exception) -> None:
        report(f"failed {reason} {error!r}")


def main() -> None:
    folder = Path(sys.argv[1])
    checkpointer.CHECK_INTERVAL_S = 0.005
    checkpointer.MAX_WAL_BYTES = checkpointer.MIN_WAL_BYTES = 200_000

    def write() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(Writer(folder, loop).write_forever())

    serve_writers(write)


if __name__ == "__main__":
    main()
