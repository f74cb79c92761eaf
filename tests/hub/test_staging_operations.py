import pytest
from tests.hub.events import make_draft, make_event

from tidings.exceptions import OperationFinished
from tidings.hub.staging import OperationChanges, StagedOperations
from tidings.log.base import EventToAppend, Retention
from tidings.operations.table import OperationTable


def start(key: str, *, trace_id: str = "t1", data: bytes | None = None) -> EventToAppend:
    return draft("start", key, trace_id=trace_id, data=data)


def draft(type: str, key: str, *, trace_id: str = "t1", data: bytes | None = None) -> EventToAppend:
    body = b'{"operation_id":"%b"}' % key.encode() if data is None else data
    return make_draft(make_event(f"operation:{type}", key, trace_id=trace_id, data=body))


def operations(*drafts: EventToAppend) -> OperationTable:
    folded = Retention().new_operations()
    for offset, each in enumerate(drafts, 1):
        folded.note(offset, each.event, each.received_ns)
    return folded


def test_what_is_staged_is_seen_above_the_log() -> None:
    folded = operations(start("a"), start("b"))
    appending: OperationChanges = {}
    gathering: OperationChanges = {}
    older = StagedOperations(folded, [appending])
    older.apply(draft("complete", "a"))
    older.apply(start("c", trace_id="t2"))
    view = StagedOperations(folded, [appending, gathering])
    assert [view.trace_id(key) for key in "abc"] == [None, "t1", "t2"]
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2")] == ["b", "c"]
    view.apply(draft("progress", "b", trace_id="other"))
    view.apply(start("a", trace_id="t3"))
    view.apply(draft("complete", "c"))
    view.apply(draft("log", "d", trace_id="t4"))
    assert set(gathering) == {"a", "c"}
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2", "t3")] == ["b", None, "a"]
    assert [folded.life(key) for key in "c"] == [None]


def test_what_another_producer_holds_is_not_meant_by_a_failure_without_a_name() -> None:
    folded = operations(start("a"))
    folded.hold("a", "producer", 30.0)
    view = StagedOperations(folded, [{}])
    assert view.only_of_trace("t1", "producer") == "a"
    assert view.only_of_trace("t1", "another") is None
    assert view.only_of_trace("t1") is None


def test_the_attempt_is_written_into_the_start_of_a_later_one() -> None:
    view = StagedOperations(operations(start("a"), draft("complete", "a")), [{}])
    second, life = view.apply(start("a", data=b'{"operation_id":"a","name":"import" }'))
    assert second.event.data == b'{"operation_id":"a","name":"import","attempt":2}'
    assert life is not None
    assert life.attempt == 2
    view.apply(draft("failed", "a"))
    third = start("a", data=b'{"operation_id":"a","attempt":3}')
    assert view.apply(third)[0] is third


def test_what_is_not_allowed_changes_nothing() -> None:
    gathering: OperationChanges = {}
    view = StagedOperations(operations(start("a"), draft("complete", "a")), [gathering])
    with pytest.raises(OperationFinished):
        view.apply(draft("failed", "a"))
    assert gathering == {}
