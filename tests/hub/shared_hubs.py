"""Several hubs in memory that share one log through a manual journal."""

from itertools import count

from tests.hub.producers import Producer
from tests.log.sqlite_harness import SqliteHarness

from tidings.hub.config import HubConfig
from tidings.log.local_log import LocalLog
from tidings.log.memory import MemoryLog
from tidings.log.replicated import ReplicatedLog
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub
from tidings.testing.loop import ManualLoop
from tidings.testing.manual_journal import ManualEngine, ManualJournal

CONFIG = HubConfig(status_s=0, metrics_s=0, lease_s=30.0, heartbeat_s=1000.0, maintain_s=60.0)
SETTLE_S = 3.0
"""Time in which all that was recorded has reached all hubs, also over a bad journal."""


class SharedHub:
    """One hub, with the parts that a test needs to disturb it.

    Args:
        hubs: The hubs that it belongs to.
        name: The name of its node.
        local: Its own log: what the hub before it left. Default: a new one.
    """

    def __init__(self, hubs: "SharedHubs", name: str, local: LocalLog | None = None) -> None:
        self.name = name
        self.left: LocalLog | None = None
        """The files that it left when it was killed, opened again; None for a log in memory, which is gone."""
        self._hubs = hubs
        self.local = local or hubs.open_local()
        self.journal: ManualJournal = hubs.engine.open()
        self.log = ReplicatedLog(
            self.journal,
            self.local,
            hubs.loop,
            node=name,
            version="1",
            new_name=hubs.new_name,
        )
        self.log.start(hubs.engine.state().last)
        end = hubs.clock.now + 60
        hubs.loop.run_until_idle()
        while not self.log.is_open:
            assert hubs.loop.advance_to_timer(end), "the log does not open"
        self.hub = InMemoryHub(hubs.config, log=self.log, clock=hubs.clock, loop=hubs.loop, mint=hubs.mint)
        self.hub.hub.estimates.start()

    def kill(self) -> None:
        """End the hub as SIGKILL does: it says nothing more, and its connections are cut."""
        self.hub.hub.closed = True
        self.hub.hub.jobs.close()
        self.journal.close()
        self.left = self._hubs.crash_local(self.local)
        self.log.close()

    def state(self, operation_id: str = "op") -> str:
        """Return the state and the attempt of an operation as this hub has it."""
        status = self.hub.hub.operations.get(operation_id)
        return "" if status is None else f"{status.state} {status.life.attempt}"


class SharedHubs:
    """Hubs `a`, `b`, `c`, ... of one log.

    Args:
        number: How many.
        config: Their limits and intervals.
        local: Opens their own logs. Default: logs in memory.
        faults: See `ManualEngine`.
    """

    def __init__(
        self, number: int = 2, config: HubConfig = CONFIG, local: SqliteHarness | None = None, **faults: float
    ) -> None:
        self.config = config
        self._local = local
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.engine = ManualEngine(self.loop, self.clock, **faults)  # type: ignore[arg-type]
        if local is not None:
            local.scheduler = self.loop  # type: ignore[assignment]
        self._ids = count(1)
        self._names = count(1)
        self.hubs = [SharedHub(self, "abcdefgh"[index]) for index in range(number)]
        self.settle()

    def mint(self) -> str:
        return f"{next(self._ids):032x}"

    def new_name(self) -> str:
        return f"{next(self._names):08x}"

    def open_local(self) -> LocalLog:
        """Return a new log of one node."""
        retention = self.config.retention
        return MemoryLog("0badc0de", retention) if self._local is None else self._local.open(retention)

    def crash_local(self, local: LocalLog) -> LocalLog | None:
        """Return the log that a killed node leaves; None if it leaves nothing."""
        return None if self._local is None else self._local.crash(local, self.config.retention)

    def settle(self) -> None:
        """Let the time pass that the journal needs."""
        self.loop.advance(SETTLE_S)

    def drain(self, hub: SharedHub) -> None:
        """Let a hub begin to end, as a signal does, while its connections stay for a while."""
        hub.hub.hub.draining = True
        hub.log.stop_leading()
        self.settle()

    def observer(self) -> ReplicatedLog:
        """Return a log that folds the journal from the beginning, once it is started, and takes no part."""
        local = MemoryLog("0badc0de", self.config.retention)
        return ReplicatedLog(self.engine.open(), local, self.loop, node="observer", version="1", new_name=self.new_name)

    def restart(self, hub: SharedHub) -> SharedHub:
        """Start a killed hub again on the log that it left; return the new one."""
        again = SharedHub(self, hub.name, hub.left)
        self.hubs[self.hubs.index(hub)] = again
        return again

    def watch(self, hub: SharedHub) -> InMemoryClient:
        """Return a client of one hub that watches operations and alerts."""
        return hub.hub.connect("channels=operations,system")

    def producer(self, hub: SharedHub, producer_id: str = "p-1", *, lease_s: float | None = None) -> "SharedProducer":
        """Return a producer that will connect to one hub."""
        return SharedProducer(self, hub, producer_id, lease_s=lease_s)

    def start(
        self, hub: SharedHub, producer_id: str = "p-1", operation_id: str = "op", *, lease_s: float | None = None
    ) -> "SharedProducer":
        """Return a producer that is connected to one hub and runs an operation."""
        producer = self.producer(hub, producer_id, lease_s=lease_s)
        producer.connect()
        assert producer.publish("start", operation_id) == "ok"
        return producer


class SharedProducer(Producer):
    """A producer of hubs that answer when the journal brings back what they recorded."""

    def __init__(self, hubs: SharedHubs, hub: SharedHub, producer_id: str, *, lease_s: float | None = None) -> None:
        super().__init__(hub.hub, producer_id, lease_s=lease_s)
        self._hubs = hubs
        self.settle = hubs.settle

    def move(self, hub: SharedHub) -> None:
        """Use another hub from the next connection on."""
        self.hub = hub.hub
