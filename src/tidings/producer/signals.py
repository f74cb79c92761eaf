"""SIGTERM: the operations of a job that is told to end say so before it does, and it ends as it would have.

Keeping a signal's handler out of what the main thread is in the middle of.

A handler runs between two instructions of the main thread, perhaps while that holds the outbox's lock. It must not
wait for that lock then: it would wait for itself.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class DeferSignals:
    """A region, reentrant, in which the main thread puts off what a signal's handler wants to do."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Be outside, as a forked child is whose parent's main thread was inside."""
        self._depth = 0
        self._put_off: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        if _in_main_thread():
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not _in_main_thread():
            return
        self._depth -= 1
        while not self._depth and self._put_off:
            self._put_off.pop(0)()

    def run(self, action: Callable[[], None]) -> None:
        """Run `action` now, or when the main thread has left the region; called by handlers, so in the main thread."""
        if self._depth:
            self._put_off.append(action)
        else:
            action()


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


UNDISTURBED = DeferSignals()
"""This process's."""


REASON = "SIGTERM"


class SigtermHandler:
    """The handler of SIGTERM while operations run.

    It is installed only from the main thread, and only where the signal would end the process or has a handler in
    Python; an ignored SIGTERM stays ignored. What happens then:

    - Without another handler, `finish` is called, and the process dies of the signal, as it would have.
    - Another handler is called first. Where it raises (`sys.exit()`, KeyboardInterrupt), `leave` is called, and what it
      raised goes on. Where it returns, the job has decided to go on, and nothing is said: an operation that the job
      still completes is not cancelled.

    Args:
        leave: Ends the operations of the main thread.
        finish: Ends all operations, and waits a moment for the hub.
    """

    def __init__(self, leave: Callable[[], None], finish: Callable[[], None]) -> None:
        self._leave = leave
        self._finish = finish
        self._handler = self._handle
        self._previous: Callable[[int, FrameType | None], object] | int | None = None
        self._installed = False
        self.asked = False
        """Whether a SIGTERM has come."""

    def install(self) -> None:
        """Take over SIGTERM, where that is possible and was not done before."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)
        if previous is signal.SIG_DFL or callable(previous):
            try:
                signal.signal(signal.SIGTERM, self._handler)
            except ValueError:
                return  # the main thread of a subinterpreter handles no signals
            self._previous = previous
            self._installed = True

    def remove(self) -> None:
        """Give SIGTERM back, unless somebody has taken it over since."""
        if (
            self._installed
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) == self._handler
        ):
            signal.signal(signal.SIGTERM, self._previous)
            self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        UNDISTURBED.run(lambda: self._terminate(number, frame))

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous
        if callable(previous):
            try:
                previous(number, frame)
            except BaseException:
                self._leave()
                raise
            return
        try:
            self._finish()
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
