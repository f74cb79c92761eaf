import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tidings.server.websocket.accept_queue import MAX_WAIT_S, TICK_BUDGET_S, AcceptQueue
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop


def spend_budget() -> bool:
    time.sleep(TICK_BUDGET_S)
    return True


def opening(opened: list[Any], name: Any) -> Callable[[], bool]:
    """Return a handshake that is accepted and notes `name`."""

    def open_() -> bool:
        opened.append(name)
        return True

    return open_


async def test_handshakes_run_immediately_within_the_budget() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    accept_queue.run(opening(opened, 1))
    accept_queue.run(opening(opened, 2))
    assert opened == [1, 2]


async def test_exhausted_budget_lets_other_callbacks_run() -> None:
    order: list[str] = []

    def slow_opening(name: str) -> Callable[[], bool]:
        def open_() -> bool:
            order.append(name)
            asyncio.get_running_loop().call_soon(order.append, f"live after {name}")
            return spend_budget()

        return open_

    accept_queue = AcceptQueue()
    for name in ("first", "second", "third"):
        accept_queue.run(slow_opening(name))
    assert order == ["first"]
    for _ in range(4):
        await asyncio.sleep(0)
    assert order == ["first", "second", "live after first", "third", "live after second", "live after third"]


async def test_queued_handshakes_keep_their_order() -> None:
    opened: list[str] = []
    accept_queue = AcceptQueue()
    accept_queue.run(spend_budget)
    accept_queue.run(opening(opened, "waited"))
    await asyncio.sleep(0)
    accept_queue.run(opening(opened, "later"))
    await asyncio.sleep(0)
    assert opened == ["waited", "later"]


async def test_budget_is_renewed_each_tick() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    for number in range(5):
        accept_queue.run(spend_budget)
        await asyncio.sleep(0)
        accept_queue.run(opening(opened, number))
        assert len(opened) == number + 1


def paced(rate: float) -> tuple[AcceptQueue, ManualLoop]:
    clock = ManualClock()
    loop = ManualLoop(clock)
    return AcceptQueue(rate=rate, scheduler=loop, clock=clock.monotonic), loop


@pytest.mark.parametrize("rate", [2, 10, 100, 1_000])
def test_no_second_has_more_than_the_rate(rate: int) -> None:
    queue, loop = paced(rate)
    opened: list[float] = []

    def open_() -> bool:
        opened.append(loop.now)
        return True

    count = 0
    while loop.now < 4 * MAX_WAIT_S:
        count += queue.run(open_)
        loop.advance(0.3 / rate)
    loop.advance(2 * MAX_WAIT_S)
    assert len(opened) == count, "who is not refused has a turn"
    for number, begin in enumerate(opened):
        within = [at for at in opened[number : number + rate + 2] if at < begin + 1]
        assert len(within) <= rate
    assert count >= 0.8 * rate / 2 * 4 * MAX_WAIT_S


def test_handshake_that_is_refused_or_gone_takes_no_part_of_the_rate() -> None:
    queue, loop = paced(10)
    opened: list[int] = []
    for number in range(40):
        queue.run(opening(opened, number) if number % 4 == 3 else lambda: False)
    loop.advance(1.1)
    assert opened == list(range(3, 40, 4))


def test_queue_is_bounded_by_the_wait() -> None:
    queue, loop = paced(100)
    opened: list[int] = []
    admitted = [queue.run(opening(opened, number)) for number in range(2_000)]
    assert admitted == sorted(admitted, reverse=True), "the newest are refused"
    loop.advance(MAX_WAIT_S + 0.1)
    assert opened == list(range(sum(admitted)))
    assert queue.run(opening(opened, -1))
