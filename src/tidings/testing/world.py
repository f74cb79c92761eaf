"""The world that a hub in memory shares with its clients on all threads: a lock, a clock, a log, and faults."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from tidings.access.control import AccessOptions
from tidings.contract.contract import Contract
from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.base import AppendDone, EventToAppend, Log, OnControl, Record, Tail
from tidings.log.memory import MemoryLog
from tidings.testing.clock import ManualClock
from tidings.testing.faults import Faults
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub, counted_ids
from tidings.testing.loop import ManualLoop


class RecordingLog(FaultyLog):
    """A log that keeps all events ever appended, regardless of retention, and that faults can fill.

    Args:
        log: The log that stores the events.
        faults: The faults in force.
    """

    def __init__(self, log: Log, faults: Faults) -> None:
        super().__init__(log)
        self._faults = faults
        self.records: list[Record] = []

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """See `Log.follow`."""

        def keep(records: Sequence[Record]) -> None:
            self.records.extend(records)
            tail(records)

        super().follow(keep, on_control)

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        if self._faults.disk_full():
            self.fail_append(LogFull("the disk is full"))
        super().append(batch, done)


class WorldConnection(Protocol):
    """The part of a client's connection that the world controls."""

    @property
    def link(self) -> str:
        """The name of the client's link."""

    def flush(self) -> None:
        """Deliver the messages that have arrived by now, in both directions."""

    def allow_reconnect(self) -> None:
        """Let the client reconnect as soon as the hub runs, once its connection is gone."""

    def cut(self) -> None:
        """End the connection without a close; the client reconnects immediately."""


class World:
    """A hub in memory, stopped and started again over one log, and the surroundings of its clients.

    Every method is called inside `entered`, from any thread.

    Args:
        config: The hub's limits and intervals.
        contract: The event types that may be published.
        access: How clients are identified; None lets everyone do everything.
    """

    def __init__(self, config: HubConfig, contract: Contract, access: AccessOptions | None = None) -> None:
        self.config = config
        self.contract = contract
        self.access = access
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.faults = Faults()
        self.log = RecordingLog(MemoryLog(EPOCH, config.retention), self.faults)
        self.connections: dict[WorldConnection, None] = {}
        self.activity = 0
        """Number of client actions so far. While it rises, the clients are not at rest."""
        self.waiting: dict[Callable[[], None], None] = {}
        """Callbacks to be called once, when the hub can be reached again."""
        self.closed = False
        """Whether the hub will never be started again."""
        self._hub: InMemoryHub | None = None
        self._mint = counted_ids()
        self._lock = threading.RLock()
        self._depth = 0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the lock. The outermost block then runs the hub until it is idle."""
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
        """Start the hub over the log."""
        if self._hub is not None or self.closed:
            return
        hub = InMemoryHub(
            self.config,
            log=self.log,
            clock=self.clock,
            loop=self.loop,
            contract=self.contract,
            mint=self._mint,
            access=self.access,
        )
        SystemStatusPublisher(hub.hub, hub.connections).start()
        hub.hub.estimates.start()
        self._hub = hub
        self.wake_waiting()

    def wake_waiting(self) -> None:
        """Let waiting clients try again now."""
        waiting, self.waiting = self.waiting, {}
        for callback in waiting:
            callback()

    def stop(self) -> None:
        """Stop the hub. The connections of its clients end; every accepted event is in the log."""
        hub, self._hub = self._hub, None
        if hub is None:
            return
        for connection in self.connections:
            connection.allow_reconnect()
        hub.hub.draining = True
        hub.hub.cancellations.drain()
        hub.connections.close_all(4100, "the hub is shutting down", retry_after_ms=0)
        self.loop.run_until_idle()
        hub.hub.close()
        for connection in list(self.connections):
            connection.cut()
