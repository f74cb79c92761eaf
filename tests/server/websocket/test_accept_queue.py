import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from tidings.server.websocket.accept_queue import MAX_WAIT_S, TICK_BUDGET_S, AcceptQueue
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop


class Opening:
    """A handshake that notes its turn, or its refusal."""

    def __init__(self, on_turn: Callable[[], object], *, is_accepted: bool = True) -> None:
        self._on_turn = on_turn
        self._is_accepted = is_accepted
        self.refused = False

    def serve(self) -> bool:
        self._on_turn()
        return self._is_accepted

    def refuse_busy(self) -> None:
        self.refused = True


def spending() -> Opening:
    """Return a handshake that takes all the time of a tick."""
    return Opening(lambda: time.sleep(TICK_BUDGET_S))


def opening(opened: list[Any], name: Any) -> Opening:
    """Return a handshake that is accepted and notes `name`."""
    return Opening(lambda: opened.append(name))


async def test_handshakes_run_immediately_within_the_budget() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    accept_queue.run(opening(opened, 1))
    accept_queue.run(opening(opened, 2))
    assert opened == [1, 2]


async def test_exhausted_budget_lets_other_callbacks_run() -> None:
    order: list[str] = []

    def slow_opening(name: str) -> Opening:
        def open_() -> None:
            order.append(name)
            asyncio.get_running_loop().call_soon(order.append, f"live after {name}")
            time.sleep(TICK_BUDGET_S)

        return Opening(open_)

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
    accept_queue.run(spending())
    accept_queue.run(opening(opened, "waited"))
    await asyncio.sleep(0)
    accept_queue.run(opening(opened, "later"))
    await asyncio.sleep(0)
    assert opened == ["waited", "later"]


async def test_budget_is_renewed_each_tick() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    for number in range(5):
        accept_queue.run(spending())
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
    sent = []
    while loop.now < 4 * MAX_WAIT_S:
        sent.append(Opening(lambda: opened.append(loop.now)))
        queue.run(sent[-1])
        loop.advance(0.3 / rate)
    loop.advance(2 * MAX_WAIT_S)
    count = sum(not each.refused for each in sent)
    assert len(opened) == count, "who is not refused has a turn"
    for number, begin in enumerate(opened):
        within = [at for at in opened[number : number + rate + 2] if at < begin + 1]
        assert len(within) <= rate
    assert count >= 0.8 * rate / 2 * 4 * MAX_WAIT_S


def test_handshake_that_is_refused_or_gone_takes_no_part_of_the_rate() -> None:
    queue, loop = paced(10)
    opened: list[int] = []
    for number in range(40):
        queue.run(opening(opened, number) if number % 4 == 3 else Opening(lambda: None, is_accepted=False))
    loop.advance(1.1)
    assert opened == list(range(3, 40, 4))


def test_queue_is_bounded_by_the_wait() -> None:
    queue, loop = paced(100)
    opened: list[int] = []
    sent = [opening(opened, number) for number in range(2_000)]
    for each in sent:
        queue.run(each)
    refused = [each.refused for each in sent]
    assert refused == sorted(refused), "the newest are refused"
    loop.advance(MAX_WAIT_S + 0.1)
    assert opened == list(range(refused.count(False)))
    queue.run(opening(opened, -1))
    assert opened[-1] == -1


def test_address_that_floods_the_queue_keeps_no_other_out() -> None:
    queue, loop = paced(100)
    opened: list[str] = []
    flood = [opening(opened, "flood") for _ in range(3_000)]
    others = [opening(opened, f"other {number}") for number in range(20)]
    for each in flood[:2_000]:
        queue.run(each, "192.0.2.1")
    for number, each in enumerate(others):
        queue.run(each, f"198.51.100.{number}")
    for each in flood[2_000:]:
        queue.run(each, "192.0.2.1")
    assert not any(each.refused for each in others)
    loop.advance(0.5)
    assert {name for name in opened if name != "flood"} == {f"other {number}" for number in range(20)}
    assert opened.count("flood") < 40


def test_addresses_take_turns() -> None:
    queue, loop = paced(10)
    opened: list[str] = []
    for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        queue.run(opening(opened, name), name[0])
    loop.advance(1)
    assert opened == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
