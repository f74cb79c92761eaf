import logging
import threading
from typing import Any

import pytest
from tests.producer.reported import Reported, until

import tidings
from tidings.producer.runtime import RUNTIME


def test_a_block_is_an_operation_from_start_to_complete(reported: Reported) -> None:
    with tidings.operation("Import prices", steps=["fetch", "parse"], metadata={"source": "lse"}) as op:
        op.progress(42, "parsing", step="parse")
        op.log("half of it", level="warning")
    told = reported.told(op.id)
    assert [kind for kind, _ in told if kind != "progress"] == ["start", "log", "complete"]
    start = dict(told)["start"]
    assert (start["name"], start["steps"], start["total_steps"]) == ("Import prices", ["fetch", "parse"], 2)
    assert start["metadata"] == {"source": "lse"}
    assert start["pid"] > 0
    assert start["host"]
    progress = dict(told)["progress"]
    assert (progress["progress"], progress["message"], progress["current_step"]) == (42, "parsing", "parse")
    assert dict(told)["log"] == {"operation_id": op.id, "level": "warning", "message": "half of it"}
    assert dict(told)["complete"]["duration_ms"] > 0
    assert op.state == "complete"
    assert {event.trace_id for event in reported.events()} == {op.trace_id}


def test_the_last_value_always_arrives_before_the_end(reported: Reported) -> None:
    with tidings.operation("Count", total=1_000) as op:
        for _ in range(999):
            op.advance()
    assert [(kind, data.get("progress")) for kind, data in reported.told(op.id)][-2:] == [
        ("progress", 99.9),
        ("complete", None),
    ]


def test_progress_arrives_while_the_job_does_something_else(reported: Reported) -> None:
    """Nobody has to report again for a value to be sent."""
    with tidings.operation("Wait", total=10) as op:
        op.advance(3)
        until(lambda: any(event.type == "operation:progress" for event in reported.events()))
        assert reported.last(op.id)[1]["progress"] == 30
        op.advance()
        until(lambda: reported.last(op.id)[1].get("progress") == 40)


def test_an_exception_is_the_failure_and_passes_on(reported: Reported) -> None:
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
def test_exceptions_that_are_no_failures(
    reported: Reported, error: BaseException, kind: str, fact: tuple[str, Any]
) -> None:
    with pytest.raises(type(error)), tidings.operation("Leave") as op:
        raise error
    told, data = reported.last(op.id)
    assert told == kind
    assert data.get(fact[0]) == fact[1]


def test_an_operation_ends_once_whatever_is_said_afterwards(reported: Reported) -> None:
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


def test_a_job_may_say_itself_that_it_failed_or_was_cancelled(reported: Reported) -> None:
    with tidings.operation("Fail") as failed:
        failed.fail("no_prices", "the exchange sent none", recoverable=True, hint="Wait for the bell.")
    with tidings.operation("Fail by an exception") as raised:
        raised.fail(ConnectionResetError("the line is dead"), details="see the log")
    with tidings.operation("Cancel") as cancelled:
        cancelled.cancel("nobody needs it")
    data = reported.last(failed.id)[1]
    assert (data["code"], data["message"]) == ("no_prices", "the exchange sent none")
    assert (data["recoverable"], data["hint"]) == (True, "Wait for the bell.")
    data = reported.last(raised.id)[1]
    assert (data["code"], data["details"], data["recoverable"]) == ("connection_reset_error", "see the log", True)
    assert reported.last(cancelled.id) == ("cancelled", {"operation_id": cancelled.id, "reason": "nobody needs it"})
    assert cancelled.cancelled


def test_without_a_block_it_begins_at_once_and_ends_when_told(reported: Reported) -> None:
    op = tidings.start("Notebook", total=4)
    assert op.state == "running"
    op.advance(2)
    op.complete()
    assert reported.kinds(op.id) == ["start", "complete"]
    assert RUNTIME.running == []


def test_a_begun_operation_may_have_its_block_later(reported: Reported) -> None:
    op = tidings.start("Later")
    with op:
        op.advance()
    assert reported.kinds(op.id) == ["start", "complete"]


def test_a_queued_operation_begins_with_its_first_report(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True, total=2)
    before: str = op.state
    assert before == "queued"
    assert reported.told(op.id)[0][1]["queued"] is True
    op.advance()
    assert op.state == "running"
    op.complete()
    starts = [data.get("queued", False) for kind, data in reported.told(op.id) if kind == "start"]
    assert starts == [True, False]


def test_a_queued_operation_begins_with_its_block_or_when_told(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True)
    with op:
        assert op.state == "running"
    other = tidings.start("Queue", queued=True)
    other.begin()
    other.begin()
    other.complete()
    assert reported.kinds(op.id) == reported.kinds(other.id) == ["start", "start", "complete"]


def test_a_queued_operation_that_is_given_up_never_ran(reported: Reported) -> None:
    op = tidings.start("Queue", queued=True)
    op.cancel("not needed")
    assert reported.kinds(op.id) == ["start", "cancelled"]


def test_entered_again_it_is_the_next_attempt(reported: Reported) -> None:
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
    assert [data["progress"] for kind, data in reported.told(op.id) if kind == "progress"][-1] == 20


def test_a_child_belongs_to_its_parent(reported: Reported) -> None:
    with tidings.operation("Parent") as parent:
        with parent.child("Child", steps=["only"]) as child:
            pass
        with tidings.operation("Foundling", parent=parent.id) as foundling:
            pass
    assert child.trace_id == parent.trace_id != foundling.trace_id
    assert [reported.told(op.id)[0][1]["parent_id"] for op in (child, foundling)] == [parent.id] * 2


def test_redact_sees_every_payload_first(reported: Reported) -> None:
    seen: list[dict[str, Any]] = []

    def redact(payload: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(payload)
        if payload.get("message") == "secret":
            return None
        return {**payload, "command": "hidden", "operation_id": "another"} if "command" in payload else payload

    with tidings.operation("Redacted", redact=redact) as op:
        op.log("secret")
        op.log("known")
    assert [data.get("message") for kind, data in reported.told(op.id) if kind == "log"] == ["known"]
    assert reported.told(op.id)[0][1]["command"] == "hidden"
    assert len(seen) == 4


def test_a_redact_that_fails_lets_nothing_out_but_the_bare_end(
    reported: Reported, caplog: pytest.LogCaptureFixture
) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("card number")

    op = tidings.start("Secret name", redact=redact)
    op.log("secret")
    op.progress(5, "secret")
    op.fail(RuntimeError("secret"))
    assert reported.told(op.id) == [
        ("start", {"operation_id": op.id, "queued": False}),
        ("failed", {"operation_id": op.id, "code": "runtime_error", "message": "", "recoverable": False}),
    ]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([record for record in warnings if "a payload was dropped" in record.getMessage()]) <= 1


@pytest.mark.parametrize("result", [object(), {1, 2}, float("nan"), "\ud800", {"a": {"b": "\ud800"}}, b"bytes"])
def test_a_result_that_json_cannot_hold_does_not_keep_the_end_from_the_hub(reported: Reported, result: object) -> None:
    with tidings.operation("Odd result") as op:
        op.complete(result=result)
    assert reported.kinds(op.id) == ["start", "complete"]


def test_a_result_that_is_too_large_is_left_out(reported: Reported) -> None:
    with tidings.operation("Large result") as op:
        op.complete(result=["x" * 100] * 1_000)
    assert reported.last(op.id)[1]["result"] == {"omitted": "103001 bytes"}


def test_texts_are_cut_and_made_writable(reported: Reported) -> None:
    with tidings.operation("n" * 5_000 + "\udcff") as op:
        op.log("\udcff" + "l" * 100_000)
        op.progress(1, "m" * 5_000)
    told = dict(reported.told(op.id))
    assert len(told["start"]["name"]) == 2_000
    assert len(told["log"]["message"]) == 16_000
    assert told["log"]["message"][0] == "?"


def test_nonsense_does_not_reach_the_job(reported: Reported) -> None:
    nonsense: Any = object()
    with tidings.operation("Nonsense", steps=[("a", nonsense)], total=nonsense, id="\n", trace_id="ü") as op:
        op.progress(nonsense)
        op.progress(float("nan"), nonsense)
        op.progress(1e9)
        op.advance(nonsense)
        op.log(nonsense, nonsense)
        with op.step(nonsense):
            pass
    assert reported.kinds(op.id) == ["start", "log", "complete"]
    assert op.id != "\n"
    assert len(op.trace_id) == 32


def test_the_current_operation_is_that_of_the_block(reported: Reported) -> None:
    assert tidings.current_operation() is None
    with tidings.operation("Outer") as outer:
        with tidings.operation("Inner") as inner:
            assert tidings.current_operation() is inner
        assert tidings.current_operation() is outer
    assert tidings.current_operation() is None


def test_as_a_decorator_each_call_is_an_operation(reported: Reported) -> None:
    @tidings.operation("Decorated")
    def work(number: int) -> tuple[int, str]:
        """Do it."""
        op = tidings.current_operation()
        assert op is not None
        op.log(f"number {number}")
        return number, op.id

    assert (work.__name__, work.__doc__) == ("work", "Do it.")
    (_, first), (_, second) = work(1), work(2)
    assert first != second
    assert reported.kinds(first) == reported.kinds(second) == ["start", "log", "complete"]


def test_a_generator_function_is_not_decorated() -> None:
    with pytest.raises(TypeError, match="is a generator function"):

        @tidings.operation("Generator")
        def rows() -> Any:
            yield 1


def test_many_threads_may_report(reported: Reported) -> None:
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


def test_disabled_it_says_nothing_and_works_as_ever(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")
    with tidings.operation("Disabled", total=2) as op:
        op.advance()
        assert op.percent == 50
        op.log("nothing")
    assert op.state == "complete"
    assert reported.told() == []


def test_it_shows_itself(reported: Reported) -> None:
    with tidings.operation("Shown", total=4) as op:
        op.advance()
        assert repr(op) == f"<Operation 'Shown' running 25 % id={op.id}>"
    assert repr(tidings.operation("New", id="a-new-one")) == "<Operation 'New' new id=a-new-one>"
