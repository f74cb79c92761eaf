import asyncio
import threading

import pytest

from tidings.client.background_loop import LoopThread, list_live_loops
from tidings.exceptions import ClientError


def test_it_runs_coroutines_and_returns_what_they_return_or_raise() -> None:
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


def test_what_still_runs_at_the_close_is_cancelled_and_its_caller_told() -> None:
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


def test_a_blocking_call_on_its_own_thread_is_refused_instead_of_hanging() -> None:
    thread = LoopThread("test loop")

    async def nothing() -> None: ...

    async def inside() -> None:
        thread.run(nothing())

    try:
        with pytest.raises(ClientError, match="would deadlock"):
            thread.run(inside())
    finally:
        thread.close()


def test_the_loops_that_live_are_known() -> None:
    first, second = LoopThread("first"), LoopThread("second")
    try:
        assert {id(first.loop), id(second.loop)} <= set(map(id, list_live_loops()))
        first.close()
        assert id(first.loop) not in set(map(id, list_live_loops()))
        assert id(second.loop) in set(map(id, list_live_loops()))
    finally:
        first.close()
        second.close()
