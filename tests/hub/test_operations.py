from tests.hub.events import make_event

from tidings.hub.operations import Changes, LiveOperations, OperationView


def operations(*events: tuple[str, str, str]) -> LiveOperations:
    live = LiveOperations()
    for type, key, trace_id in events:
        live.note(make_event(f"operation:{type}", key, trace_id=trace_id))
    return live


def test_an_operation_lives_from_its_start_to_its_end() -> None:
    live = operations(("start", "a", "t1"), ("progress", "b", "t2"), ("log", "c", "t3"))
    assert [live.trace_id(key) for key in "abc"] == ["t1", "t2", None]
    for end in ("complete", "failed", "cancelled"):
        live.note(make_event("operation:start", "a", trace_id=end))
        live.note(make_event(f"operation:{end}", "a"))
        assert live.trace_id("a") is None
    assert len(live) == 1


def test_the_trace_is_that_of_the_beginning() -> None:
    live = operations(("start", "a", "t1"), ("progress", "a", "t2"), ("start", "a", "t3"))
    assert live.trace_id("a") == "t1"


def test_what_ends_without_having_begun_changes_nothing() -> None:
    live = operations(("complete", "a", "t1"))
    assert len(live) == 0


def test_an_event_without_a_key_belongs_to_no_operation() -> None:
    live = LiveOperations()
    live.note(make_event("operation:failed"))
    OperationView(live, [{}]).note(make_event("operation:failed"))
    assert len(live) == 0


def test_the_one_live_operation_of_a_trace() -> None:
    live = operations(("start", "a", "t1"), ("start", "b", "t2"), ("start", "c", "t2"))
    view = OperationView(live, [{}])
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2", "t3")] == ["a", None, None]
    live.note(make_event("operation:complete", "b"))
    assert view.only_of_trace("t2") == "c"
    live.note(make_event("operation:complete", "c"))
    assert list(live.of_trace("t2")) == []


def test_what_is_staged_is_seen_above_the_log() -> None:
    live = operations(("start", "a", "t1"), ("start", "b", "t1"))
    appending: Changes = {}
    gathering: Changes = {}
    older = OperationView(live, [appending])
    older.note(make_event("operation:complete", "a"))
    older.note(make_event("operation:start", "c", trace_id="t2"))
    view = OperationView(live, [appending, gathering])
    assert [view.trace_id(key) for key in "abc"] == [None, "t1", "t2"]
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2")] == ["b", "c"]
    view.note(make_event("operation:progress", "b", trace_id="other"))
    view.note(make_event("operation:progress", "a", trace_id="t3"))
    view.note(make_event("operation:complete", "c"))
    view.note(make_event("operation:log", "d", trace_id="t4"))
    assert gathering == {"a": "t3", "c": None}
    assert [view.only_of_trace(trace_id) for trace_id in ("t1", "t2", "t3")] == ["b", None, "a"]
    assert [live.trace_id(key) for key in "abc"] == ["t1", "t1", None]
