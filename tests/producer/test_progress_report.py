"""What a progress event says of the work."""

from typing import Any

import msgspec
import pytest

import tidings
from tidings.producer.operation import lifecycle_of
from tidings.producer.tracking import ProgressReporter


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")


def said(op: tidings.Operation, now_s: float = 0.0) -> dict[str, Any]:
    """Return what there is to say, operation_id and unsaid fields left out."""
    data = ProgressReporter(op, op.id).read(now_s)
    return {name: value for name, value in msgspec.to_builtins(data).items() if name != "operation_id"}


def test_nothing_new_is_nothing_to_say() -> None:
    with tidings.operation("New", total=3) as op:
        gauge = ProgressReporter(op, op.id)
        assert gauge.take(0.0) is None
        op.advance()
        assert gauge.has_changed()
        data = gauge.take(0.0)
        assert data is not None
        assert data.progress == 33.33
        assert not gauge.has_changed()
        assert gauge.take(9.0) is None
        op.progress(message="more")
        assert gauge.has_changed()


def test_what_is_unknown_is_indeterminate_and_not_0_percent() -> None:
    with tidings.operation("Unknown") as op:
        op.advance(1_234)
        assert said(op) == {"progress": 0, "current_step": "", "total_steps": 0, "message": "1,234 it"} | {
            "indeterminate": True
        }


def test_the_last_known_share_goes_with_what_is_not_known_any_more() -> None:
    with tidings.operation("Lost") as op:
        gauge = ProgressReporter(op, op.id)
        op.progress(40)
        gauge.take(0.0)
        op.indeterminate()
        data = gauge.take(0.0)
        assert data is not None
        assert (data.progress, data.indeterminate) == (40, True)


def test_the_step_is_the_outermost_and_the_message_the_innermost() -> None:
    with (
        tidings.operation("Steps", steps=["fetch", "parse"]) as op,
        op.step("parse") as parse,
        parse.step("rows") as rows,
    ):
        op.progress(message="at it")
        assert said(op)["message"] == "rows: at it"
        rows.advance(3)
        assert (said(op)["current_step"], said(op)["message"]) == ("parse", "rows: 3 it")
        rows.progress(message="third row")
        assert said(op)["message"] == "rows: third row"
        assert said(op)["total_steps"] == 2


def test_an_inner_loop_is_in_the_message_only() -> None:
    with tidings.operation("Loops") as op:
        for _ in op.track(range(2)):
            for _ in op.track(range(4), description="columns", unit="columns"):
                assert said(op)["current_step"] == ""
                assert said(op)["message"].startswith("columns: ")


def test_a_step_of_an_unknown_whole_shows_its_own_share() -> None:
    with tidings.operation("Unplanned") as op, op.step("fetch") as fetch:
        fetch.progress(42)
        assert (said(op)["current_step"], said(op)["message"]) == ("fetch", "42 %")
        assert said(op)["indeterminate"]


def test_the_step_may_be_named_with_the_progress() -> None:
    with tidings.operation("Named", steps=["a", "b"]) as op:
        op.progress(10, step="b")
        assert lifecycle_of(op).reporter.take(0.0) is not None
        assert lifecycle_of(op).reporter.step == "b"


def test_a_count_is_shown_with_its_total_and_its_rate() -> None:
    with tidings.operation("Rate") as op:
        gauge = ProgressReporter(op, op.id)
        rows = iter(op.track(range(10_000), description="Parsing", unit="rows"))
        next(rows)
        gauge.take(0.0)
        for _ in range(560):
            next(rows)
        data = gauge.take(1.0)
        assert data is not None
        assert data.message == "Parsing: 560/10,000 rows, 560 rows/s"


def test_after_a_step_its_name_stays_until_there_is_another() -> None:
    with tidings.operation("Between", steps=["a", "b"]) as op:
        gauge = ProgressReporter(op, op.id)
        with op.step("a"):
            assert gauge.read(0.0).current_step == "a"
        assert gauge.read(0.0).current_step == "a"
        with op.step("b"):
            assert gauge.read(0.0).current_step == "b"
