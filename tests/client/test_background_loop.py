import asyncio
import threading

import pytest

from tidings.client.background_loop import LoopThread, list_live_loops
from tidings.exceptions import ClientError


def test_loop_thread_returns_results_and_raises_exceptions() -> None:
    thread = LoopThread("test loop")

    async def name() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise ValueError("why")

    try:
        assert thread.run(name()) == "test loop"
        with pytest.raises(ValueError, match="why"):
            thread.run(fail())
    finally:
        thread.close()
    assert "test loop" not in [running.name for running in threading.enumerate()]


def test_closing_cancels_running_coroutines_and_raises() -> None:
    thread = LoopThread("test loop")
    running = threading.Event()
    errors: list[Exception] = []

    async def forever() -> None:
        running.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            thread.run(forever())
        except ClientError as error:
            errors.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert running.wait(5)
    thread.close()
    caller.join(5)
    assert len(errors) == 1
    assert not thread.alive
    thread.close()
    with pytest.raises(ClientError, match="closed"):
        thread.run(forever())
    with pytest.raises(ClientError, match="closed"):
        thread.start(forever())


def test_blocking_call_on_the_loops_own_thread_raises() -> None:
    thread = LoopThread("test loop")

    async def nothing() -> None: ...

    async def inside() -> None:
        thread.run(nothing())

    try:
        with pytest.raises(ClientError, match="would deadlock"):
            thread.run(inside())
    finally:
        thread.close()


def test_live_loops_are_listed() -> None:
    first, second = LoopThread("first"), LoopThread("second")
    try:
        assert {id(first.loop), id(second.loop)} <= set(map(id, list_live_loops()))
        first.close()
        assert id(first.loop) not in set(map(id, list_live_loops()))
        assert id(second.loop) in set(map(id, list_live_loops()))
    finally:
        first.close()
        second.close()
