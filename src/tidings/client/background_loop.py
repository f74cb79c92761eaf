"""An event loop on a background thread, for code without an event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from tidings.exceptions import ClientError

T = TypeVar("T")

_threads: "WeakValueDictionary[int, LoopThread]" = WeakValueDictionary()


def list_live_loops() -> list[asyncio.AbstractEventLoop]:
    """Return the loops of all running `LoopThread`s of this process; `tidings.testing` waits for them."""
    # `valuerefs` is one step for the interpreter, so no lock is needed, which would have to survive a fork.
    threads = [reference() for reference in _threads.valuerefs()]
    return [thread.loop for thread in threads if thread is not None and thread.alive]


class LoopThread:
    """A daemon thread that runs an event loop until it is closed.

    It is a daemon thread because a program that forgets to close its client must still be able to exit.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        # Orders submissions before the stop: what was submitted runs or is cancelled, and is never lost.
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _threads[id(self)] = self

    @property
    def alive(self) -> bool:
        """Whether the loop still accepts work."""
        return self._thread.is_alive() and not self._closing

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` in the loop and return its result; interrupting the wait (Ctrl-C) cancels it.

        Raises:
            ClientError: The loop is closed.
        """
        future = self._submit(coroutine)
        try:
            return future.result()
        except CancelledError:
            raise ClientError("the client was closed") from None
        finally:
            future.cancel()

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run `coroutine` in the loop without waiting for it.

        Raises:
            ClientError: The loop is closed.
        """
        self._submit(coroutine)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise ClientError("a blocking call on the client's own thread would deadlock")
        with self._lock:
            if not self.alive:
                coroutine.close()
                raise ClientError("the client is closed")
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel running coroutines and end the thread."""
        with self._lock:
            if not self.alive:
                return
            self._closing = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        loop = self.loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
