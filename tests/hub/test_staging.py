from collections.abc import Sequence

import pytest
from tests.hub.events import make_entry, make_event

from tidings.exceptions import EventIDReused, LogFull, OperationFinished, TidingsError
from tidings.hub.staging import OperationChanges, PublishCallback, PublishResult, StagedOperations, Staging
from tidings.log.base import EventToAppend, Retention
from tidings.log.memory import MemoryLog
from tidings.operations.table import OperationTable

ID = "0123456789abcdef"


class Publisher:
    """Stages events and records their results."""

    def __init__(self) -> None:
        self.log = MemoryLog("e")
        self.staging = Staging(self.log)
        self.results: list[tuple[str, int | str, bool]] = []

    def settled(self, name: str) -> PublishCallback:
        def settled(result: PublishResult | TidingsError) -> None:
            if isinstance(result, PublishResult):
                self.results.append((name, result.offset, result.duplicate))
            else:
                self.results.append((name, result.code, False))

        return settled

    def publish(self, name: str, *, event_id: str | None = None, data: bytes = b"{}", scope: str = "") -> None:
        entry = make_entry(make_event(data=data, event_id=event_id), scope)
        self.staging.add(entry, self.settled(name))

    def append(self, most: int = 100, max_bytes: int = 1 << 20) -> list[str | None]:
        batch = self.staging.take(most, max_bytes)
        entries = [staged.entry for staged in batch.staged]
        self.log.append(entries, lambda first: self.staging.appended().commit(int(str(first))))
        return [entry.event.event_id for entry in entries]


def test_commit_reports_offsets_in_order() -> None:
    publisher = Publisher()
    for name in "abc":
        publisher.publish(name)
    assert len(publisher.staging) == 3
    publisher.append()
    assert publisher.results == [("a", 1, False), ("b", 2, False), ("c", 3, False)]
    assert len(publisher.staging) == 0


def test_take_is_bounded_and_keeps_the_order() -> None:
    publisher = Publisher()
    ids = [f"{number:016}" for number in range(5)]
    for event_id in ids:
        publisher.publish(event_id, event_id=event_id)
    assert [publisher.append(2) for _ in range(3)] == [ids[:2], ids[2:4], ids[4:]]
    assert [offset for _, offset, _ in publisher.results] == [1, 2, 3, 4, 5]


def test_take_is_bounded_by_bytes() -> None:
    publisher = Publisher()
    ids = [f"{number:016}" for number in range(5)]
    for event_id, size in zip(ids, (400, 400, 400, 5_000, 100), strict=True):
        publisher.publish(event_id, event_id=event_id, data=b'"%b"' % (b"x" * (size - 2)))
    assert [publisher.append(max_bytes=1_000) for _ in range(4)] == [ids[:2], ids[2:3], ids[3:4], ids[4:]]


def test_repeated_event_id_returns_the_first_event() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("same tick", event_id=ID)
    assert publisher.results == []
    publisher.append()
    publisher.publish("later", event_id=ID)
    assert publisher.results == [("first", 1, False), ("same tick", 1, True), ("later", 1, True)]
    assert len(publisher.staging) == 0


def test_event_id_is_known_during_the_append() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    batch = publisher.staging.take(10, 1 << 20)
    publisher.publish("during the append", event_id=ID)
    assert len(publisher.staging) == 1
    assert publisher.staging.appended() is batch
    batch.commit(7)
    assert publisher.results == [("first", 7, False), ("during the append", 7, True)]


def test_event_id_of_another_event_is_refused() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("staged", event_id=ID, data=b"[]")
    publisher.append()
    results: list[PublishResult | TidingsError] = []
    publisher.staging.add(make_entry(make_event(data=b"[]", event_id=ID)), results.append)
    assert publisher.results == [("staged", "event_id_reused", False), ("first", 1, False)]
    (error,) = results
    assert isinstance(error, EventIDReused)
    assert error.position == "e:1"


def test_event_ids_are_unique_per_scope() -> None:
    publisher = Publisher()
    publisher.publish("mine", event_id=ID, scope="me")
    publisher.publish("yours", event_id=ID, scope="you")
    publisher.append()
    assert publisher.results == [("mine", 1, False), ("yours", 2, False)]


def test_failed_batch_reports_to_all_and_frees_its_event_ids() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("again", event_id=ID)
    publisher.staging.take(10, 1 << 20)
    publisher.staging.appended().fail(LogFull("no room"))
    assert publisher.results == [("first", "log_full", False), ("again", "log_full", False)]
    publisher.publish("retried", event_id=ID)
    publisher.append()
    assert publisher.results[2:] == [("retried", 1, False)]


def test_failing_callback_does_not_block_the_others() -> None:
    publisher = Publisher()

    def broken(result: PublishResult | TidingsError) -> None:
        raise RuntimeError("as if a future had been cancelled")

    publisher.staging.add(make_entry(make_event()), broken)
    publisher.publish("other")
    publisher.append()
    assert publisher.results == [("other", 2, False)]


def traces(staging: Staging, keys: Sequence[str]) -> list[str | None]:
    return [staging.operations.trace_id(key) for key in keys]


def test_staged_operations_are_visible_until_the_tail() -> None:
    log = MemoryLog("e")
    staging = Staging(log)
    for key in "ab":
        staging.add(make_entry(make_event("operation:start", key, trace_id=f"t{key}")), lambda _: None)
    assert traces(staging, "ab") == ["ta", "tb"]
    batch = staging.take(1, 1 << 20)
    assert traces(staging, "ab") == ["ta", "tb"]
    staging.appended()
    assert traces(staging, "ab") == [None, "tb"]
    staging.committed(batch)
    assert traces(staging, "ab") == ["ta", "tb"]
    log.append([batch.staged[0].entry], lambda _: None)
    staging.folded()
    assert traces(staging, "ab") == ["ta", "tb"]
    staging.clear()
    assert traces(staging, "ab") == ["ta", None]


# The overlay on operations.


def start(key: str, *, trace_id: str = "t1", data: bytes | None = None) -> EventToAppend:
    return entry("start", key, trace_id=trace_id, data=data)


def entry(type: str, key: str, *, trace_id: str = "t1", data: bytes | None = None) -> EventToAppend:
    body = b'{"operation_id":"%b"}' % key.encode() if data is None else data
    return make_entry(make_event(f"operation:{type}", key, trace_id=trace_id, data=body))


def operations(*entries: EventToAppend) -> OperationTable:
    folded = Retention().new_operations()
    for offset, each in enumerate(entries, 1):
        folded.apply(offset, each.event, each.received_ns)
    return folded


def test_staged_operations_overlay_the_log() -> None:
    folded = operations(start("a"), start("b"))
    appending: OperationChanges = {}
    gathering: OperationChanges = {}
    older = StagedOperations(folded, [appending])
    older.apply(entry("complete", "a"))
    older.apply(start("c", trace_id="t2"))
    view = StagedOperations(folded, [appending, gathering])
    assert [view.trace_id(key) for key in "abc"] == [None, "t1", "t2"]
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2")] == ["b", "c"]
    view.apply(entry("progress", "b", trace_id="other"))
    view.apply(start("a", trace_id="t3"))
    view.apply(entry("complete", "c"))
    view.apply(entry("log", "d", trace_id="t4"))
    assert set(gathering) == {"a", "c"}
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2", "t3")] == ["b", None, "a"]
    assert [folded.life(key) for key in "c"] == [None]


def test_unnamed_failure_skips_operations_of_another_producer() -> None:
    folded = operations(start("a"))
    folded.hold("a", "producer", 30.0)
    view = StagedOperations(folded, [{}])
    assert view.only_of_trace("t1", "producer") == "a"
    assert view.only_of_trace("t1", "another") is None
    assert view.only_of_trace("t1") is None


def test_start_of_a_later_attempt_gets_its_number() -> None:
    view = StagedOperations(operations(start("a"), entry("complete", "a")), [{}])
    second, life = view.apply(start("a", data=b'{"operation_id":"a","name":"import" }'))
    assert second.event.data == b'{"operation_id":"a","name":"import","attempt":2}'
    assert life is not None
    assert life.attempt == 2
    view.apply(entry("failed", "a"))
    unnamed, _ = view.apply(start("a", data=b'{"operation_id":"a","attempt":0}'))
    assert unnamed.event.data == b'{"operation_id":"a","attempt":3}'
    view.apply(entry("failed", "a"))
    third = start("a", data=b'{"operation_id":"a","attempt":4}')
    assert view.apply(third)[0] is third


def test_refused_event_changes_no_operation() -> None:
    gathering: OperationChanges = {}
    view = StagedOperations(operations(start("a"), entry("complete", "a")), [gathering])
    with pytest.raises(OperationFinished):
        view.apply(entry("failed", "a"))
    assert gathering == {}
