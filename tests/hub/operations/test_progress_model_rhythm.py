import pytest

from tidings.hub.operations.progress_model import StallDetector


def rhythm(*gaps_s: float) -> StallDetector:
    made = StallDetector()
    for gap_s in gaps_s:
        made.add_gap(gap_s)
    return made


@pytest.mark.parametrize(
    ("gaps_s", "stall_timeout_s"),
    [
        ([1.0] * 20, 60),
        ([12.0] * 20, 60),
        ([30.0] * 20, 150),
        ([600.0] * 3, 3_000),
        ([5.0] * 9 + [30.0], 60),
        # A job that works in bursts: every tenth time it pauses for ten minutes.
        ([5.0, 5.0, 5.0, 5.0, 600.0, 5.0, 5.0, 5.0, 5.0, 5.0] * 3, 1_200),
        # One long pause is no habit.
        ([5.0] * 20 + [600.0] + [5.0] * 5, 60),
    ],
)
def test_patience_is_five_times_the_usual(gaps_s: list[float], stall_timeout_s: float) -> None:
    assert rhythm(*gaps_s).is_calibrated
    assert rhythm(*gaps_s).stall_timeout_s() == stall_timeout_s
    assert rhythm(*gaps_s).stall_timeout_s(usual_s=36_000) == stall_timeout_s


@pytest.mark.parametrize(("usual_s", "stall_timeout_s"), [(None, 300), (10, 60), (720, 180), (36_000, 9_000)])
def test_before_anything_is_usual_earlier_runs_tell(usual_s: float | None, stall_timeout_s: float) -> None:
    assert not rhythm().has_gaps
    assert not rhythm(1, 2).is_calibrated
    assert rhythm().stall_timeout_s(usual_s) == rhythm(1, 2).stall_timeout_s(usual_s) == stall_timeout_s


def test_the_first_steps_tell_that_steps_are_long() -> None:
    assert rhythm(400).stall_timeout_s() == 2_000


def test_what_was_long_ago_is_forgotten() -> None:
    assert rhythm(*[600.0] * 50, *[5.0] * 32).stall_timeout_s() == 60
