import time

from tidings.hub.clock import SteadyWallClock, SystemClock
from tidings.testing.clock import ManualClock


def test_system_clock_reads_the_machines_clocks() -> None:
    clock = SystemClock()
    assert time.time_ns() <= clock.wall_ns() <= time.time_ns()
    assert time.monotonic() <= clock.monotonic() <= time.monotonic()


def test_steady_wall_clock_does_not_jump() -> None:
    clock = ManualClock(10_000_000_000)
    wall = SteadyWallClock(clock)
    clock.jump(3_600)
    clock.advance(2.5)
    assert wall.now_ns() == 12_500_000_000
