"""Keeping a signal's handler out of what the main thread is in the middle of.

A handler runs between two instructions of the main thread, perhaps while that holds the outbox's lock. It must not
wait for that lock then: it would wait for itself.
"""

import threading
from collections.abc import Callable
from types import TracebackType


class Undisturbed:
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


UNDISTURBED = Undisturbed()
"""This process's."""
