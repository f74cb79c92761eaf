"""Saves snapshots from the node that leads, and trims the journal behind them, so that it does not fill up."""

import asyncio
import logging
from pathlib import Path

from tidings.exceptions import LogError, LogFull
from tidings.log.journal.base import Mark
from tidings.log.journal.snapshots import UNFINISHED_S, SnapshotInfo, SnapshotJournal, fits, save_snapshot
from tidings.log.replicated import ReplicatedLog

CHECK_INTERVAL_S = 10.0
_FULL_INTERVAL_S = 1.0
"""Time after which a full journal is noticed: until it is trimmed, no event is accepted."""
SNAPSHOT_BYTES = 64 << 20
"""Size of the entries after which the next snapshot is saved."""
SNAPSHOT_AGE_S = 3_600.0
"""Age of the newest snapshot, by the clock of the journal, after which the next one is saved."""
KEPT = 2
"""Number of snapshots that are kept: if the newest is damaged, the journal still continues the other one."""
MIN_ENTRIES = 256
"""Number of entries that are worth a trimming."""

logger = logging.getLogger(__name__)


class SnapshotKeeper:
    """Saves the log of one node while it leads, keeps two snapshots, and trims the journal up to the older one.

    Two nodes that both believe to lead do no harm: each saves under an id of its own, and trims only what is in two
    snapshots that the engine has.

    Args:
        journal: The journal.
        log: The log of this node.
        folder: The folder of the node's own log.
        loop: The event loop.
    """

    def __init__(
        self, journal: SnapshotJournal, log: ReplicatedLog, folder: Path, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._journal = journal
        self._log = log
        self._folder = folder
        self._loop = loop
        self._saved_at_bytes = 0
        """`ReplicatedLog.folded_bytes` when this node saved last."""
        self._trimmed_to = 0
        self._task: asyncio.Task[None] | None = None
        self._check_at = loop.time() + CHECK_INTERVAL_S
        self._timer = loop.call_later(_FULL_INTERVAL_S, self._tick)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_FULL_INTERVAL_S, self._tick)
        now = self._loop.time()
        if not (self._is_full or now >= self._check_at):
            return
        self._check_at = now + CHECK_INTERVAL_S
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._try())

    async def _try(self) -> None:
        try:
            await self.check()
        except LogError as error:
            logger.warning("the log is not saved as a snapshot: %s", error)

    async def check(self) -> None:
        """If this node leads, save a snapshot if one is due, and trim the journal.

        Raises:
            LogError: The log cannot be read, or the engine cannot do it now.
        """
        if not self._log.leads:
            return
        usable = await self._find_usable()
        if self._is_due(usable):
            folded_bytes = self._log.folded_bytes
            info = await save_snapshot(self._journal.snapshots, self._folder)
            self._saved_at_bytes = folded_bytes
            logger.info("the log was saved up to the entry %d: %d bytes", info.mark.seq, info.bytes)
            usable = await self._find_usable()
            await self._delete_others(usable)
        await self._trim(usable)

    async def _find_usable(self) -> list[SnapshotInfo]:
        """Return the snapshots that the journal continues, the newest first."""
        state = await self._journal.look()
        return [info for info in await self._journal.snapshots.list() if await fits(self._journal, info.mark, state)]

    def _is_due(self, usable: list[SnapshotInfo]) -> bool:
        if not usable or self._log.folded_bytes - self._saved_at_bytes >= SNAPSHOT_BYTES:
            return True
        if self._is_full:  # no entry comes any more, so that neither size nor age would grow
            return usable[0].mark.seq < self._log.seq
        return self._age_s(usable[0].mark) >= SNAPSHOT_AGE_S

    @property
    def _is_full(self) -> bool:
        return isinstance(self._journal.failure, LogFull)

    def _age_s(self, mark: Mark) -> float:
        return (self._log.now_ns - mark.at_ns) / 1e9

    async def _delete_others(self, usable: list[SnapshotInfo]) -> None:
        """Delete all but the newest usable snapshots.

        One that the journal does not continue may be of another node that leads, and that is further; it is deleted
        when it is too old for that: it belongs to a journal that was replaced.
        """
        kept = {info.id for info in usable[:KEPT]}
        candidates = {info.id for info in usable[KEPT:]}
        for info in await self._journal.snapshots.list():
            if info.id in kept:
                continue
            if info.id in candidates or self._age_s(info.mark) > UNFINISHED_S:
                await self._journal.snapshots.delete(info.id)
        await self._journal.snapshots.sweep(UNFINISHED_S)

    async def _trim(self, usable: list[SnapshotInfo]) -> None:
        """Trim the journal before the older snapshot's entry, which stays, so that its mark can be compared.

        A full journal is trimmed before the newest one: otherwise no event would be accepted any more. A node that is
        behind loads this snapshot then.
        """
        if self._is_full and usable:
            until, worth = usable[0].mark.seq - 1, 1
        elif len(usable) >= KEPT:
            until, worth = min(usable[KEPT - 1].mark.seq - 1, self._log.trimmable), MIN_ENTRIES
        else:
            return
        if until - self._trimmed_to >= worth:
            await self._journal.trim(until)
            self._trimmed_to = until

    def stop(self) -> None:
        """Save and trim no more."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
