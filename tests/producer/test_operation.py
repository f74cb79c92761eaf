"""Operations that report to a real hub."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.producer.programs import run
from tests.producer.reported import Reported, until

import tidings
from tidings.producer.outcome import Completed
from tidings.producer.runtime import RUNTIME


def test_block_reports_start_progress_and_complete(reported: Reported) -> None:
    with tidings.operation("Import prices", steps=["fetch", "parse"], metadata={"source": "lse"}) as op:
        op.progress(42, "parsing", step="parse")
        op.log("half of it", level="warning")
    received = reported.received(op.id)
    assert [kind for kind, _ in received if kind != "progress"] == ["start", "log", "complete"]
    start = dict(received)["start"]
    assert (start["name"], start["steps"], start["total_steps"]) == ("Import prices", ["fetch", "parse"], 2)
    assert start["metadata"] == {"source": "lse"}
    assert start["pid"] > 0
    assert start["host"]
    progress = dict(received)["progress"]
    assert (progress["progress"], progress["message"], progress["current_step"]) == (42, "parsing", "parse")
    assert dict(received)["log"] == {"operation_id": op.id, "level": "warning", "message": "half of it"}
    assert dict(received)["complete"]["duration_ms"] > 0
    assert op.state == "complete"
    assert {event.trace_id for event in reported.events()} == {op.trace_id}


def test_last_progress_arrives_before_the_terminal_event(reported: Reported) -> None:
    with tidings.operation("Count", total=1_000) as op:
        for _ in range(999):
            op.advance()
    assert [(kind, data.get("progress")) for kind, data in reported.received(op.id)][-2:] == [
        ("progress", 99.9),
        ("complete", None),
    ]


def test_progress_is_published_without_further_calls(reported: Reported) -> None:
    """No further report is necessary for a value to be sent."""
    with tidings.operation("Wait", total=10) as op:
        op.advance(3)
        until(lambda: any(event.type == "operation:progress" for event in reported.events()))
        assert reported.last(op.id)[1]["progress"] == 30
        op.advance()
        until(lambda: reported.last(op.id)[1].get("progress") == 40)


def test_block_left_by_an_exception_fails_and_reraises(reported: Reported) -> None:
    with pytest.raises(ZeroDivisionError) as raised, tidings.operation("Divide") as op:
        1 / 0  # noqa: B018
    assert raised.value.__traceback__ is not None
    kind, data = reported.last(op.id)
    assert kind == "failed"
    assert (data["code"], data["message"], data["recoverable"]) == ("zero_division_error", "division by zero", False)
    assert "1 / 0" in data["details"]
    assert op.state == "failed"


@pytest.mark.parametrize(
    ("error", "kind", "fact"),
    [
        (KeyboardInterrupt(), "cancelled", ("reason", "interrupted from the keyboard")),
        (tidings.OperationCancelled("x", reason="lunch", cancelled_by="ann"), "cancelled", ("cancelled_by", "ann")),
        (SystemExit(0), "complete", ("attempt", None)),
        (SystemExit(3), "failed", ("code", "exit_3")),
        (SystemExit("no input"), "failed", ("message", "no input")),
        (GeneratorExit(), "cancelled", ("reason", "the generator around the operation was closed")),
    ],
)
def test_block_left_by_a_control_exception_has_its_outcome(
    reported: Reported, error: BaseException, kind: str, fact: tuple[str, Any]
) -> None:
    with pytest.raises(type(error)), tidings.operation("Leave") as op:
        raise error
    outcome, data = reported.last(op.id)
    assert outcome == kind
    assert data.get(fact[0]) == fact[1]


def test_reports_after_the_end_are_ignored(reported: Reported) -> None:
    with tidings.operation("Once") as op:
        op.complete(result={"rows": 3}, message="3 rows")
        op.complete()
        op.fail("late")
        op.cancel("late")
        op.log("late")
        op.progress(5)
        op.advance()
    assert reported.kinds(op.id) == ["start", "complete"]
    kind, data = reported.last(op.id)
    assert (kind, data["result"], data["message"]) == ("complete", {"rows": 3}, "3 rows")


def test_fail_and_cancel_report_their_arguments(reported: Reported) -> None:
    with tidings.operation("Fail") as failed:
        failed.fail("no_prices", "the exchange sent none", recoverable=True, hint="Wait for the bell.")
    with tidings.operation("Fail by an exception") as raised:
        raised.fail(ConnectionResetError("the line is dead"), details="see the log")
    with tidings.operation("Cancel") as cancelled:
        cancelled.cancel("not needed")
    data = reported.last(failed.id)[1]
    assert (data["code"], data["message"]) == ("no_prices", "the exchange sent none")
    assert (data["recoverable"], data["hint"]) == (True, "Wait for the bell.")
    data = reported.last(raised.id)[1]
    assert (data["code"], data["details"], data["recoverable"]) == ("connection_reset_error", "see the log", True)
    assert reported.last(cancelled.id) == ("cancelled", {"operation_id": cancelled.id, "reason": "not needed"})
    assert cancelled.cancelled


def test_start_begins_immediately_and_ends_with_complete(reported: Reported) -> None:
    op = tidings.start("Notebook", total=4)
    assert op.state == "running"
    op.advance(2)
    op.complete()
    assert reported.kinds(op.id) == ["start", "complete"]
    assert RUNTIME.running == []


def test_started_operation_may_enter_its_block_later(reported: Reported) -> None:
    op = tidings.start("Later")
    with op:
        op.advance()
    assert reported.kinds(op.id) == ["start", "complete"]


def test_queued_operation_begins_with_its_first_report(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True, total=2)
    before: str = op.state
    assert before == "queued"
    assert reported.received(op.id)[0][1]["queued"] is True
    op.advance()
    assert op.state == "running"
    op.complete()
    starts = [data.get("queued", False) for kind, data in reported.received(op.id) if kind == "start"]
    assert starts == [True, False]


def test_queued_operation_begins_with_its_block_or_with_begin(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True)
    with op:
        assert op.state == "running"
    other = tidings.start("Queue", queued=True)
    other.begin()
    other.begin()
    other.complete()
    assert reported.kinds(op.id) == reported.kinds(other.id) == ["start", "start", "complete"]


def test_queued_operation_that_is_cancelled_never_runs(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True)
    op.cancel("not needed")
    assert reported.kinds(op.id) == ["start", "cancelled"]


def test_operation_entered_again_is_the_next_attempt(reported: Reported) -> None:
    op = tidings.operation("Retry", total=10)

    def fail() -> None:
        with op:
            op.advance(7)
            raise OSError("no luck")

    with pytest.raises(OSError, match="no luck"):
        fail()
    with op:
        op.advance(2)
        assert op.percent == 20
    assert reported.kinds(op.id) == ["start", "failed", "start", "complete"]
    assert [data["progress"] for kind, data in reported.received(op.id) if kind == "progress"][-1] == 20


def test_child_inherits_trace_and_parent_id(reported: Reported) -> None:
    with tidings.operation("Parent") as parent:
        with parent.child("Child", steps=["only"]) as child:
            pass
        with tidings.operation("Foundling", parent=parent.id) as foundling:
            pass
    assert child.trace_id == parent.trace_id != foundling.trace_id
    assert [reported.received(op.id)[0][1]["parent_id"] for op in (child, foundling)] == [parent.id] * 2


def test_current_operation_is_that_of_the_innermost_block(reported: Reported) -> None:
    assert tidings.current_operation() is None
    with tidings.operation("Outer") as outer:
        with tidings.operation("Inner") as inner:
            assert tidings.current_operation() is inner
        assert tidings.current_operation() is outer
    assert tidings.current_operation() is None


def test_reports_from_many_threads_all_arrive(reported: Reported) -> None:
    with tidings.operation("Threads", total=4_000) as op:

        def work() -> None:
            for number in range(1_000):
                op.advance()
                if not number % 250:
                    op.log(f"{number}")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert op.percent == 100
    assert reported.kinds(op.id) == ["start", *["log"] * 16, "complete"]


def test_disabled_operation_sends_nothing_and_keeps_its_state(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")
    with tidings.operation("Disabled", total=2) as op:
        op.advance()
        assert op.percent == 50
        op.log("nothing")
    assert op.state == "complete"
    assert reported.received() == []


def test_repr_shows_name_state_progress_and_id(reported: Reported) -> None:
    with tidings.operation("Shown", total=4) as op:
        op.advance()
        assert repr(op) == f"<Operation 'Shown' running 25 % id={op.id}>"
    assert repr(tidings.operation("New", id="a-new-one")) == "<Operation 'New' new id=a-new-one>"


def test_cancel_with_subject_reports_the_subject(reported: Reported) -> None:
    op = tidings.start("Stop")
    op.cancel("enough", cancelled_by="ada")
    kind, data = reported.last(op.id)
    assert (kind, data["reason"], data["cancelled_by"]) == ("cancelled", "enough", "ada")


FIRST_REPORTS: dict[str, Callable[[tidings.Operation], object]] = {
    "begin": lambda op: op.begin(),
    "advance": lambda op: op.advance(),
    "progress": lambda op: op.progress(10),
    "indeterminate": lambda op: op.indeterminate("searching"),
    "log": lambda op: op.log("a line"),
    "step": lambda op: op.step("fetch").begin(),
    "track": lambda op: next(op.track([1, 2])),
    "child": lambda op: op.child("part").begin(),
    "complete": lambda op: op.complete(),
}


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("name", FIRST_REPORTS)
def test_operation_begins_with_its_first_report(reported: Reported, name: str, queued: bool) -> None:
    op = tidings.operation("First report", queued=queued)
    kept = FIRST_REPORTS[name](op)
    if name != "complete":
        assert op.state == "running"
    for lifecycle in RUNTIME.running:
        lifecycle.end(Completed())
    assert [kind for kind in reported.kinds(op.id) if kind != "log"] == ["start", "complete"]
    assert "queued" not in reported.received(op.id)[0][1]
    del kept


def test_operation_without_a_block_reports_all(reported: Reported) -> None:
    op = tidings.operation("Explicit", queued=True)
    op.begin()
    op.progress(10, "reading")
    part = op.child("Part")
    part.fail("the disk is full")
    op.complete(result=1)
    op.begin()
    assert (op.state, part.state) == ("complete", "failed")
    assert reported.kinds(op.id) == ["start", "complete"]
    assert reported.received(part.id)[0][1]["parent_id"] == op.id


@pytest.mark.parametrize("end", ["fail('gone')", "cancel('not needed')"])
def test_operation_that_never_began_starts_before_its_end(reported: Reported, end: str) -> None:
    op = tidings.operation("Ends only")
    eval(f"op.{end}", {"op": op})
    kinds = reported.kinds(op.id)
    assert kinds in (["start", "failed"], ["start", "cancelled"])


def test_failure_of_one_sentence_is_not_doubled(reported: Reported) -> None:
    op = tidings.start("Fail")
    op.fail("the disk is full")
    data = reported.last(op.id)[1]
    assert (data["code"], data["message"]) == ("failed", "the disk is full")


def test_step_block_is_current_for_an_operation_without_a_block(reported: Reported) -> None:
    op = tidings.start("Steps")
    with op.step("outer") as outer:
        assert tidings.current_operation() is op
        with outer.step("inner"):
            assert tidings.current_operation() is op
        with tidings.operation("Other") as other, other.step("a"):
            assert tidings.current_operation() is other
    assert tidings.current_operation() is None
    op.complete()


def test_operation_left_without_an_end_ends_with_the_program(reported: Reported, tmp_path: Path) -> None:
    dropped = "tidings.operation('Dropped', id='dropped').progress(10)"
    assert run(dropped, reported.hub.url, tmp_path) == (0, "")
    assert reported.last("dropped")[1]["code"] == "not_finished"
    raised = "op = tidings.operation('Raises', id='raises')\nop.progress(10)\nraise LookupError('no row')"
    assert run(raised, reported.hub.url, tmp_path)[0] == 1
    assert reported.last("raises")[1]["code"] == "lookup_error"


def test_blocks_left_out_of_order_leave_no_current_operation(reported: Reported) -> None:
    def rows(op: tidings.Operation) -> Iterator[int]:
        with op:
            yield 1
        yield 2

    first, second = tidings.operation("First"), tidings.operation("Second")
    a, b = rows(first), rows(second)
    next(a)
    next(b)
    assert tidings.current_operation() is second
    next(a)
    assert tidings.current_operation() is second
    next(b)
    assert tidings.current_operation() is None
    assert (first.state, second.state) == ("complete", "complete")


def test_block_inside_a_block_of_the_same_operation_ends_nothing(reported: Reported) -> None:
    op = tidings.operation("Again")

    def work() -> None:
        with op:
            with op, op.step("a") as step, step:
                pass
            assert (op.state, tidings.current_operation()) == ("running", op)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert tidings.current_operation() is None
    assert reported.kinds(op.id) == ["start", "failed"]
