"""Code of the job that fails while tidings calls it: the job ends as it ended, and its operation is reported."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
from tests.client.hub_server import TIMEOUT_S
from tests.producer import hostile
from tests.producer.programs import run
from tests.producer.reported import Reported, until

import tidings
from tidings.client import deferring_lock
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.outcome import Failed, end_of, failure_of
from tidings.producer.runtime import RUNTIME
from tidings.producer.sanitize import jsonable, text

ERRORS = {code or kind: (error, kind, code, message) for error, kind, code, message in hostile.ERRORS}
"""Errors by name: pytest would read the attributes of a parameter."""
_STATE = [
    BaseException.__dict__[name] for name in ("__traceback__", "__context__", "__cause__", "__suppress_context__")
]


def state_of(error: BaseException) -> list[int]:
    return [id(member.__get__(error)) for member in _STATE]


@pytest.mark.parametrize("name", ERRORS)
def test_exception_that_cannot_be_read_passes_and_is_reported(reported: Reported, name: str) -> None:
    error, kind, code, message = ERRORS[name]
    op = tidings.operation("Hostile")
    inside: list[list[int]] = []
    caught: BaseException | None = None
    try:
        with op:
            try:
                raise error
            finally:
                inside.append(state_of(error))
    except BaseException as passed:
        caught = passed
    assert caught is error
    assert state_of(error) == inside[0]
    received, data = reported.last(op.id)
    assert received == kind
    assert (data.get("code", ""), data.get("message", data.get("reason"))) == (code, message)
    assert kind == "cancelled" or data["details"].startswith(("Traceback", "  File", "  + Exception", "xxx"))


@pytest.mark.parametrize("name", ERRORS)
def test_fail_accepts_an_exception_that_cannot_be_read(reported: Reported, name: str) -> None:
    error = ERRORS[name][0]
    op = tidings.start("Hostile")
    op.fail(error)
    assert reported.kinds(op.id) == ["start", "failed"]


def test_exception_that_raises_itself_keeps_its_traceback_and_context() -> None:
    error = hostile.Raises("x")
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise error  # noqa: B904
    except hostile.Raises:
        before = state_of(error)
        assert failure_of(error).message == "Raises"
        assert state_of(error) == before
        assert isinstance(end_of(error), Failed)
        assert state_of(error) == before


def test_interrupt_while_an_exception_is_read_passes_after_the_end(reported: Reported) -> None:
    class Interrupted(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    op = tidings.operation("Interrupted")
    with pytest.raises(KeyboardInterrupt), op:
        raise Interrupted
    assert reported.kinds(op.id) == ["start", "failed"]


def test_operations_at_the_limit_of_recursion_all_end(reported: Reported) -> None:
    made: list[tidings.Operation] = []

    def descend() -> None:
        op = tidings.operation("Deep", quiet=True)
        made.append(op)
        with op:
            descend()

    with pytest.raises(RecursionError):
        descend()
    until(lambda: all(op.state in ("failed", "new") for op in made))
    assert {op.state for op in made[: len(made) // 2]} == {"failed"}
    RUNTIME.flush(10)
    ended = [data["operation_id"] for kind, data in reported.received() if kind == "failed"]
    assert sorted(ended) == sorted(op.id for op in made if op.state == "failed")


HOOKS = {"SystemExit": hostile.leave, "LookupError": hostile.fail, "Stop": hostile.stop}


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_redact_that_raises_anything_sends_the_bare_end(reported: Reported, hook: Callable[..., Any]) -> None:
    op = tidings.operation("Redacted", redact=lambda payload: payload if "pid" in payload else hook())
    with contextlib.suppress(ValueError, SystemExit, hostile.Stop), op:
        raise ValueError("secret")
    assert reported.last(op.id) == (
        "failed",
        {"operation_id": op.id, "code": "value_error", "message": "", "recoverable": False},
    )


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_before_end_hook_that_raises_anything_does_not_prevent_the_end(
    reported: Reported, hook: Callable[..., Any]
) -> None:
    op = tidings.start("Speak")
    op.before_end(hook)
    with contextlib.suppress(SystemExit, hostile.Stop):
        op.complete(result=1)
    assert reported.last(op.id)[1]["result"] == 1


def test_redact_that_exits_on_the_sampling_thread_does_not_end_sampling(reported: Reported) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if threading.current_thread() is not threading.main_thread():
            hostile.leave()
        return payload

    with tidings.operation("Exits", redact=redact, total=10) as op:
        op.advance()
        until(lambda: any("redact" in what and "SystemExit" in what for what in known_faults()))
        with tidings.operation("Next", total=10) as other:
            other.advance(5)
            until(lambda: reported.last(other.id)[1].get("progress") == 50)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a thread wait for a lock until the test fails."""
    monkeypatch.setattr(deferring_lock, "MAX_WAIT_S", 3600.0)


def report_elsewhere(report: Callable[[], object]) -> bool:
    """Report on another thread, and wait for it; return whether it did not wait for this thread."""
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return not thread.is_alive()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("part", ["pid", "level", "progress", "result"])
def test_redact_may_wait_for_another_thread_that_reports(reported: Reported, part: str) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if part in payload and not asked:
            asked.append(part)
            done.append(report_elsewhere(lambda: op.log("from another thread")))
        return payload

    asked: list[str] = []
    done: list[bool] = []
    op = tidings.operation("Redacted", redact=redact)
    op.begin()
    with op.step("part", weight=0):
        until(lambda: bool(done) or part != "progress")  # on the sampling thread
    op.log("line")
    op.complete(result=1)
    assert done == [True]
    assert reported.kinds(op.id) == ["start", "log", "log", "complete"]


@pytest.mark.usefixtures("patient")
def test_text_of_a_message_may_wait_for_another_thread_that_reports(reported: Reported) -> None:
    class Message:
        def __str__(self) -> str:
            done.append(report_elsewhere(lambda: op.progress(10, "ten")))
            return "waited"

        __repr__ = __str__

    done: list[bool] = []
    op = tidings.operation("Text", metadata={"value": Message()})
    op.begin()
    op.log(Message())
    op.progress(20, Message())  # type: ignore[arg-type]
    op.complete(result={"value": Message()})
    assert done == [True] * 4
    assert reported.kinds(op.id) == ["start", "log", "complete"]


@pytest.mark.usefixtures("patient")
def test_first_report_of_a_loop_begins_the_operation_outside_its_lock(reported: Reported) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if not done:
            done.append(report_elsewhere(lambda: op.percent))
        return payload

    done: list[bool] = []
    op = tidings.operation("Loop", redact=redact)
    assert list(op.track(range(3))) == [0, 1, 2]
    op.complete()
    assert done == [True]
    assert reported.kinds(op.id) == ["start", "complete"]


@pytest.mark.usefixtures("patient")
def test_before_end_may_wait_for_another_thread_that_reports(reported: Reported) -> None:
    done: list[bool] = []
    op = tidings.start("Ends")
    op.before_end(lambda: done.append(report_elsewhere(lambda: op.log("from another thread"))))
    op.complete()
    assert done == [True]
    assert reported.kinds(op.id) == ["start", "log", "complete"]


def test_report_of_redact_follows_the_start_that_it_redacts(reported: Reported) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if "pid" in payload:
            op.log("redacting")
            op.progress(10, "ten")
        return payload

    op = tidings.operation("Redacted", redact=redact)
    with op:
        until(lambda: reported.last(op.id)[1].get("progress") == 10)
    assert reported.kinds(op.id) == ["start", "log", "complete"]


def test_end_that_redact_reports_during_the_start_follows_the_start(reported: Reported) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if "pid" in payload:
            op.complete(result="early")
        return payload

    op = tidings.operation("Redacted", redact=redact)
    op.begin()
    assert op.state == "complete"
    assert reported.kinds(op.id) == ["start", "complete"]
    assert reported.last(op.id)[1]["result"] == "early"


def test_redact_that_ends_its_operation_again_ends_it_once(reported: Reported) -> None:
    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        if "pid" not in payload:
            op.fail("again")
        return payload

    op = tidings.operation("Redacted", redact=redact)
    with op:
        op.log("line")
    assert op.state == "failed"
    assert reported.kinds(op.id) == ["start", "failed"]


def test_sigterm_while_redact_runs_for_the_end_still_ends_the_operation(reported: Reported, tmp_path: Path) -> None:
    code = """
    def redact(payload):
        if "result" in payload:
            os.kill(os.getpid(), signal.SIGTERM)
        return payload

    with tidings.operation("Terminated", id="terminated", redact=redact) as op:
        op.complete(result=1)
    """
    assert run(code, reported.hub.url, tmp_path) == (-signal.SIGTERM, "")
    assert reported.kinds("terminated") == ["start", "complete"]


def known_faults() -> set[str]:
    return set(DIAGNOSTICS._reported)


COUNTS: list[tuple[Any, float]] = [
    (numpy.array([1, 2]), 0),
    (numpy.float32(2.5), 25),
    (numpy.int64(4), 40),
    (Decimal("2.5"), 25),
    (complex(1, 1), 0),
    (float("nan"), 0),
    (10**400, 0),
    ("3", 0),
    (hostile.Truth(), 0),
]


@pytest.mark.parametrize("number", range(len(COUNTS)))
def test_count_of_any_type_does_not_prevent_progress_and_end(reported: Reported, number: int) -> None:
    count, percent = COUNTS[number]
    with tidings.operation("Count", total=10) as op:
        op.advance(count)
        assert op.percent == percent
        with op.step("part", total=count) as step:
            step.advance(count)
            step.progress(count, "still here")
            assert op.reading().message == "still here"
    assert reported.kinds(op.id) == ["start", "complete"]


@pytest.mark.usefixtures("patient")
def test_count_may_wait_for_another_thread_that_reports(reported: Reported) -> None:
    class Count:
        def __float__(self) -> float:
            done.append(report_elsewhere(lambda: op.log("from another thread")))
            return 5.0

        __radd__ = lambda self, other: self  # noqa: E731

    done: list[bool] = []
    count: Any = Count()
    with tidings.operation("Count", total=10) as op:
        op.advance(count)
        assert op.percent == 50
        op.progress(count)
        assert op.reading().progress == 50
    assert done == [True] * len(done)
    assert len(done) >= 2


@pytest.mark.usefixtures("patient")
def test_log_handler_of_an_error_may_wait_for_another_thread_that_reports(reported: Reported) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            done.append(report_elsewhere(lambda: op.percent))

    done: list[bool] = []
    handler = Handler()
    logger = logging.getLogger("tidings")
    op = tidings.start("Import", redact=lambda payload: {**payload, "level": 7} if "level" in payload else payload)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    DIAGNOSTICS._reported.clear()
    try:
        op.log("line")
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    op.complete()
    assert done == [True]


def broken_rows() -> Iterator[str]:
    yield "first"
    raise OSError("the file is gone")


VALUES: list[tuple[Any, Any]] = [
    ({"rows": [1, hostile.Unspeakable()]}, {"rows": [1, "<Unspeakable>"]}),
    (hostile.Unspeakable(), "<Unspeakable>"),
    (hostile.Row(hostile.Unspeakable()), {"name": "<Unspeakable>"}),
    (hostile.Facts(), "<Facts>"),
    ({(1, 2): 3, hostile.Unspeakable(): 4}, {"(1, 2)": 3, "<Unspeakable>": 4}),
    ([numpy.int64(3), numpy.float32(0.5), numpy.float64(0.25)], [3, 0.5, 0.25]),
    (hostile.Word("plain"), "plain"),
]


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_value_that_cannot_be_read_is_named_by_its_class(number: int) -> None:
    value, kept = VALUES[number]
    found = jsonable(value)
    assert found == kept


def test_arguments_that_cannot_be_read_leave_the_rest_reported(reported: Reported) -> None:
    odd: Any = hostile.Unspeakable()
    rows: Any = broken_rows()
    op = tidings.operation(
        odd, steps=rows, total=odd, metadata=hostile.Facts(), lease_s=odd, parent=odd, resumes=odd, id=odd
    )
    with op:
        op.log(odd, odd)
        op.progress(odd, odd, step=odd)
        with op.step(odd, weight=odd, total=odd):
            pass
        for _ in op.track([1], description=odd, unit=odd, total=odd):
            pass
        op.fail(odd, odd, details=odd, hint=odd)
    start = reported.received(op.id)[0][1]
    assert (start["name"], start["metadata"]) == ("<Unspeakable>", {"value": "<Facts>"})
    assert "parent_id" not in start
    assert reported.kinds(op.id) == ["start", "log", "failed"]
    assert reported.last(op.id)[1]["hint"] == "<Unspeakable>"


def test_text_of_any_value_is_plain_and_bounded() -> None:
    assert text(hostile.Word("a" * 5_000)) == "a" * 1_999 + "…"
    assert type(text(hostile.Word("short"))) is str
    assert text(hostile.Unspeakable()) == "<Unspeakable>"


def test_fault_that_cannot_be_formatted_is_logged_without_noise(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.msg)

    logger, handler = logging.getLogger("tidings"), logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        DIAGNOSTICS.log_fault("the first test of noise", hostile.Notes("x"))
        DIAGNOSTICS.log_fault("the second test of noise", hostile.Mute("x"))
        handler.addFilter(refuse)
        DIAGNOSTICS.log_fault("the third test of noise", ValueError("x"))
    finally:
        logger.removeHandler(handler)
    shown = capsys.readouterr().err
    assert "the first test of noise failed: x" in shown
    assert "the second test of noise failed: <Mute>" in shown
    assert "Logging error" not in shown


EXITS = ["", "None", "0", "False", "True", "3", "-1", "256", "10**30", "0.0", "'no input'", "(1, 2)", "object()"]


@pytest.mark.parametrize("argument", EXITS)
def test_exit_is_reported_with_the_status_of_the_process(reported: Reported, tmp_path: Path, argument: str) -> None:
    code = f"""
    with tidings.operation("Exit"):
        sys.exit({argument})
    """
    status, _ = run(code, reported.hub.url, tmp_path)
    kind, data = reported.last()
    assert (kind, data.get("code")) == (("complete", None) if status == 0 else ("failed", f"exit_{status}"))
