import asyncio
import time
from collections.abc import Callable
from functools import partial

from tidings.server.websocket.accept_queue import TICK_BUDGET_S, AcceptQueue


def spend_budget() -> None:
    time.sleep(TICK_BUDGET_S)


async def test_handshakes_run_immediately_within_the_budget() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    accept_queue.run(lambda: opened.append(1))
    accept_queue.run(lambda: opened.append(2))
    assert opened == [1, 2]


async def test_exhausted_budget_lets_other_callbacks_run() -> None:
    order: list[str] = []

    def opening(name: str) -> Callable[[], None]:
        def open_() -> None:
            order.append(name)
            spend_budget()
            asyncio.get_running_loop().call_soon(order.append, f"live after {name}")

        return open_

    accept_queue = AcceptQueue()
    for name in ("first", "second", "third"):
        accept_queue.run(opening(name))
    assert order == ["first"]
    for _ in range(4):
        await asyncio.sleep(0)
    assert order == ["first", "second", "live after first", "third", "live after second", "live after third"]


async def test_queued_handshakes_keep_their_order() -> None:
    opened: list[str] = []
    accept_queue = AcceptQueue()
    accept_queue.run(spend_budget)
    accept_queue.run(lambda: opened.append("waited"))
    await asyncio.sleep(0)
    accept_queue.run(lambda: opened.append("later"))
    await asyncio.sleep(0)
    assert opened == ["waited", "later"]


async def test_budget_is_renewed_each_tick() -> None:
    opened: list[int] = []
    accept_queue = AcceptQueue()
    for number in range(5):
        accept_queue.run(spend_budget)
        await asyncio.sleep(0)
        accept_queue.run(partial(opened.append, number))
        assert len(opened) == number + 1
