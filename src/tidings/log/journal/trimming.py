"""Trims a journal: what every node has stored is needed by none of them."""

import asyncio
import logging
from pathlib import Path

from tidings.exceptions import LogError
from tidings.log.journal.base import Journal
from tidings.log.journal.sqlite import DEFAULT_FILE_BYTES
from tidings.log.journal.sqlite_file import FILE
from tidings.log.replicated import ReplicatedLog

TRIM_INTERVAL_S = 10.0
MIN_ENTRIES = 256
"""Number of entries that are worth a trimming."""
MAX_KEPT_BYTES = DEFAULT_FILE_BYTES // 4
"""Size of the file beyond which it is trimmed although a node is missing. That one then copies the log of another."""

logger = logging.getLogger(__name__)


class JournalTrimmer:
    """Trims the journal of a folder from the node that leads.

    Args:
        journal: The journal.
        log: The log of this node.
        folder: The folder of the journal.
        nodes: Number of nodes that take part. While one of them is missing, it may still need what the others have.
        loop: The event loop.
    """

    def __init__(
        self, journal: Journal, log: ReplicatedLog, folder: Path, *, nodes: int, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._journal = journal
        self._log = log
        self._path = folder / FILE
        self.nodes = nodes
        """See above."""
        self._loop = loop
        self._trimmed_to = 0
        self._task: asyncio.Task[None] | None = None
        self._timer = loop.call_later(TRIM_INTERVAL_S, self._tick)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TRIM_INTERVAL_S, self._tick)
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self.trim())

    async def trim(self) -> None:
        """Trim the journal once, if this node leads and enough can be deleted."""
        until = self._log.trimmable
        if until - self._trimmed_to < MIN_ENTRIES or not (self._log.nodes >= self.nodes or self._is_large()):
            return
        try:
            await self._journal.trim(until)
        except LogError as error:
            logger.warning("the journal is not trimmed: %s", error)
        else:
            self._trimmed_to = until

    def _is_large(self) -> bool:
        try:
            return self._path.stat().st_size > MAX_KEPT_BYTES
        except OSError:
            return False

    def stop(self) -> None:
        """Trim no more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
