"""Replicated logs for the conformance suite: two nodes of one journal, of which the suite uses the first."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast
from uuid import uuid4

from tidings.log.base import Log, Outcome, Retention
from tidings.log.journal.base import Journal
from tidings.log.journal.jetstream import JetStreamJournal
from tidings.log.journal.postgres import PostgresJournal
from tidings.log.journal.sqlite import SqliteJournal
from tidings.log.local_log import LocalLog
from tidings.log.memory import MemoryLog
from tidings.log.replicated import ReplicatedLog
from tidings.testing.clock import ManualClock
from tidings.testing.log_conformance import LogHarness
from tidings.testing.log_conformance.harness import MAX_STEPS
from tidings.testing.loop import ManualLoop
from tidings.testing.manual_journal import ManualEngine

_MAX_WAIT_S = 120.0
_IN_MEMORY = Path("/dev/shm")


class MemoryLocalHarness(LogHarness):
    def open(self, retention: Retention) -> Log:
        return MemoryLog("0badc0de", retention)


def is_settled(log: ReplicatedLog) -> bool:
    """Return whether a node has folded everything, and has nothing to propose."""
    inside = vars(log)
    node = vars(inside["_node"])
    return (
        log.is_open
        and not any(inside[name] for name in ("_append", "_proposed", "_controls", "_revoking", "_forgetting"))
        and not (node["_waiting"] or node["_folding"] or node["_proposal"])
    )


class ReplicatedHarness(LogHarness):
    """Opens pairs of nodes.

    Args:
        local: Opens the local logs.
    """

    def __init__(self, local: LogHarness) -> None:
        self.local = local
        self._names = itertools.count(1)
        self._pairs: dict[int, tuple[ReplicatedLog, ReplicatedLog]] = {}

    def new_name(self) -> str:
        return f"{next(self._names):08x}"

    def new_journals(self) -> tuple[Journal, Journal]:
        raise NotImplementedError

    def run_until(self, condition: Callable[[], bool]) -> None:
        raise NotImplementedError

    @property
    def scheduler(self) -> ManualLoop | asyncio.AbstractEventLoop:
        raise NotImplementedError

    def open(self, retention: Retention) -> ReplicatedLog:
        first, second = (
            ReplicatedLog(
                journal,
                cast(LocalLog, self.local.open(retention)),
                self.scheduler,
                node=name,
                version="1",
                new_name=self.new_name,
            )
            for name, journal in zip(("first", "second"), self.new_journals(), strict=True)
        )
        first.start(0)
        self.run_until(lambda: first.is_open)
        second.start(0)
        self._pairs[id(first)] = first, second
        self.settle()
        return first

    def other(self, log: Log) -> ReplicatedLog:
        """Return the second node of a log's journal."""
        return self._pairs[id(log)][1]

    def settle(self) -> None:
        self.run_until(lambda: all(self._are_settled(*pair) for pair in self._pairs.values()))

    def _are_settled(self, first: ReplicatedLog, second: ReplicatedLog) -> bool:
        return is_settled(first) and is_settled(second) and first.seq == second.seq

    def maintain(self, log: Log, now_ns: int) -> None:
        both = (log, self.other(log))  # the lead, and only it, does something: either of them after a pause
        ended = 0
        for _ in range(MAX_STEPS):
            more = [each.maintain(now_ns) for each in both]
            self.settle()
            ended += not any(more)
            if ended == 2:  # the first one may be the end of what an earlier, single call began
                return
        raise AssertionError("retention is never done")

    def outcomes(self, log: Log, *batch: "object") -> Sequence[Outcome]:
        outcomes = super().outcomes(log, *batch)  # type: ignore[arg-type]
        other = self.other(log)
        assert other.head == log.head
        return outcomes

    def close(self) -> None:
        for pair in self._pairs.values():
            for log in pair:
                log.close()
        self._pairs.clear()
        self.local.close()


class ManualReplicatedHarness(ReplicatedHarness):
    """Nodes of a manual journal.

    Args:
        local: See `ReplicatedHarness`.
        faults: See `ManualEngine`.
    """

    def __init__(self, local: LogHarness, **faults: float) -> None:
        super().__init__(local)
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self._faults = faults

    @property
    def scheduler(self) -> ManualLoop:
        return self.loop

    def new_journals(self) -> tuple[Journal, Journal]:
        engine = ManualEngine(self.loop, self.clock, **self._faults)  # type: ignore[arg-type]
        return engine.open(), engine.open()

    def run_until(self, condition: Callable[[], bool]) -> None:
        end = self.clock.now + _MAX_WAIT_S
        self.local.settle()
        self.loop.run_until_idle()
        while not condition():
            assert self.loop.advance_to_timer(end), "the nodes do not settle"
            self.local.settle()


class LoopReplicatedHarness(ReplicatedHarness):
    """Nodes on a real loop.

    Args:
        local: See `ReplicatedHarness`.
    """

    def __init__(self, local: LogHarness) -> None:
        super().__init__(local)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def scheduler(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    def run_until(self, condition: Callable[[], bool]) -> None:
        self.scheduler.run_until_complete(self._run_until(condition))

    async def _run_until(self, condition: Callable[[], bool]) -> None:
        give_up = self.scheduler.time() + _MAX_WAIT_S
        while not condition():
            assert self.scheduler.time() < give_up, "the nodes do not settle"
            self.local.settle()
            await asyncio.sleep(0.001)

    def close(self) -> None:
        super().close()
        if self._loop is not None:
            self._loop.close()
            self._loop = None


class SqliteReplicatedHarness(LoopReplicatedHarness):
    """Nodes of a SQLite journal.

    Args:
        local: See `ReplicatedHarness`.
    """

    def __init__(self, local: LogHarness) -> None:
        super().__init__(local)
        self._root = Path(
            tempfile.mkdtemp(prefix="tidings-replicated-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None)
        )

    def new_journals(self) -> tuple[Journal, Journal]:
        folder = self._root / self.new_name()
        folder.mkdir(parents=True)
        return SqliteJournal(folder, self.scheduler), SqliteJournal(folder, self.scheduler)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self._root, ignore_errors=True)


class ServerReplicatedHarness(LoopReplicatedHarness):
    """Nodes of a journal in a server.

    Args:
        local: See `ReplicatedHarness`.
        open_journal: Opens a journal of a name that no other test uses.
    """

    def __init__(
        self, local: LogHarness, open_journal: Callable[[str], Awaitable[JetStreamJournal | PostgresJournal]]
    ) -> None:
        super().__init__(local)
        self._open_journal = open_journal
        self._journals: list[JetStreamJournal | PostgresJournal] = []

    def new_journals(self) -> tuple[Journal, Journal]:
        name = uuid4().hex
        first, second = (self.scheduler.run_until_complete(self._open_journal(name)) for _ in range(2))
        self._journals += first, second
        return first, second

    def close(self) -> None:
        for pair in self._pairs.values():
            for log in pair:
                log.close()
        for journal in self._journals:
            self.scheduler.run_until_complete(journal.wait_closed())
        super().close()
