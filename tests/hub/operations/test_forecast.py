import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.hub.operations.forecast import Forecast, blend, smooth

SECONDS = st.floats(0, 1e7)
FORECASTS = st.builds(sorted, st.tuples(SECONDS, SECONDS, SECONDS)).map(
    lambda ends: Forecast(ends[1], ends[0], ends[2])
)


def around(middle_s: float, factor: float) -> Forecast:
    return Forecast(middle_s, middle_s / factor, middle_s * factor)


def test_the_surer_of_two_counts_more() -> None:
    both = blend(around(100, 1.1), around(400, 3), done=0.0)
    assert 100 < both.remaining_s < 105
    both = blend(around(100, 3), around(400, 1.1), done=0.0)
    assert 380 < both.remaining_s < 400


def test_two_that_agree_stay_what_they_are() -> None:
    both = blend(around(100, 1.5), around(100, 1.5), done=0.0)
    assert (both.remaining_s, both.low_s, both.high_s) == pytest.approx((100, 100 / 1.5, 150))


def test_two_that_contradict_each_other_make_the_interval_wide() -> None:
    both = blend(around(100, 1.2), around(400, 1.2), done=0.0)
    assert both.low_s < 100
    assert both.high_s > 400


def test_the_more_is_done_the_less_earlier_runs_count() -> None:
    middles = [blend(around(100, 2), around(400, 2), done).remaining_s for done in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert middles == sorted(middles, reverse=True)
    assert middles[0] == pytest.approx(200)
    assert middles[-1] == pytest.approx(100)


@given(FORECASTS, FORECASTS, st.floats(0, 1))
def test_an_interval_holds_its_middle(own: Forecast, earlier: Forecast, done: float) -> None:
    both = blend(own, earlier, done)
    assert 0 <= both.low_s <= both.remaining_s <= both.high_s
    assert both.high_s <= 1e16


def test_what_was_foreseen_runs_down() -> None:
    assert smooth(around(95, 2), before_s=100, passed_s=5, elapsed_s=1_000).remaining_s == pytest.approx(95)


def test_news_are_believed_the_sooner_the_younger_the_attempt() -> None:
    old = smooth(around(190, 2), before_s=100, passed_s=5, elapsed_s=10_000)
    young = smooth(around(190, 2), before_s=100, passed_s=5, elapsed_s=20)
    assert 95 < old.remaining_s < young.remaining_s < 190
    assert old.high_s / old.remaining_s == pytest.approx(2)


@pytest.mark.parametrize("fresh_s", [1.0, 10_000.0])
def test_what_is_shown_is_never_more_than_twice_off(fresh_s: float) -> None:
    shown_s = smooth(around(fresh_s, 1.5), before_s=100, passed_s=0.1, elapsed_s=1e6).remaining_s
    assert fresh_s / 2 <= shown_s <= fresh_s * 2


def test_what_has_nothing_left_has_nothing_left() -> None:
    nothing = Forecast(0.0, 0.0, 3.0)
    assert smooth(nothing, before_s=100, passed_s=5, elapsed_s=1_000) == nothing
