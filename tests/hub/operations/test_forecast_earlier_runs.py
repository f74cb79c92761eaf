from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.hub.operations.forecast import DurationHistory

MINUTE_S = 60.0


def test_usually_12_minutes_now_at_9() -> None:
    runs = DurationHistory([11.8 * MINUTE_S, 12 * MINUTE_S, 12.1 * MINUTE_S, 12 * MINUTE_S, 12.3 * MINUTE_S])
    assert runs.median_s == 12 * MINUTE_S
    forecast = runs.forecast(9 * MINUTE_S)
    assert forecast is not None
    assert 2.5 * MINUTE_S < forecast.remaining_s < 4 * MINUTE_S
    assert forecast.low_s < 3 * MINUTE_S < forecast.high_s


def test_it_is_known_that_it_has_lasted_so_long() -> None:
    """Half of the runs are incremental and short: whoever has lasted two minutes is none of them."""
    runs = DurationHistory([30.0, 31.0, 29.0, 30.0, 600.0, 610.0, 590.0, 600.0])
    at_start, later = runs.forecast(0), runs.forecast(120)
    assert at_start is not None
    assert later is not None
    assert at_start.low_s < 40
    assert later.low_s > 200
    assert later.remaining_s == pytest.approx(480, rel=0.3)


def test_one_run_proves_little() -> None:
    forecast = DurationHistory([600.0]).forecast(0)
    assert forecast is not None
    assert forecast.low_s < 400
    assert forecast.high_s > 900


def test_who_has_outlasted_the_others_is_like_none_of_them() -> None:
    runs = DurationHistory([600.0, 620.0, 580.0])
    assert runs.forecast(599) is not None
    assert runs.forecast(3_000) is None


def test_the_interval_holds_four_times_out_of_five() -> None:
    random = Random(7)
    held = 0
    for _ in range(400):
        middle_s = random.uniform(10, 10_000)
        *durations, truth_s = (middle_s * random.lognormvariate(0, 0.3) for _ in range(random.randint(3, 20)))
        elapsed_s = random.uniform(0, 0.9) * truth_s
        forecast = DurationHistory(durations).forecast(elapsed_s)
        held += forecast is not None and forecast.low_s <= truth_s - elapsed_s <= forecast.high_s
    assert 0.72 <= held / 400 <= 0.9


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=20), st.floats(0, 1e7))
def test_an_interval_holds_its_middle(durations_s: list[float], elapsed_s: float) -> None:
    forecast = DurationHistory(durations_s).forecast(elapsed_s)
    assert forecast is None or 0 <= forecast.low_s <= forecast.remaining_s <= forecast.high_s
