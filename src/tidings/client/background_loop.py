"""An event loop on a background thread, for code without an event loop."""

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from tidings.exceptions import ClientError

if sys.platform == "win32":
    from asyncio import ProactorEventLoop as _EventLoop
else:
    from asyncio import SelectorEventLoop as _EventLoop

T = TypeVar("T")

_JOIN_S = 3.0
"""Maximum wait for the end of the thread, in seconds: a closing handshake takes 1 s, and a name lookup on the loop's
own thread, which happens at the end of the interpreter only, must not delay the process."""
_threads: "WeakValueDictionary[int, LoopThread]" = WeakValueDictionary()


def list_live_loops() -> list[asyncio.AbstractEventLoop]:
    """Return the loops of all running `LoopThread`s of this process; `tidings.testing` waits for them."""
    # `valuerefs` is one step for the interpreter, so no lock is needed, which would have to survive a fork.
    threads = [reference() for reference in _threads.valuerefs()]
    return [thread.loop for thread in threads if thread is not None and thread.alive]


class BackgroundLoop(_EventLoop):
    """An event loop that can resolve names until the process ends.

    asyncio resolves names on the executor of the loop. That refuses work from the moment that the interpreter shuts
    down, which is when a short job sends its events; and the interpreter waits for its threads, so that a name server
    that does not answer would delay the exit of the job.
    """

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """See `asyncio.loop.getaddrinfo`. Each lookup has a daemon thread of its own."""
        found: asyncio.Future[Any] = self.create_future()
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)

        def run() -> None:
            try:
                settle = partial(_settle, found, look_up())
            except Exception as error:
                settle = partial(_settle, found, error)
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(settle)

        try:
            threading.Thread(target=run, name="tidings resolver", daemon=True).start()
        except RuntimeError:
            # From Python 3.12 on, no thread starts once the interpreter runs its exit handlers.
            return look_up()
        return await found


def _settle(found: "asyncio.Future[Any]", result: object) -> None:
    if found.done():
        return
    if isinstance(result, Exception):
        found.set_exception(result)
    else:
        found.set_result(result)


class LoopThread:
    """A daemon thread that runs an event loop until it is closed.

    It is a daemon thread because a program that forgets to close its client must still be able to exit.

    Args:
        name: Name of the thread.

    Raises:
        RuntimeError: No thread can be started: there are too many, or the interpreter (3.12 or later) is ending.
    """

    def __init__(self, name: str) -> None:
        self.loop = BackgroundLoop()
        # Orders submissions before the stop: what was submitted runs or is cancelled, and is never lost.
        # Reentrant: a finalizer or a signal handler may submit in the middle of a submission.
        self._lock = threading.RLock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self.loop.close()
            raise
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

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop; does nothing if the loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        if threading.get_ident() == self._thread.ident:
            coroutine.close()
            raise ClientError("a blocking call on the client's own thread would deadlock")
        # A forked child must not take the lock, which another thread may have held: there the thread is not alive.
        with self._lock if self.alive else nullcontext():
            if not self.alive:
                coroutine.close()
                raise ClientError("the client is closed")
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self) -> None:
        """Cancel running coroutines and end the thread."""
        with self._lock if self.alive else nullcontext():
            if not self.alive:
                return
            self._closing = True
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_JOIN_S)

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
