"""Progress of operations and steps, worked out without a hub."""

import pytest

import tidings
from tidings.producer.operation import lifecycle_of


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")


def test_nothing_is_known_of_what_says_nothing() -> None:
    with tidings.operation("Unknown") as op:
        assert op.percent is None
        op.advance(5)
        assert op.percent is None, "5 of how many?"


def test_a_count_is_a_share_of_its_total() -> None:
    with tidings.operation("Count", total=200) as op:
        op.advance()
        assert op.percent == 0.5
        op.advance(49.5)
        assert op.percent == 25.25
        op.advance(1_000)
        assert op.percent == 100
    assert op.percent == 100


@pytest.mark.parametrize(("total", "percent"), [(0, 100), (-1, None), (float("inf"), None), (float("nan"), None)])
def test_odd_totals(total: float, percent: float | None) -> None:
    with tidings.operation("Odd", total=total) as op:
        assert op.percent == percent


def test_what_is_said_is_cut_to_a_share_and_may_fall() -> None:
    with tidings.operation("Say") as op:
        op.progress(120)
        assert op.percent == 100
        op.progress(-3)
        assert op.percent == 0
        op.progress(40)
        op.progress(message="still")
        assert op.percent == 40


def test_indeterminate_lasts_until_something_is_known_again() -> None:
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


def test_a_weight_given_late_replaces_the_planned_one_and_progress_does_not_fall() -> None:
    with tidings.operation("Steps", steps=["fetch", "parse"]) as op:
        with op.step("fetch"):
            pass
        lifecycle_of(op).sample(0.0)
        assert op.percent == 50
        with op.step("parse", weight=9) as parse:
            assert op.percent == 50, "10 % by the weights; but nobody wants to see it fall"
            parse.progress(50)
            assert op.percent == pytest.approx(55)


def test_steps_nest() -> None:
    with (
        tidings.operation("Nest", steps=["a", "b"]) as op,
        op.step("a", steps=[("a1", 1), ("a2", 3)]) as a,
        a.step("a2", total=2) as a2,
    ):
        a2.advance()
        assert op.percent == 50 * 0.75 * 0.5


def test_steps_may_run_at_the_same_time() -> None:
    with tidings.operation("Parallel", steps=["a", "b"]) as op, op.step("a") as a, op.step("b") as b:
        a.progress(50)
        b.progress(20)
        assert op.percent == 35


def test_steps_that_nobody_planned_leave_the_whole_unknown() -> None:
    with tidings.operation("Unplanned") as op, op.step("a") as a:
        a.progress(50)
        assert op.percent is None


def test_an_unplanned_step_among_planned_ones_counts_from_when_it_begins() -> None:
    with tidings.operation("Extra", steps=["a"]) as op:
        with op.step("extra"):
            assert op.percent == 0
        assert op.percent == 50


def test_a_planned_step_counts_once_however_often_it_runs() -> None:
    with tidings.operation("Again", steps=["a", "b"]) as op:
        for _ in range(3):
            with op.step("a"):
                pass
        assert op.percent == 50


def test_a_step_that_fails_and_is_tried_again_keeps_what_it_had() -> None:
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


async def test_steps_are_asynchronous_blocks_too() -> None:
    async with tidings.operation("Async", steps=["a", "b"]) as op, op.step("a"):
        pass
    assert op.state == "complete"


def test_steps_without_a_block() -> None:
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
