"""What a hub in memory and its clients share, whatever threads they are on: a lock, a clock, a log, and the faults."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from tidings.contract.contract import Contract
from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.base import AppendDone, EventToAppend, Log, Record, Tail
from tidings.log.memory import MemoryLog
from tidings.testing.clock import ManualClock
from tidings.testing.faults import Faults
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub, counted_ids
from tidings.testing.loop import ManualLoop


class RecordingLog(FaultyLog):
    """A log that remembers all it ever took, whatever retention does, and that faults can fill.

    Args:
        log: The log that stores.
        faults: What goes wrong.
    """

    def __init__(self, log: Log, faults: Faults) -> None:
        super().__init__(log)
        self._faults = faults
        self.records: list[Record] = []

    def follow(self, tail: Tail) -> None:
        """See `Log.follow`."""

        def recorded(records: Sequence[Record]) -> None:
            self.records.extend(records)
            tail(records)

        super().follow(recorded)

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        if self._faults.disk_full():
            self.fail_append(LogFull("the disk is full"))
        super().append(batch, done)


class WorldConnection(Protocol):
    """A client's connection, as the stage sees it."""

    @property
    def link(self) -> str:
        """The name of the client's link."""
        ...

    def flush(self) -> None:
        """Deliver what has arrived by now, both ways."""
        ...

    def call_back(self) -> None:
        """Let the client come back, when its connection is gone, as soon as the hub is there."""
        ...

    def cut(self) -> None:
        """End without a word; the client comes back at once."""
        ...


class World:
    """A hub in memory, stopped and started again over one log, and what its clients meet.

    Every method is called inside `entered`, from any thread.

    Args:
        config: The hub's limits and rhythms.
        contract: What may be published.
    """

    def __init__(self, config: HubConfig, contract: Contract) -> None:
        self.config = config
        self.contract = contract
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.faults = Faults()
        self.log = RecordingLog(MemoryLog(EPOCH, config.retention), self.faults)
        self.lines: dict[WorldConnection, None] = {}
        self.activity = 0
        """Things that clients did, or that happened to them: while it rises, they are not at rest."""
        self.waiting: dict[Callable[[], None], None] = {}
        """Called, once each, when the hub can be reached again."""
        self.gone = False
        """Whether the hub will never be there again."""
        self._hub: InMemoryHub | None = None
        self._mint = counted_ids()
        self._lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the lock; whoever leaves last runs the hub until it has nothing to do."""
        with self._lock:
            self._depth += 1
            try:
                yield
            finally:
                if self._depth == 1:
                    self.loop.run_until_idle()
                self._depth -= 1

    @property
    def hub(self) -> InMemoryHub | None:
        """The hub; None while it is stopped."""
        return self._hub

    def start(self) -> None:
        """Start the hub over what the log holds."""
        if self._hub is not None or self.gone:
            return
        hub = InMemoryHub(
            self.config, log=self.log, clock=self.clock, loop=self.loop, contract=self.contract, mint=self._mint
        )
        SystemStatusPublisher(hub.hub, hub.connections).start()
        hub.hub.estimates.start()
        self._hub = hub
        self.call_back()

    def call_back(self) -> None:
        """Let those who wait to try again try now."""
        waiting, self.waiting = self.waiting, {}
        for callback in waiting:
            callback()

    def stop(self) -> None:
        """Stop the hub; its clients' connections end, and what it had accepted is in the log."""
        hub, self._hub = self._hub, None
        if hub is None:
            return
        for line in self.lines:
            line.call_back()
        hub.hub.draining = True
        hub.connections.close_all(4100, "the hub is shutting down", retry_after_ms=0)
        self.loop.run_until_idle()
        hub.hub.close()
        for line in list(self.lines):
            line.cut()
