"""The guarantees of PROTOCOL.md, under any order of publishing, subscribing, stalling, dropping, trimming and
failing."""

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.hub.watcher import CHANNELS, Watcher

from tidings.exceptions import LogUnavailable
from tidings.hub.config import HubConfig
from tidings.hub.lanes import SubscriberState
from tidings.log.base import Log, OnControl, Page, Query, Record, Retention, Tail
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.paths import parse_paths
from tidings.testing.clock import ManualClock
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub, Message
from tidings.testing.loop import ManualLoop

RETENTION = Retention(
    events=25,
    bytes=1 << 20,
    age_s=600.0,
    superseded_age_s=10.0,
    superseded_events=10,
    newest_age_s=3_000.0,
    keep_newest={"operation:log": 2},
)
CONFIG = HubConfig(
    high_water=300,
    ring_bytes=2_500,
    catchup_bytes=150,
    catchup_budget_s=0.004,
    batch_events=4,
    maintain_s=1.0,
    retention=RETENTION,
)
KEYS = ("a", "ab", "ac", "b")
PATHS = ("operations", "operations/a", "operations/ab", "operations/a*", "data", "data/a", "global", "system", "*")
TYPES: dict[str, Message] = {
    "operation:start": {"name": "run"},
    "operation:progress": {"progress": 1},
    "operation:log": {},
    "operation:complete": {},
    "data:update": {},
    "system:alert": {"severity": "info", "code": "c", "recoverable": True},
    "system:status": {"status": "healthy", "uptime": 1, "active_operations": 0, "metrics": {}},
}
KEY_FIELDS = {"operation": "operation_id", "data": "dataset", "system:alert": "alert_id", "system:status": "source"}


class Publication(NamedTuple):
    """Some events of one type."""

    type: str
    keys: list[str]
    everywhere: bool
    named: bool
    cleared: bool


PUBLICATIONS = st.builds(
    Publication,
    type=st.sampled_from(sorted(TYPES)),
    keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=5),
    everywhere=st.sampled_from([False, False, False, True]),
    named=st.booleans(),
    cleared=st.booleans(),
)
PACES = st.sampled_from([0, 0, 50, 1000])
SUBSCRIPTIONS = st.tuples(
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True),
    st.sampled_from([None, "snapshot", "now", "first", "position", "position"]),
    st.integers(-2, 30),
)


class RecordingLog(FaultyLog):
    """A faulty log that records the events of its tail."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.records: dict[int, Record] = {}

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        def record(records: Sequence[Record]) -> None:
            self.records.update((record.offset, record) for record in records)
            tail(records)

        super().follow(record, on_control)


class HubMachine(RuleBasedStateMachine):
    """Watchers of one hub, each of which checks the messages that it reads."""

    watchers = Bundle("watchers")
    gone = Bundle("gone")

    def open_log(self, loop: ManualLoop) -> Log:
        return MemoryLog(EPOCH, RETENTION)

    @initialize(
        target=watchers,
        joining=st.lists(st.tuples(PACES, SUBSCRIPTIONS), min_size=2, max_size=3),
        published=st.lists(PUBLICATIONS, min_size=2, max_size=4),
        settled=st.booleans(),
        held=st.booleans(),
        stalled=st.booleans(),
    )
    def start(
        self,
        joining: list[tuple[int, tuple[list[str], str | None, int]]],
        published: list[Publication],
        settled: bool,
        held: bool,
        stalled: bool,
    ) -> MultipleResults[Watcher]:
        clock = ManualClock(reading_s=0.001)
        loop = ManualLoop(clock)
        self.log = RecordingLog(self.open_log(loop))
        self.hub = InMemoryHub(CONFIG, log=self.log, clock=clock, loop=loop)
        self.all: list[Watcher] = []
        self.number = 0
        self.repeated: set[str] = set()
        self.repeatable: list[tuple[str, Message, str, dict[str, Any]]] = []
        for pace_ms, subscription in joining:
            self.subscribe(self._join(pace_ms), subscription)
        for publication in published:
            self._publish(self.all[0], publication)
            self.hub.loop.run_round()
        if settled:
            self.settle()
        if held:
            self.log.hold_reads()
        for watcher in self.all[: 2 if stalled else 0]:
            self.stall(watcher, 200)
        return multiple(*self.all)

    # Clients.

    @precondition(lambda self: len(self.all) < 5)
    @rule(target=watchers, pace_ms=PACES, subscription=SUBSCRIPTIONS)
    def join(self, pace_ms: int, subscription: tuple[list[str], str | None, int]) -> Watcher:
        watcher = self._join(pace_ms)
        self.subscribe(watcher, subscription)
        return watcher

    def _join(self, pace_ms: int) -> Watcher:
        watcher = Watcher(self.hub, self.log.records, pace_ms, self.repeated)
        watcher.connect()
        self.all.append(watcher)
        return watcher

    @rule(watcher=watchers, subscription=SUBSCRIPTIONS)
    def subscribe(self, watcher: Watcher, subscription: tuple[list[str], str | None, int]) -> None:
        channels, since, back = subscription
        if since == "position":
            since = str(self.log.position(max(0, self.log.head - back)))
        watcher.subscribe(channels, since)

    @rule(watcher=watchers, data=st.data())
    def unsubscribe(self, watcher: Watcher, data: st.DataObject) -> None:
        assert watcher.client is not None
        own = watcher.client.connection.subscriber.paths.names()
        if own:
            watcher.unsubscribe(data.draw(st.lists(st.sampled_from(own), min_size=1, unique=True)))

    @rule(watcher=watchers, room=st.sampled_from([0, 0, 100, 700]))
    def stall(self, watcher: Watcher, room: int) -> None:
        assert watcher.client is not None
        watcher.client.outlet.stall(room)

    @rule(watcher=watchers, size=st.sampled_from([50, 400, 3_000, 1 << 62]))
    def take(self, watcher: Watcher, size: int) -> None:
        assert watcher.client is not None
        watcher.client.outlet.take(size)
        watcher.read()

    @rule(target=gone, watcher=consumes(watchers))
    def drop(self, watcher: Watcher) -> Watcher:
        watcher.drop()
        return watcher

    @rule(target=watchers, watcher=consumes(gone))
    def come_back(self, watcher: Watcher) -> Watcher:
        watcher.connect()
        return watcher

    # Publishing.

    @rule(watcher=watchers, published=st.lists(PUBLICATIONS, min_size=1, max_size=4))
    def publish(self, watcher: Watcher, published: list[Publication]) -> None:
        for publication in published:
            self._publish(watcher, publication)

    def _publish(self, watcher: Watcher, publication: Publication) -> None:
        type = publication.type
        for key in publication.keys:
            self.number += 1
            number = f"{self.number}"
            data = TYPES[type] | {KEY_FIELDS.get(type) or KEY_FIELDS[type.partition(":")[0]]: key}
            if type == "system:alert" and publication.cleared:
                data["state"] = "cleared"
            fields: dict[str, Any] = {"channel": "global"} if publication.everywhere else {}
            if publication.named:
                fields["event_id"] = f"event-{number:0>16}"
                self.repeatable.append((type, data, number, fields))
            watcher.publish(type, data, number, **fields)

    @precondition(lambda self: self.repeatable)
    @rule(watcher=watchers, data=st.data())
    def publish_again(self, watcher: Watcher, data: st.DataObject) -> None:
        type, body, number, fields = data.draw(st.sampled_from(self.repeatable))
        watcher.publish(type, body, number, again=True, **fields)

    # The loop and the log.

    @rule(rounds=st.integers(1, 4))
    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.hub.loop.run_round()

    @rule()
    def settle(self) -> None:
        self.hub.settle()
        for watcher in self.all:
            watcher.read()

    @rule(seconds=st.sampled_from([0.05, 1.0, 6.0, 30.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.hub.loop.advance(seconds)

    @rule()
    def fail_append(self) -> None:
        self.log.fail_append(LogUnavailable("as if the disk had gone"))

    @rule()
    def fail_read(self) -> None:
        self.log.fail_read(LogUnavailable("as if the disk had gone"))

    @rule(appends=st.booleans())
    def hold(self, appends: bool) -> None:
        if appends:
            self.log.hold_appends()
        else:
            self.log.hold_reads()

    @rule(appends=st.booleans())
    def release(self, appends: bool) -> None:
        if appends:
            self.log.release_appends()
        else:
            self.log.release_reads()

    # Invariants once all watchers have read everything.

    @rule()
    def check(self) -> None:
        self.log.clear_faults()
        for _ in range(3):  # each step may cause more of the others
            self.log.release_appends()
            self.log.release_reads()
            for watcher in self.all:
                if watcher.client is not None:
                    watcher.client.outlet.take()
            self.hub.loop.advance(7.0)
        held, newest = self._read_all(newest_only=False), self._read_all(newest_only=True)
        for watcher in self.all:
            if watcher.client is None:
                continue
            watcher.read()
            watcher.check(held, newest)
            subscriber = watcher.client.connection.subscriber
            assert self.hub.hub.delivery.reached(subscriber) == self.log.head
            assert subscriber.state is (SubscriberState.LIVE if subscriber.paths else SubscriberState.CATCHING_UP)
        self._check_publishing(held)
        assert len(self.hub.hub.delivery.catchup) == 0
        assert self.hub.hub.staged == 0

    def _read_all(self, *, newest_only: bool) -> set[int]:
        everything = parse_paths(["*"], CHANNELS)
        offsets: set[int] = set()
        scanned = 0
        while scanned < self.log.head:
            pages: list[Any] = []
            query = Query(after=scanned, until=self.log.head, paths=everything, conflate=False, newest_only=newest_only)
            self.log.read(query, pages.append)
            page = pages[0]
            assert isinstance(page, Page)
            offsets.update(record.offset for record in page.records)
            scanned = page.scanned
        return offsets

    def _check_publishing(self, held: set[int]) -> None:
        numbers: dict[str, list[int]] = {}
        for record in self.log.records.values():
            numbers.setdefault(number_of(record), []).append(record.offset)
        for offsets in numbers.values():  # an event id is known while its event is in the log
            assert len(held.intersection(offsets)) <= 1, "an event is in the log twice"
        for watcher in self.all:
            for number, offset in watcher.accepted.items():
                assert offset in numbers[number], "an accepted event is not at its reported position"
            repeated = {number for _, _, number, _ in self.repeatable}
            assert watcher.refused.isdisjoint(numbers.keys() - repeated), "a refused event is in the log"

    def teardown(self) -> None:
        for watcher in getattr(self, "all", ()):
            if watcher.client is None:
                watcher.connect()
        if hasattr(self, "all"):
            self.check()


def number_of(record: Record) -> str:
    number = json.loads(record.event.data)["message"]
    assert isinstance(number, str)
    return number


SETTINGS = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # the explain phase takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def test_guarantees_hold_over_a_memory_log() -> None:
    run_state_machine_as_test(HubMachine, settings=SETTINGS)


def test_guarantees_hold_over_a_sqlite_log(tmp_path: Path) -> None:
    folders = (tmp_path / f"{number}" for number in count())

    class SqliteMachine(HubMachine):
        def open_log(self, loop: ManualLoop) -> Log:
            self.sqlite = SqliteLog(next(folders), loop, lambda: EPOCH, retention=RETENTION, ballast_bytes=0)
            return self.sqlite

        def teardown(self) -> None:
            try:
                super().teardown()
            finally:
                if hasattr(self, "sqlite"):
                    self.sqlite.close()

    run_state_machine_as_test(SqliteMachine, settings=settings(SETTINGS, max_examples=50))
