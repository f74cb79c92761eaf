"""Progress of operations, steps and loops, and the payloads of progress events, without a hub."""

import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from typing import Any

import msgspec
import pytest
from tests.producer.reported import until

import tidings
from tidings.producer.counts import Rate, count_text, number_text, rate_text
from tidings.producer.operation import lifecycle_of
from tidings.producer.progress_tree import ProgressReporter
from tidings.producer.sampler import SAMPLER
from tidings.producer.tracking import length_of


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")


def test_percent_without_reports_is_unknown() -> None:
    with tidings.operation("Unknown") as op:
        assert op.percent is None
        op.advance(5)
        assert op.percent is None, "5 of how many?"


def test_count_with_total_gives_the_percentage() -> None:
    with tidings.operation("Count", total=200) as op:
        op.advance()
        assert op.percent == 0.5
        op.advance(49.5)
        assert op.percent == 25.25
        op.advance(1_000)
        assert op.percent == 100
    assert op.percent == 100


@pytest.mark.parametrize(("total", "percent"), [(0, 100), (-1, None), (float("inf"), None), (float("nan"), None)])
def test_unusual_total_is_complete_or_unknown(total: float, percent: float | None) -> None:
    with tidings.operation("Odd", total=total) as op:
        assert op.percent == percent


def test_reported_percent_is_clipped_and_may_fall() -> None:
    with tidings.operation("Say") as op:
        op.progress(120)
        assert op.percent == 100
        op.progress(-3)
        assert op.percent == 0
        op.progress(40)
        op.progress(message="still")
        assert op.percent == 40


def test_indeterminate_lasts_until_the_next_known_progress() -> None:
    with tidings.operation("Search", total=4) as op:
        op.advance()
        op.indeterminate("searching")
        assert op.percent is None
        op.progress(50)
        assert op.percent == 50
        op.indeterminate()
        list(op.track([1, 2]))
        assert op.percent == 75


def test_planned_steps_count_by_their_weight() -> None:
    with tidings.operation("Steps", steps=["fetch", ("parse", 3)]) as op:
        assert op.percent == 0
        with op.step("fetch") as fetch:
            fetch.progress(50)
            assert op.percent == 12.5
        assert op.percent == 25
        with op.step("parse", total=3) as parse:
            parse.advance()
            assert op.percent == 50
    assert op.percent == 100


def test_late_weight_replaces_the_planned_one_without_a_fall() -> None:
    with tidings.operation("Steps", steps=["fetch", "parse"]) as op:
        with op.step("fetch"):
            pass
        lifecycle_of(op).sample(0.0)
        assert op.percent == 50
        with op.step("parse", weight=9) as parse:
            assert op.percent == 50, "10 % by the weights; but progress must not fall"
            parse.progress(50)
            assert op.percent == pytest.approx(55)


def test_nested_steps_multiply_their_shares() -> None:
    with (
        tidings.operation("Nest", steps=["a", "b"]) as op,
        op.step("a", steps=[("a1", 1), ("a2", 3)]) as a,
        a.step("a2", total=2) as a2,
    ):
        a2.advance()
        assert op.percent == 50 * 0.75 * 0.5


def test_concurrent_steps_add_their_shares() -> None:
    with tidings.operation("Parallel", steps=["a", "b"]) as op, op.step("a") as a, op.step("b") as b:
        a.progress(50)
        b.progress(20)
        assert op.percent == 35


def test_unplanned_steps_alone_leave_the_percent_unknown() -> None:
    with tidings.operation("Unplanned") as op, op.step("a") as a:
        a.progress(50)
        assert op.percent is None


def test_unplanned_step_among_planned_ones_counts_from_its_start() -> None:
    with tidings.operation("Extra", steps=["a"]) as op:
        with op.step("extra"):
            assert op.percent == 0
        assert op.percent == 50


def test_planned_step_that_runs_again_counts_once() -> None:
    with tidings.operation("Again", steps=["a", "b"]) as op:
        for _ in range(3):
            with op.step("a"):
                pass
        assert op.percent == 50


def test_failed_step_that_runs_again_keeps_its_share() -> None:
    with tidings.operation("Retry", steps=["a", "b"]) as op:

        def fail() -> None:
            with op.step("a") as step:
                step.progress(40)
                raise OSError("no luck")

        with pytest.raises(OSError, match="no luck"):
            fail()
        assert op.percent == 20
        with op.step("a") as step:
            assert op.percent == 20
            step.progress(50)
            assert op.percent == 35
        assert op.percent == 50


async def test_step_works_as_an_async_block() -> None:
    async with tidings.operation("Async", steps=["a", "b"]) as op, op.step("a"):
        pass
    assert op.state == "complete"


def test_step_with_begin_and_done_counts_like_a_block() -> None:
    with tidings.operation("Hands", steps=["a", "b"]) as op:
        step = op.step("a")
        assert op.percent == 0
        step.begin()
        step.begin()
        step.progress(50)
        assert op.percent == 25
        step.done()
        step.done()
        assert op.percent == 50


def test_track_counts_a_row_when_its_iteration_is_done() -> None:
    with tidings.operation("Track") as op:
        seen = [(row, op.percent) for row in op.track("abcd")]
        assert op.percent == 100
    assert seen == [("a", 0), ("b", 25), ("c", 50), ("d", 75)]


def test_track_with_total_ignores_the_length() -> None:
    with tidings.operation("Track") as op:
        for _ in op.track([1, 2], total=8):
            pass
        assert op.percent == 25


def test_track_without_length_leaves_the_percent_unknown() -> None:
    with tidings.operation("Track") as op:
        for _ in op.track(row for row in range(3)):
            assert op.percent is None
        assert op.reading().message == "3 it"


def test_total_of_the_operation_counts_over_all_loops() -> None:
    with tidings.operation("Loops", total=10) as op:
        for _ in op.track(range(5)):
            pass
        assert op.percent == 50
        for _ in op.track(range(5)):
            pass
        assert op.percent == 100


def test_second_loop_makes_the_percent_unknown() -> None:
    with tidings.operation("Loops") as op:
        list(op.track(range(5)))
        assert op.percent == 100
        list(op.track(range(5)))
        assert op.percent is None


def test_inner_loop_does_not_change_the_percent() -> None:
    with tidings.operation("Nested") as op:
        for _ in op.track(range(2), description="outer"):
            share = op.percent
            for _ in op.track(range(100), description="inner"):
                assert op.percent == share


def test_track_of_a_step_counts_for_the_step() -> None:
    with tidings.operation("Steps", steps=["a", "b"]) as op, op.step("a") as a:
        for _ in a.track(range(4), unit="rows"):
            pass
        assert op.percent == 50


def test_loop_left_early_closes_its_count() -> None:
    with tidings.operation("Left") as op:
        rows = op.track(range(4))
        next(rows)
        next(rows)
        rows.close()  # type: ignore[attr-defined]
        assert op.percent == 25
        list(op.track(range(4), description="again"))
        assert op.reading().message == "again: 4/4 it", "a loop of the operation, not a detail of the first"


async def test_track_counts_asynchronous_rows() -> None:
    async def rows() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    async with tidings.operation("Track") as op:
        seen = [(row, op.percent) async for row in op.track(rows(), total=4, description="Reading", unit="rows")]
        assert op.reading().message == "Reading: 4/4 rows"
    assert seen == [(0, 0), (1, 25), (2, 50), (3, 75)]


def test_length_of_uses_len_or_the_length_hint() -> None:
    class Broken:
        def __len__(self) -> int:
            raise OSError("the database is away")

    class Hinting:
        def __length_hint__(self) -> int:
            return 7

    assert length_of([1, 2]) == 2
    assert length_of([]) == 0
    assert length_of(iter([1, 2, 3])) == 3
    assert length_of(Hinting()) == 7
    assert length_of(Broken()) is None
    assert length_of(row for row in [1]) is None


def test_rate_is_smoothed_over_windows() -> None:
    rate = Rate()
    rate.update(0, 10.0)
    assert rate.value is None
    rate.update(5, 10.1)
    assert rate.value is None, "the window is not complete"
    rate.update(100, 11.0)
    assert rate.value == 100
    rate.update(100, 12.0)
    assert rate.value == 70
    rate.update(50, 13.0)
    assert rate.value == pytest.approx(49), "what was taken back is not a negative rate"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234, "1,234"), (2.0, "2"), (1234.5678, "1,234.57"), (float("nan"), "?"), (float("inf"), "?")],
)
def test_number_text_separates_thousands(value: float, shown: str) -> None:
    assert number_text(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.01234, "0.0123"), (56.12, "56.1"), (1234.5, "1,234")])
def test_rate_text_has_three_digits_below_100(value: float, shown: str) -> None:
    assert rate_text(value) == shown


def test_count_text_shows_count_total_and_rate() -> None:
    assert count_text(1234, 10_000, "rows", 56.1) == "1,234/10,000 rows, 56.1 rows/s"
    assert count_text(3, None, "it", None) == "3 it"


def reading(op: tidings.Operation, now_s: float = 0.0) -> dict[str, Any]:
    """Return the payload of a progress event, without operation_id and unset fields."""
    data = ProgressReporter(op._node, op.id).read(now_s)
    return {name: value for name, value in msgspec.to_builtins(data).items() if name != "operation_id"}


def test_take_without_a_change_returns_none() -> None:
    with tidings.operation("New", total=3) as op:
        reporter = ProgressReporter(op._node, op.id)
        assert reporter.take(0.0) is None
        op.advance()
        assert reporter.has_changed()
        data = reporter.take(0.0)
        assert data is not None
        assert data.progress == 33.33
        assert not reporter.has_changed()
        assert reporter.take(9.0) is None
        op.progress(message="more")
        assert reporter.has_changed()


def test_unknown_progress_is_indeterminate() -> None:
    with tidings.operation("Unknown") as op:
        op.advance(1_234)
        assert reading(op) == {"progress": 0, "current_step": "", "total_steps": 0, "message": "1,234 it"} | {
            "indeterminate": True
        }


def test_indeterminate_progress_keeps_the_last_known_value() -> None:
    with tidings.operation("Lost") as op:
        reporter = ProgressReporter(op._node, op.id)
        op.progress(40)
        reporter.take(0.0)
        op.indeterminate()
        data = reporter.take(0.0)
        assert data is not None
        assert (data.progress, data.indeterminate) == (40, True)


def test_step_is_the_outermost_and_message_the_innermost() -> None:
    with (
        tidings.operation("Steps", steps=["fetch", "parse"]) as op,
        op.step("parse") as parse,
        parse.step("rows") as rows,
    ):
        op.progress(message="at it")
        assert reading(op)["message"] == "rows: at it"
        rows.advance(3)
        assert (reading(op)["current_step"], reading(op)["message"]) == ("parse", "rows: 3 it")
        rows.progress(message="third row")
        assert reading(op)["message"] == "rows: third row"
        assert reading(op)["total_steps"] == 2


def test_inner_loop_appears_in_the_message_only() -> None:
    with tidings.operation("Loops") as op:
        for _ in op.track(range(2)):
            for _ in op.track(range(4), description="columns", unit="columns"):
                assert reading(op)["current_step"] == ""
                assert reading(op)["message"].startswith("columns: ")


def test_step_of_an_unknown_whole_shows_its_own_progress() -> None:
    with tidings.operation("Unplanned") as op, op.step("fetch") as fetch:
        fetch.progress(42)
        assert (reading(op)["current_step"], reading(op)["message"]) == ("fetch", "42 %")
        assert reading(op)["indeterminate"]


def test_progress_with_step_sets_the_current_step() -> None:
    with tidings.operation("Named", steps=["a", "b"]) as op:
        op.progress(10, step="b")
        assert reading(op)["current_step"] == "b"


def test_message_of_a_loop_shows_count_total_and_rate() -> None:
    with tidings.operation("Rate") as op:
        reporter = ProgressReporter(op._node, op.id)
        rows = iter(op.track(range(10_000), description="Parsing", unit="rows"))
        next(rows)
        reporter.take(0.0)
        for _ in range(560):
            next(rows)
        data = reporter.take(1.0)
        assert data is not None
        assert data.message == "Parsing: 560/10,000 rows, 560 rows/s"


def test_finished_step_stays_current_until_the_next() -> None:
    with tidings.operation("Between", steps=["a", "b"]) as op:
        reporter = ProgressReporter(op._node, op.id)
        with op.step("a"):
            assert reporter.read(0.0).current_step == "a"
        assert reporter.read(0.0).current_step == "a"
        with op.step("b"):
            assert reporter.read(0.0).current_step == "b"


def test_last_step_is_current_although_nothing_was_read_during_it() -> None:
    with tidings.operation("Busy machine", steps=["a", "b"]) as op:
        reporter = ProgressReporter(op._node, op.id)
        with op.step("a"):
            assert reporter.read(0.0).current_step == "a"
        with op.step("b"), op.step("detail", weight=0):
            pass
        assert reporter.read(0.0).current_step == "b"


def test_step_that_runs_again_begins_with_nothing_done() -> None:
    with tidings.operation("Again", steps=["a", "b"]) as op:
        step = op.step("a", total=4)
        with suppress(OSError), step:
            step.advance(2)
            raise OSError("no luck")
        assert op.percent == 25
        with step:
            assert op.percent == 25
            step.advance(2)
            assert op.percent == 37.5
    with op:
        step.begin()
        assert op.percent == 0, "the next attempt"


@pytest.mark.parametrize("name", ["a", ""])
def test_end_of_a_step_or_loop_wakes_the_sampler(name: str) -> None:
    with tidings.operation("Asleep", steps=["a"]) as op:
        lifecycle = lifecycle_of(op)
        step = op.step(name) if name else op
        rows = step.track(iter("x"))
        with step if name else nullcontext():
            next(rows)
            lifecycle.sample(0.0)
            SAMPLER.forget(lifecycle)
            assert lifecycle.try_sleep()
            if not name:
                rows.close()  # type: ignore[attr-defined]
        assert lifecycle.reporter.has_changed()
        until(lambda: not lifecycle.reporter.has_changed())


@pytest.mark.parametrize("steps", [[], ["outermost", ""]])
def test_steps_nested_deeper_than_functions_are_reported(steps: list[str]) -> None:
    with tidings.operation("Deep", steps=steps[:1]) as op:
        reporter = ProgressReporter(op._node, op.id)
        step = op.step("outermost", steps=steps[1:])
        step.begin()
        for _ in range(sys.getrecursionlimit()):
            step = step.step("", steps=steps[1:])
            step.begin()
        step.progress(50, message="innermost")
        data = reporter.take(0.0)
        assert data is not None
        assert (data.current_step, data.message) == ("outermost", "innermost")
        assert data.progress == (50 if steps else 0)
        step.done()
        assert op.percent == (100 if steps else None)


def test_step_that_is_done_at_the_limit_of_recursion_is_not_left_open() -> None:
    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            step.done()

    was_done, levels = False, sys.getrecursionlimit()
    while not was_done:  # from the limit upwards, to the first level at which the call itself is possible
        with tidings.operation("Deep", steps=["load", "rest"]) as op:
            step = op.step("load")
            step.begin()
            with suppress(RecursionError):
                descend(levels)
                was_done = True
            assert was_done or op.percent in (0, 50)
        levels -= 1
    assert op._node.active == []


def test_plan_of_details_alone_leaves_the_percent_unknown() -> None:
    with tidings.operation("Details", steps={"a": 0, "b": 0}) as op:
        assert op.percent is None
        with op.step("a"):
            assert op.percent is None
    with tidings.operation("Detail", steps=["a"]) as op, op.step("a", weight=0):
        assert op.percent is None
