"""Signals: SIGTERM and SIGHUP end the operations of a job before the job ends, and have their usual effect then.

A signal handler runs between two instructions of the main thread, perhaps while that thread holds the lock of the
outbox. The handler must not wait for the lock then: it would wait for itself.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Self

from tidings.client.deferring_lock import ThreadMark


class _DeferredCalls(ThreadMark):
    """The calls that one thread has deferred."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []


class DeferCalls:
    """A reentrant region in which a thread defers calls of the job's code: `with it, it.region:`.

    Such are the work of signal handlers, and what reports an error of the hub. The thread makes them at the end of the
    outermost block. No exception can leave the thread in the region.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Leave the region, as a forked child does whose parent's thread was inside."""
        self._calls = _DeferredCalls()

    @property
    def region(self) -> AbstractContextManager[object]:
        """The region for this thread. Enter it after this object, as in `with deferred, deferred.region:`."""
        return self._calls.region

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        calls = self._calls
        while calls.waiting and not calls.is_set:
            calls.waiting.pop(0)()

    def run(self, call: Callable[[], None]) -> None:
        """Make `call` now, or when this thread leaves the region."""
        calls = self._calls
        if calls.is_set:
            calls.waiting.append(call)
        else:
            call()


CALLS_DEFERRED = DeferCalls()
"""The region of this process."""


class TerminationHandler:
    """The handler of one signal that ends processes, while operations run: SIGTERM, or SIGHUP of a closed terminal.

    It is installed from the main thread only, and only if the signal would end the process or has a Python handler; an
    ignored signal stays ignored (SIGHUP below `nohup`). On a signal:

    - Without another handler, `end_all` is called, and the process dies of the signal, as it would have.
    - Another handler is called first. If it raises (`sys.exit()`, KeyboardInterrupt), `end_main_thread` is called and
      the exception continues. If it returns, the job has decided to go on, and nothing is reported: an operation that
      the job still completes is not cancelled.

    Args:
        number: The signal.
        end_main_thread: Ends the operations of the main thread.
        end_all: Ends all operations, and waits briefly for the hub.
    """

    def __init__(
        self, number: signal.Signals, end_main_thread: Callable[[str], None], end_all: Callable[[str], None]
    ) -> None:
        self.number = number
        self._end_main_thread = end_main_thread
        self._end_all = end_all
        self._handler = self._handle
        self._previous: Callable[[int, FrameType | None], object] | int | None = None
        self._installed = False
        self.received = False
        """Whether the signal has arrived."""

    @property
    def is_installed(self) -> bool:
        """Whether the signal was taken over."""
        return self._installed

    def install(self) -> None:
        """Take over the signal, if that is possible and was not done before."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(self.number)
        if previous is signal.SIG_DFL or callable(previous):
            try:
                signal.signal(self.number, self._handler)
            except ValueError:
                return  # the main thread of a subinterpreter handles no signals
            self._previous = previous
            self._installed = True

    def remove(self) -> None:
        """Restore the previous handler, unless other code has taken the signal over since."""
        if (
            self._installed
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(self.number) == self._handler
        ):
            signal.signal(self.number, self._previous)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        CALLS_DEFERRED.run(lambda: self._terminate(number, frame))

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous
        if callable(previous):
            try:
                previous(number, frame)
            except BaseException:
                self._end_main_thread(self.number.name)
                raise
            return
        try:
            self._end_all(self.number.name)
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


class ForkMask(threading.local):
    """Blocks signals in a thread that forks, until the child has removed the handlers of its parent.

    CPython drops a signal with a handler in Python that reaches the child before its hooks have run: a worker that
    `multiprocessing.Pool` terminates so early would live on, and the pool would wait for it.
    """

    def __init__(self, handlers: Sequence[TerminationHandler]) -> None:
        self._handlers = handlers
        self._mask: set[int] | None = None

    def block(self) -> None:
        """Before the fork: block the signals that were taken over."""
        if taken := [handler.number for handler in self._handlers if handler.is_installed]:
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, taken)

    def restore(self) -> None:
        """After the fork, in the parent and in the child."""
        mask, self._mask = self._mask, None
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
