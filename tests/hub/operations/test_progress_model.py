from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.hub.operations.forecast import Forecast
from tidings.hub.operations.progress_model import MAX_SAMPLES, ProgressModel, StallDetector

PATIENCE_S = 60.0


def advances(steps: Iterable[tuple[float, float]], began_s: float | None = 0.0) -> ProgressModel:
    made = ProgressModel(began_s)
    for at_s, progress in steps:
        made.add(at_s, progress, PATIENCE_S)
    return made


def forecast(of: ProgressModel, now_s: float) -> Forecast:
    found = of.forecast(now_s, PATIENCE_S)
    assert found is not None
    return found


def even(until: int, began_s: float | None = 0.0) -> ProgressModel:
    """One percent every ten seconds."""
    return advances(((10.0 * done, float(done)) for done in range(1, until + 1)), began_s)


def test_even_job_is_extrapolated() -> None:
    job = even(40)
    assert job.rate == pytest.approx(0.1)
    found = forecast(job, 400)
    assert found.remaining_s == pytest.approx(600)
    assert 400 < found.low_s < found.high_s < 900


@pytest.mark.parametrize("steps", [[], [(10.0, 3.0)]])
def test_no_basis_gives_no_forecast(steps: list[tuple[float, float]]) -> None:
    assert advances(steps).forecast(20, PATIENCE_S) is None
    assert advances(steps, began_s=None).forecast(20, PATIENCE_S) is None


def test_big_first_step_gives_an_uncertain_forecast() -> None:
    found = forecast(advances([(60.0, 10.0)]), 60)
    assert found.remaining_s == pytest.approx(540)
    assert found.high_s > 2 * found.low_s


def test_no_progress_gives_no_rate() -> None:
    job = advances([(10.0, 0.0), (20.0, 0.0)])
    assert job.rate is None
    assert job.forecast(30, PATIENCE_S) is None


def test_resumed_progress_counts_as_done_before_the_start() -> None:
    job = advances([(0.1, 60.0), (10.0, 61.0), (20.0, 62.0), (30.0, 63.0)])
    assert job.rate == pytest.approx(0.1, rel=0.02)
    job = advances([(100.0, 60.0), (110.0, 61.0), (120.0, 62.0)], began_s=None)
    assert job.rate == pytest.approx(0.1)


def test_forecast_uses_the_recent_rate() -> None:
    slow = [(300 + 30.0 * done, 30.0 + done) for done in range(1, 31)]
    job = advances([*((10.0 * done, float(done)) for done in range(1, 31)), *slow])
    assert 1 / 30 < (job.rate or 0) < 1 / 20


def test_remaining_time_runs_down_between_steps() -> None:
    job = advances((100.0 * step, 10.0 * step) for step in range(1, 6))
    assert forecast(job, 500).remaining_s == pytest.approx(500)
    assert forecast(job, 540).remaining_s == pytest.approx(460)
    assert forecast(job, 600).remaining_s == pytest.approx(400)


def test_remaining_time_stops_while_a_step_is_overdue() -> None:
    job = advances((20.0 * step, 10.0 * step) for step in range(1, 6))
    late = [forecast(job, 120 + over_s).remaining_s for over_s in (0, 10, 20, 30)]
    assert late == sorted(late)
    assert late[0] == pytest.approx(80)


def test_stall_widens_the_interval_only() -> None:
    job = even(50)
    at_once, later = forecast(job, 500 + PATIENCE_S), forecast(job, 500 + PATIENCE_S + 900)
    assert later.remaining_s == pytest.approx(at_once.remaining_s)
    assert later.high_s == pytest.approx(at_once.high_s + 900)


def test_pause_does_not_count_as_work() -> None:
    job = even(50)
    job.add(500 + 3_600, 51, PATIENCE_S)
    for done in range(52, 60):
        job.add(4_100 + (done - 51) * 10, done, PATIENCE_S)
    assert job.rate == pytest.approx(0.1, rel=0.25)


def test_late_report_does_not_count_as_a_pause() -> None:
    """The producer was disconnected for an hour, and the job went on."""
    job = advances([(36.0 * done, float(done)) for done in range(1, 11)])
    job.add(360 + 3_600, 70, PATIENCE_S)
    assert job.rate == pytest.approx(1 / 36, rel=0.01)
    assert forecast(job, 3_960).remaining_s == pytest.approx(1_080, rel=0.02)


def test_all_work_done_leaves_the_end() -> None:
    job = even(100)
    assert forecast(job, 1_000) == Forecast(0.0, 0.0, 1.0)
    assert forecast(job, 1_040) == Forecast(0.0, 0.0, 40.0)


def test_many_advances_are_thinned_to_a_few_samples() -> None:
    job = ProgressModel(0.0)
    for index in range(1, 100_001):
        job.add(index / 100, index / 2_000, PATIENCE_S)
    assert len(job._work) <= MAX_SAMPLES
    assert job._work[0] == 0
    assert forecast(job, 1_000).remaining_s == pytest.approx(1_000, rel=0.01)


STEPS = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), max_size=100)


@given(STEPS, st.floats(0, 1e7), st.floats(60, 1e5))
def test_forecast_for_any_progress_is_valid(
    steps: list[tuple[float, float]], idle_s: float, stall_timeout_s: float
) -> None:
    """Gaps of zero and of days; tiny advances; progress that falls."""
    job, at_s = ProgressModel(0.0), 0.0
    for gap_s, progress in steps:
        at_s += gap_s
        job.add(at_s, progress, stall_timeout_s)
    found = job.forecast(at_s + idle_s, stall_timeout_s)
    assert job.rate is None or job.rate > 0
    assert found is None or 0 <= found.low_s <= found.remaining_s <= found.high_s < float("inf")


def test_clock_that_goes_back_counts_as_no_time() -> None:
    job = even(20)
    job.add(100, 21, PATIENCE_S)
    assert forecast(job, 100).remaining_s > 0


# Stall detection.


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
        # A single long pause does not count.
        ([5.0] * 20 + [600.0] + [5.0] * 5, 60),
    ],
)
def test_stall_timeout_is_five_times_the_usual_gap(gaps_s: list[float], stall_timeout_s: float) -> None:
    assert rhythm(*gaps_s).is_calibrated
    assert rhythm(*gaps_s).stall_timeout_s() == stall_timeout_s
    assert rhythm(*gaps_s).stall_timeout_s(usual_s=36_000) == stall_timeout_s


@pytest.mark.parametrize(("usual_s", "stall_timeout_s"), [(None, 300), (10, 60), (720, 180), (36_000, 9_000)])
def test_stall_timeout_without_gaps_uses_earlier_runs(usual_s: float | None, stall_timeout_s: float) -> None:
    assert not rhythm().has_gaps
    assert not rhythm(1, 2).is_calibrated
    assert rhythm().stall_timeout_s(usual_s) == rhythm(1, 2).stall_timeout_s(usual_s) == stall_timeout_s


def test_first_long_gaps_raise_the_stall_timeout() -> None:
    assert rhythm(400).stall_timeout_s() == 2_000


def test_old_gaps_are_dropped() -> None:
    assert rhythm(*[600.0] * 50, *[5.0] * 32).stall_timeout_s() == 60
