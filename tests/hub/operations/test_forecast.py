from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidings.hub.operations.forecast import DurationHistory, Forecast, blend, smooth

SECONDS = st.floats(0, 1e7)
FORECASTS = st.builds(sorted, st.tuples(SECONDS, SECONDS, SECONDS)).map(
    lambda ends: Forecast(ends[1], ends[0], ends[2])
)


def around(middle_s: float, factor: float) -> Forecast:
    return Forecast(middle_s, middle_s / factor, middle_s * factor)


def test_blend_favours_the_more_certain_forecast() -> None:
    both = blend(around(100, 1.1), around(400, 3), done=0.0)
    assert 100 < both.remaining_s < 105
    both = blend(around(100, 3), around(400, 1.1), done=0.0)
    assert 380 < both.remaining_s < 400


def test_blend_of_equal_forecasts_is_the_same() -> None:
    both = blend(around(100, 1.5), around(100, 1.5), done=0.0)
    assert (both.remaining_s, both.low_s, both.high_s) == pytest.approx((100, 100 / 1.5, 150))


def test_blend_of_conflicting_forecasts_is_wide() -> None:
    both = blend(around(100, 1.2), around(400, 1.2), done=0.0)
    assert both.low_s < 100
    assert both.high_s > 400


def test_blend_weighs_earlier_runs_less_with_progress() -> None:
    middles = [blend(around(100, 2), around(400, 2), done).remaining_s for done in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert middles == sorted(middles, reverse=True)
    assert middles[0] == pytest.approx(200)
    assert middles[-1] == pytest.approx(100)


@given(FORECASTS, FORECASTS, st.floats(0, 1))
def test_forecast_interval_contains_its_median(own: Forecast, earlier: Forecast, done: float) -> None:
    both = blend(own, earlier, done)
    assert 0 <= both.low_s <= both.remaining_s <= both.high_s
    assert both.high_s <= 1e16


def test_smoothed_forecast_runs_down() -> None:
    assert smooth(around(95, 2), before_s=100, passed_s=5, elapsed_s=1_000).remaining_s == pytest.approx(95)


def test_smoothing_is_faster_for_young_attempts() -> None:
    old = smooth(around(190, 2), before_s=100, passed_s=5, elapsed_s=10_000)
    young = smooth(around(190, 2), before_s=100, passed_s=5, elapsed_s=20)
    assert 95 < old.remaining_s < young.remaining_s < 190
    assert old.high_s / old.remaining_s == pytest.approx(2)


@pytest.mark.parametrize("fresh_s", [1.0, 10_000.0])
def test_smoothed_forecast_is_within_a_factor_of_two(fresh_s: float) -> None:
    shown_s = smooth(around(fresh_s, 1.5), before_s=100, passed_s=0.1, elapsed_s=1e6).remaining_s
    assert fresh_s / 2 <= shown_s <= fresh_s * 2


def test_smoothed_forecast_of_zero_is_zero() -> None:
    nothing = Forecast(0.0, 0.0, 3.0)
    assert smooth(nothing, before_s=100, passed_s=5, elapsed_s=1_000) == nothing


# Durations of earlier runs.


MINUTE_S = 60.0


def test_history_of_12_minutes_at_9_leaves_3() -> None:
    runs = DurationHistory([11.8 * MINUTE_S, 12 * MINUTE_S, 12.1 * MINUTE_S, 12 * MINUTE_S, 12.3 * MINUTE_S])
    assert runs.median_s == 12 * MINUTE_S
    forecast = runs.forecast(9 * MINUTE_S)
    assert forecast is not None
    assert 2.5 * MINUTE_S < forecast.remaining_s < 4 * MINUTE_S
    assert forecast.low_s < 3 * MINUTE_S < forecast.high_s


def test_forecast_accounts_for_the_elapsed_time() -> None:
    """Half of the runs are incremental and short: a run of two minutes is not one of them."""
    runs = DurationHistory([30.0, 31.0, 29.0, 30.0, 600.0, 610.0, 590.0, 600.0])
    at_start, later = runs.forecast(0), runs.forecast(120)
    assert at_start is not None
    assert later is not None
    assert at_start.low_s < 40
    assert later.low_s > 200
    assert later.remaining_s == pytest.approx(480, rel=0.3)


def test_single_run_gives_a_wide_interval() -> None:
    forecast = DurationHistory([600.0]).forecast(0)
    assert forecast is not None
    assert forecast.low_s < 400
    assert forecast.high_s > 900


def test_run_that_outlasts_all_others_has_no_forecast() -> None:
    runs = DurationHistory([600.0, 620.0, 580.0])
    assert runs.forecast(599) is not None
    assert runs.forecast(3_000) is None


def test_interval_holds_four_times_out_of_five() -> None:
    random = Random(7)
    held = 0
    for _ in range(400):
        middle_s = random.uniform(10, 10_000)
        *durations, truth_s = (middle_s * random.lognormvariate(0, 0.3) for _ in range(random.randint(3, 20)))
        elapsed_s = random.uniform(0, 0.9) * truth_s
        forecast = DurationHistory(durations).forecast(elapsed_s)
        held += forecast is not None and forecast.low_s <= truth_s - elapsed_s <= forecast.high_s
    assert 0.72 <= held / 400 <= 0.9


@given(st.lists(st.floats(0, 1e306), min_size=1, max_size=20), st.floats(0, 1e10))
@example([1e305, 0.0, 1e-6], 1.0)
@example([1e305] * 20, 0.0)
@example([5e-324] * 20, 0.0)
def test_history_interval_contains_its_median(durations_s: list[float], elapsed_s: float) -> None:
    history = DurationHistory(durations_s)
    forecast = history.forecast(elapsed_s)
    assert forecast is None or 0 <= forecast.low_s <= forecast.remaining_s <= forecast.high_s <= 1.001e9
    assert 0.001 <= history.median_s <= 1e9
