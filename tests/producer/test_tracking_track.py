from collections.abc import AsyncIterator

import pytest

import tidings
from tidings.producer.tracking import length_of


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_DISABLED", "1")


def test_rows_come_as_they_are_and_are_counted_when_they_are_done() -> None:
    with tidings.operation("Track") as op:
        seen = [(row, op.percent) for row in op.track("abcd")]
        assert op.percent == 100
    assert seen == [("a", 0), ("b", 25), ("c", 50), ("d", 75)]


def test_a_given_total_goes_before_the_length() -> None:
    with tidings.operation("Track") as op:
        for _ in op.track([1, 2], total=8):
            pass
        assert op.percent == 25


def test_rows_without_a_length_leave_the_share_unknown() -> None:
    with tidings.operation("Track") as op:
        for _ in op.track(row for row in range(3)):
            assert op.percent is None
        assert op.reading().message == "3 it"


def test_an_operation_s_own_total_counts_over_all_its_loops() -> None:
    with tidings.operation("Loops", total=10) as op:
        for _ in op.track(range(5)):
            pass
        assert op.percent == 50
        for _ in op.track(range(5)):
            pass
        assert op.percent == 100


def test_of_loops_one_after_the_other_none_is_the_whole() -> None:
    with tidings.operation("Loops") as op:
        list(op.track(range(5)))
        assert op.percent == 100
        list(op.track(range(5)))
        assert op.percent is None


def test_a_loop_within_a_loop_is_a_detail() -> None:
    with tidings.operation("Nested") as op:
        for _ in op.track(range(2), description="outer"):
            share = op.percent
            for _ in op.track(range(100), description="inner"):
                assert op.percent == share


def test_steps_track_too() -> None:
    with tidings.operation("Steps", steps=["a", "b"]) as op, op.step("a") as a:
        for _ in a.track(range(4), unit="rows"):
            pass
        assert op.percent == 50


def test_a_loop_that_is_left_closes_its_count() -> None:
    with tidings.operation("Left") as op:
        rows = op.track(range(4))
        next(rows)
        next(rows)
        rows.close()  # type: ignore[attr-defined]
        assert op.percent == 25
        assert not op._tracking


async def test_asynchronous_rows() -> None:
    async def rows() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    async with tidings.operation("Track") as op:
        seen = [(row, op.percent) async for row in op.track(rows(), total=4, description="Reading", unit="rows")]
        assert op.reading().message == "Reading: 4/4 rows"
    assert seen == [(0, 0), (1, 25), (2, 50), (3, 75)]


def test_lengths() -> None:
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
