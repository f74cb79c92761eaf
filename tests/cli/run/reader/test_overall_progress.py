import pytest

from tidings.cli.run.reader.output import CommandProgress
from tidings.cli.run.reader.worker import OverallProgress


def told(*readings: tuple[float | None, int, int]) -> list[float | None]:
    """Return what is told of readings, each a share, a step's number and how many there are."""
    course = OverallProgress()
    return [course.percent_of(CommandProgress(percent, step, "", total, "")) for percent, step, total in readings]


def test_first_steps_percentage_is_that_of_the_whole() -> None:
    assert told((None, 0, 0), (10, 1, 0), (60, 1, 0), (99, 1, 0)) == [None, 10, 60, 99]


def test_second_step_makes_the_whole_unknown() -> None:
    assert told((10, 1, 0), (99, 1, 0), (5, 2, 0), (100, 2, 0), (50, 3, 0)) == [10, 99, None, None, None]


def test_step_without_a_seen_start_does_not_count_as_first() -> None:
    assert told((40, 3, 0), (80, 3, 0)) == [None, None]


def test_numbered_parts_give_the_overall_percentage() -> None:
    assert told((0, 1, 4), (25, 1, 4), (74.75, 1, 4)) == [0, 25, 74.75]


def test_numbered_parts_after_a_bar_count_once_they_are_further() -> None:
    assert told((30, 1, 0), (0, 2, 10), (20, 2, 10), (40, 2, 10), (90, 2, 10)) == [30, None, None, 40, 90]


def test_restarted_parts_make_the_whole_unknown() -> None:
    assert told((75, 1, 4), (80, 2, 5), (99, 2, 5)) == [75, None, None]


def test_unknown_percentage_is_none_and_the_reported_one_stays_a_bound() -> None:
    assert told((50, 1, 0), (None, 1, 0), (40, 1, 0), (60, 1, 0)) == [50, None, None, 60]


@pytest.mark.parametrize("steps", [[(99, 1, 0), (1, 2, 0)], [(50, 1, 3), (1, 2, 7), (60, 2, 7), (2, 3, 9)]])
def test_overall_percentage_never_falls(steps: list[tuple[float | None, int, int]]) -> None:
    shares = [share for share in told(*steps) if share is not None]
    assert shares == sorted(shares)
