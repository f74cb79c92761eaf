import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.replay.timing import Bound, PlaybackSchedule, read_bound, read_speed
from tidings.exceptions import ConfigError
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

S = 1_000_000_000
RECORDED = 1_700_000_000 * S
NOW = 1_800_000_000 * S


def tempo(speed: float | None = 1.0, max_pause_s: float | None = None) -> PlaybackSchedule:
    return PlaybackSchedule(speed=speed, max_pause_s=max_pause_s, start_ns=NOW, end_ns=RECORDED + 100 * S)


@pytest.mark.parametrize(
    ("speed", "max_pause_s", "due"),
    [
        (1.0, None, [0, 2, 2, 10]),
        (10.0, None, [0, 0.2, 0.2, 1]),
        (0.5, None, [0, 4, 4, 20]),
        (1.0, 3.0, [0, 2, 2, 5]),
        (2.0, 3.0, [0, 1, 1, 2.5]),
        (None, None, [0, 0, 0, 0]),
    ],
)
def test_events_keep_their_distances_at_any_speed(
    speed: float | None, max_pause_s: float | None, due: list[float]
) -> None:
    played = tempo(speed, max_pause_s)
    moments = [RECORDED, RECORDED + 2 * S, RECORDED + 2 * S, RECORDED + 10 * S]
    assert [played.due_s(moment) for moment in moments] == due


def test_decreasing_or_missing_moments_add_no_delay() -> None:
    played = tempo()
    moments = [RECORDED, RECORDED + 5 * S, RECORDED + 1 * S, None, RECORDED + 4 * S, RECORDED + 6 * S]
    assert [played.due_s(moment) for moment in moments] == [0, 5, 5, 5, 5, 6]


def test_a_timestamp_precedes_playback_as_it_preceded_its_receipt() -> None:
    played = tempo(2.0)
    played.due_s(RECORDED)
    played.due_s(RECORDED + 10 * S)
    assert played.shifted(from_nanoseconds(RECORDED + 9 * S)) == from_nanoseconds(NOW + 5 * S - S // 2)


def test_at_max_speed_the_newest_timestamp_is_now_and_distances_stay() -> None:
    played = tempo(None)
    played.due_s(RECORDED)
    assert played.shifted(from_nanoseconds(RECORDED + 100 * S)) == from_nanoseconds(NOW)
    assert played.shifted(from_nanoseconds(RECORDED + 40 * S)) == from_nanoseconds(NOW - 60 * S)


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1),
    st.sampled_from([0.5, 1.0, 7.0, None]),
)
def test_events_keep_their_order_and_have_no_future_timestamp(
    moments: list[tuple[int, int]], speed: float | None
) -> None:
    played, before = tempo(speed), 0.0
    for moment, timestamp in moments:
        due = played.due_s(RECORDED + moment)
        assert due >= before
        assert to_nanoseconds(played.shifted(from_nanoseconds(RECORDED + timestamp))) <= NOW + round(due * S) + 1_000
        before = due


@pytest.mark.parametrize(("text", "speed"), [("1", 1.0), ("10x", 10.0), ("0.25", 0.25), ("max", None)])
def test_speeds_are_parsed(text: str, speed: float | None) -> None:
    assert read_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "", "1e9", "x"])
def test_an_invalid_speed_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^--speed: invalid speed '{text}': expected a factor") as caught:
        read_speed(text)
    assert caught.value.hint == "Write 1, 10, 0.5 or max."


def test_bounds_are_offsets_or_times() -> None:
    assert read_bound("from", "1m30s") == Bound(90 * S, None)
    assert read_bound("from", "1m30s").moment_ns(RECORDED) == RECORDED + 90 * S
    assert read_bound("from", from_nanoseconds(RECORDED + S)).moment_ns(5) == RECORDED + S
    with pytest.raises(ConfigError, match="--from: invalid time 'noon'"):
        read_bound("from", "noon")
