import asyncio
import threading

import pytest

from tidings.client.background_loop import LoopThread, list_live_loops
from tidings.testing.manual_time import settle_threads, wait_quiet


class Busy:
    """Work in an event loop that counts its steps, each a few rounds after the last."""

    def __init__(self, steps: int) -> None:
        self.done = 0
        self._steps = steps

    async def work(self) -> None:
        for _ in range(self._steps):
            for _ in range(10):
                await asyncio.sleep(0)
            self.done += 1


async def test_loop_is_quiet_after_many_rounds_without_activity() -> None:
    busy = Busy(200)
    working = asyncio.create_task(busy.work())
    await wait_quiet(lambda: busy.done)
    assert busy.done == 200
    assert working.done()


def test_settle_threads_waits_for_each_thread() -> None:
    busy, thread = Busy(200), LoopThread("busy")
    try:
        thread.start(busy.work())
        settle_threads([thread.loop], lambda: busy.done)
        assert busy.done == 200
    finally:
        thread.close()


def test_closed_loop_is_skipped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    settle_threads([loop], lambda: 0)


def test_wait_ends_with_the_loop() -> None:
    thread = LoopThread("ending")
    looked = threading.Event()

    def never_quiet() -> int:
        looked.set()
        never_quiet.steps += 1  # type: ignore[attr-defined]
        return int(never_quiet.steps)  # type: ignore[attr-defined]

    never_quiet.steps = 0  # type: ignore[attr-defined]

    def end() -> None:
        looked.wait(10)
        thread.close()

    ending = threading.Thread(target=end)
    ending.start()
    settle_threads([thread.loop], never_quiet)
    ending.join(10)
    assert thread.loop not in list_live_loops()


def test_loop_that_never_becomes_quiet_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.testing.manual_time.MAX_SETTLE_S", 0.1)
    steps = iter(range(1_000_000_000))
    thread = LoopThread("restless")
    try:
        with pytest.raises(TimeoutError, match="not at rest"):
            settle_threads([thread.loop], lambda: next(steps))
    finally:
        thread.close()
