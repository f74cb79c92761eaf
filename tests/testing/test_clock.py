import pytest

from tidings.testing.clock import ManualClock


def test_clock_stands_still() -> None:
    clock = ManualClock(5)
    assert (clock.wall_ns(), clock.monotonic()) == (5, 0.0)
    assert (clock.wall_ns(), clock.monotonic()) == (5, 0.0)


def test_time_passes_on_both_clocks() -> None:
    clock = ManualClock(5)
    clock.advance(1.5)
    assert (clock.wall_ns(), clock.monotonic()) == (1_500_000_005, 1.5)


def test_only_the_wall_clock_can_go_back() -> None:
    clock = ManualClock(5)
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-0.1)
    clock.jump(-1)
    assert (clock.wall_ns(), clock.monotonic()) == (5 - 1_000_000_000, 0.0)


def test_reading_the_clock_can_take_time() -> None:
    clock = ManualClock(reading_s=0.25)
    assert [clock.monotonic(), clock.monotonic(), clock.now, clock.now] == [0.25, 0.5, 0.5, 0.5]
