"""Hubs of one log over a bad journal, with deaths, pauses and returns: they agree, and keep every promise.

Each run is drawn from a seed. `TIDINGS_RUNS=1000 pytest tests/hub/test_shared_log.py` runs many.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tests.hub.shared_hubs import CONFIG, SharedHub, SharedHubs
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import TidingsError
from tidings.log.base import Query, Record
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, apply_event
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.testing.in_memory_hub import InMemoryClient, Message
from tidings.testing.log_conformance.harness import ALL

RUNS = int(os.environ.get("TIDINGS_RUNS", "30"))
"""Number of runs over logs in memory; every fifth is repeated over SQLite."""
STEPS = 90
LEASE_S = 4.0
_HEALED_S = 60.0
"""Time without faults after which everything is decided: a node that is gone, then a lease, then a cancellation."""
_FIELDS: dict[str, Message] = {
    "start": {},
    "progress": {"progress": 5},
    "complete": {},
    "failed": {"code": "c", "message": "m", "recoverable": False},
    "cancelled": {},
}
OPERATIONS = [f"op-{number}" for number in range(6)]


class Client:
    """A client of the hubs: a connection to one of them at a time, and what it was told.

    Args:
        name: Its name, which is also its producer id.
        attaches: Whether it is a producer.
    """

    def __init__(self, name: str, *, attaches: bool) -> None:
        self.name = name
        self.attaches = attaches
        self.hub: SharedHub | None = None
        self.connection: InMemoryClient
        self.connections = 0
        self.sent = 0
        self._waiting: dict[str, str] = {}
        """The datasets of published events, by message id."""
        self.accepted: dict[str, str] = {}
        """Positions of accepted events, by dataset."""
        self.held: set[str] = set()

    @property
    def connected(self) -> bool:
        return self.hub is not None and not self.hub.hub.hub.closed and self.connection.outlet.closed is None

    def connect(self, hub: SharedHub) -> None:
        self.leave()
        self.hub = hub
        self.connection = hub.hub.connect("channels=none")
        self.connections += 1
        self._waiting.clear()
        if self.attaches:
            claims = [{"operation_id": operation_id} for operation_id in self.held]
            self.connection.send(
                "producer:attach", {"producer_id": self.name, "lease_s": LEASE_S, "operations": claims}
            )

    def leave(self) -> None:
        if self.connected:
            self.connection.drop()
        self.hub = None

    def update(self, event_id: str | None = None) -> None:
        """Publish an event that shows which connection sent it, and in which order."""
        self.sent += 1
        dataset = f"{self.name}/{self.connections}/{self.sent}"
        fields: dict[str, Any] = {} if event_id is None else {"event_id": event_id}
        data = {"dataset": dataset if event_id is None else event_id}
        id = self.connection.send("data:update", data, **fields)
        if id is not None and event_id is None:
            self._waiting[id] = dataset

    def change(self, action: str, operation_id: str) -> None:
        self.connection.send(f"operation:{action}", {"operation_id": operation_id, **_FIELDS[action]})
        if action == "start":
            self.held.add(operation_id)

    def read(self, draw: random.Random) -> None:
        """Read what arrived; answer pushes."""
        if self.hub is None:
            return
        for message in self.connection.read():
            reply_to = message.get("reply_to")
            if message["type"] == "event:accepted" and reply_to in self._waiting:
                self.accepted[self._waiting.pop(reply_to)] = message["data"]["position"]
            elif message["type"] == "operation:cancel" and self.connected:
                verdict = draw.choice(["stopping", "refused"])
                self.connection.send("operation:cancel_answer", {"verdict": verdict}, reply_to=message["id"], id=None)
                if verdict == "stopping" and draw.random() < 0.7:
                    self.change("cancelled", message["data"]["operation_id"])


class Run:
    """One run.

    Args:
        seed: Decides everything.
        local: Opens the logs of the nodes; None for logs in memory.
    """

    def __init__(self, seed: int, local: SqliteHarness | None = None) -> None:
        self.draw = draw = random.Random(seed)
        self.hubs = SharedHubs(
            draw.randint(2, 4),
            CONFIG,
            local,
            seed=seed,
            lost=draw.uniform(0, 0.3),
            doubled=draw.uniform(0, 0.3),
            max_delay_s=draw.choice([0.0, 0.02, 0.3]),
        )
        self.clients = [Client(f"client-{number}", attaches=number % 2 == 0) for number in range(6)]
        self.killed: list[SharedHub] = []
        self.away: list[SharedHub] = []
        self.cancels: list[tuple[SharedHub, list[CancelOutcome]]] = []
        self._steps: list[tuple[int, Callable[[], None]]] = [
            (30, self.publish),
            (25, self.change),
            (10, self.connect),
            (6, self.cancel),
            (5, self.repeat),
            (8, self.drop),
            (2, self.cut),
            (3, self.heal),
            (1, self.kill),
            (3, self.restart),
            (25, self.wait),
            (12, self.wait_long),
            (4, self.come_back),
        ]

    @property
    def alive(self) -> list[SharedHub]:
        return [hub for hub in self.hubs.hubs if hub not in self.killed]

    @property
    def connected(self) -> list[Client]:
        return [client for client in self.clients if client.connected]

    def run(self) -> None:
        weights, steps = zip(*self._steps, strict=True)
        for step in self.draw.choices(steps, weights, k=STEPS):
            step()
            for client in self.clients:
                client.read(self.draw)
        while self.away:
            self.heal()
        while self.killed:
            self.restart()
        for _ in range(10):
            self.hubs.loop.advance(_HEALED_S / 10)
            for client in self.clients:
                client.read(self.draw)
        self.hubs.engine.lost = 0.0  # a log whose heartbeats were lost has failed for a moment
        self.hubs.loop.advance(10)
        for _ in range(10_000):  # heartbeats are always under way
            if len({hub.log.seq for hub in self.hubs.hubs}) == 1:
                return
            self.hubs.loop.advance(0.01)
        raise AssertionError("the hubs never have folded the same entries")

    # Steps.

    def publish(self) -> None:
        for client in self.connected:
            for _ in range(self.draw.randint(0, 3)):
                client.update()

    def change(self) -> None:
        for client in self.draw.choices(self.connected or [None], k=2):
            if client is not None:
                client.change(self.draw.choice(["start", *_FIELDS, "start"]), self.draw.choice(OPERATIONS))

    def connect(self) -> None:
        if self.alive:
            self.draw.choice(self.clients).connect(self.draw.choice(self.alive))

    def repeat(self) -> None:
        """Publish one event under one id on two hubs."""
        event_id = f"event-{self.draw.randrange(10**9):09}-of-two"
        for client in self.draw.sample(self.connected, min(2, len(self.connected))):
            if not client.attaches:  # ids of a producer are its own
                client.update(event_id)

    def cancel(self) -> None:
        if not self.alive:
            return
        hub, outcomes = self.draw.choice(self.alive), list[CancelOutcome]()
        command = Cancel(operation_id=self.draw.choice(OPERATIONS), timeout_s=self.draw.uniform(0, 10))
        try:
            hub.hub.hub.cancellations.request(command, outcomes.append)
        except TidingsError:  # no such operation
            return
        self.cancels.append((hub, outcomes))

    def drop(self) -> None:
        self.draw.choice(self.clients).leave()

    def cut(self) -> None:
        hub = self.draw.choice(self.hubs.hubs)
        if hub not in self.killed + self.away:
            hub.journal.leave()
            self.away.append(hub)

    def heal(self) -> None:
        if self.away:
            self.away.pop(0).journal.come_back()

    def kill(self) -> None:
        hub = self.draw.choice(self.hubs.hubs)
        if hub not in self.killed:
            if hub in self.away:
                self.away.remove(hub)
            self.killed.append(hub)
            hub.kill()

    def restart(self) -> None:
        if self.killed:
            self.hubs.restart(self.killed.pop(0))

    def wait(self) -> None:
        self.hubs.loop.advance(self.draw.uniform(0, 0.5))

    def wait_long(self) -> None:
        self.hubs.loop.advance(self.draw.uniform(0, 2 * LEASE_S))

    def come_back(self) -> None:
        """Return with a running operation to a hub about when the lease ends."""
        client = self.draw.choice([client for client in self.clients if client.attaches])
        if not self.alive:
            return
        client.connect(self.draw.choice(self.alive))
        self.wait()
        client.change("start", self.draw.choice(OPERATIONS))
        self.wait()
        client.leave()
        self.hubs.loop.advance(LEASE_S + self.draw.uniform(-0.2, 0.5))
        if self.alive:
            client.connect(self.draw.choice(self.alive))

    # Checks.

    def check(self) -> None:
        hubs = self.hubs.hubs
        assert [hub.log.failed for hub in hubs] == [None] * len(hubs)
        histories = [_history(hub) for hub in hubs]
        assert all(history == histories[0] for history in histories)
        assert all(_fold_state(hub) == _fold_state(hubs[0]) for hub in hubs)
        _check_operations(histories[0])
        self._check_accepted(hubs[0], histories[0])
        _check_order(histories[0])
        self._check_leases(hubs[0])
        self._check_replay(hubs[0], histories[0])
        for hub, outcomes in self.cancels:
            assert len(outcomes) == 1 or (hub.hub.hub.closed and not outcomes), "each request has one outcome"

    def _check_accepted(self, hub: SharedHub, history: list[Record]) -> None:
        datasets = {str(hub.log.position(record.offset)): record.event.key for record in history}
        for client in self.clients:
            for dataset, position in client.accepted.items():
                assert datasets.get(position) == dataset, "an accepted event is in the log, where it was reported"
        ids = Counter(record.event.event_id for record in history if record.event.event_id is not None)
        assert set(ids.values()) <= {1}, "an event id is one event"
        keys = Counter(record.event.key for record in history if record.event.type == "data:update")
        assert set(keys.values()) <= {1}, "an event is in the log once"

    def _check_leases(self, hub: SharedHub) -> None:
        for status in hub.hub.hub.operations.live:
            if status.life.lease_s and status.state == "running":
                assert hub.log.producers.is_attached(status.life.producer_id), "the lease of an absent producer ended"
        attached = {producer_id for producer_id, known in hub.log.producers if known.connection is not None}
        expected = {client.name for client in self.connected if client.attaches}
        assert attached == expected

    def _check_replay(self, hub: SharedHub, history: list[Record]) -> None:
        """Fold the journal once more: no operation is lost while its producer is connected to a hub."""
        log = self.hubs.observer()
        found: list[Record] = []

        def check(records: Sequence[Record]) -> None:
            found.extend(records)
            for record in records:
                if record.event.type == "operation:failed" and b"producer_lost" in record.event.data:
                    life = log.operations.life(record.event.key or "")
                    assert life is not None
                    assert not log.producers.is_attached(life.producer_id)

        log.follow(check)
        log.start(1 << 62)
        self.hubs.loop.advance(5)
        assert log.failed is None
        folded = {record.offset: record for record in found}
        assert [folded.get(record.offset) for record in history] == history
        log.close()


def _history(hub: SharedHub) -> list[Record]:
    records: list[Record] = []
    query = Query(after=0, until=hub.log.head, paths=ALL, conflate=False, limit=10**6, max_bytes=10**9)
    after = 0
    while after < hub.log.head:
        pages: list[Any] = []
        hub.log.read(Query(after=after, until=query.until, paths=ALL, conflate=False), pages.append)
        records += pages[0].records
        after = pages[0].scanned
    return records


def _fold_state(hub: SharedHub) -> list[object]:
    operations = hub.log.operations
    lives = sorted((status.operation_id, status.life) for status in (*operations.live, *operations.ended))
    open_cancels = sorted(
        (operation_id, cancellation)
        for operation_id in OPERATIONS
        if (cancellation := hub.hub.hub.cancellations.find(operation_id)) is not None
    )
    return [lives, list(hub.log.producers), open_cancels, hub.log.epoch, hub.log.head]


def _check_operations(history: list[Record]) -> None:
    """Fold the history by the table of transitions, which rejects a second end of an attempt."""
    lives: dict[str, OperationLife | None] = {}
    for record in history:
        event = record.event
        if event.type in TRANSITIONS and event.key is not None:
            lives[event.key] = apply_event(event.key, lives.get(event.key), event, by_hub=True)


def _check_order(history: list[Record]) -> None:
    newest: dict[str, int] = {}
    for record in history:
        connection, _, number = (record.event.key or "").rpartition("/")
        if record.event.type == "data:update" and connection:
            assert int(number) > newest.get(connection, 0), "the events of a connection keep their order"
            newest[connection] = int(number)


@pytest.fixture
def local() -> Iterator[SqliteHarness]:
    with SqliteHarness() as harness:
        assert isinstance(harness, SqliteHarness)
        yield harness


@pytest.mark.parametrize("seed", range(RUNS))
def test_hubs_agree_and_keep_their_promises_over_a_bad_journal(seed: int) -> None:
    run = Run(seed)
    run.run()
    run.check()


@pytest.mark.parametrize("seed", range(0, RUNS, 5))
def test_hubs_agree_over_files_that_killed_ones_left(seed: int, local: SqliteHarness) -> None:
    run = Run(seed, local)
    run.run()
    run.check()
