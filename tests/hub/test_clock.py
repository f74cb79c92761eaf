import time
from functools import partial

from tidings.hub.clock import LASTING_S, SteadyWallClock, SystemClock
from tidings.testing.clock import ManualClock


def test_system_clock_reads_the_machines_clocks() -> None:
    clock = SystemClock()
    assert time.time_ns() <= clock.wall_ns() <= time.time_ns()
    steady = partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
    assert steady() <= clock.monotonic() <= steady(), "it goes on while the machine is suspended"


def test_steady_wall_clock_does_not_jump() -> None:
    clock = ManualClock(10_000_000_000)
    wall = SteadyWallClock(clock)
    clock.jump(3_600)
    clock.advance(2.5)
    assert wall.now_ns() == 12_500_000_000


def test_steady_wall_clock_adopts_a_difference_that_lasts() -> None:
    clock = ManualClock(0)
    wall = SteadyWallClock(clock)
    clock.jump(100.0)
    assert wall.adopt() == 0
    clock.advance(LASTING_S - 1)
    clock.jump(50.0)  # another difference: it must last as well
    assert wall.adopt() == 0
    clock.advance(LASTING_S - 1)
    assert wall.adopt() == 0
    assert wall.now_ns() == clock.wall_ns() - 150 * 10**9
    clock.advance(1)
    assert wall.adopt() == 150 * 10**9
    assert wall.now_ns() == clock.wall_ns()
    assert wall.adopt() == 0


def test_steady_wall_clock_keeps_a_small_difference() -> None:
    clock = ManualClock(0)
    wall = SteadyWallClock(clock)
    clock.jump(0.4)
    for _ in range(10):
        clock.advance(LASTING_S)
        assert wall.adopt() == 0
