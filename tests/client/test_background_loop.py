import asyncio
import os
import subprocess
import sys
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
    assert running.wait(60)
    thread.close()
    caller.join(60)
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child_does_not_wait_for_the_lock_of_its_parent() -> None:
    """In a child of a fork during a call of another thread, the client is closed."""
    code = """
import asyncio, os, signal, threading
from tidings.client.background_loop import LoopThread
from tidings.exceptions import ClientError

loop_thread = LoopThread("test loop")
held, over = threading.Event(), threading.Event()

def hold():
    try:
        with loop_thread._lock:
            held.set()
            over.wait()
    finally:
        held.set()

threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(10)  # ends a child that hangs
    try:
        loop_thread.run(asyncio.sleep(0))
    except ClientError:
        loop_thread.close()
        os._exit(7)
    os._exit(1)
_, status = os.waitpid(child, 0)
over.set()
loop_thread.close()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 7
