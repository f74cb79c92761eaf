"""Locks for code that may be interrupted by code that needs the same lock.

The garbage collector, a signal handler, a weakref callback or an audit hook runs foreign code between any two
bytecodes, also while a lock is held. If that code reports, an ordinary lock waits for its own thread for ever, and a
reentrant lock lets it in while the state is half changed. The code may also wait for a thread that waits for this lock.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

MAX_WAIT_S = 0.5
"""Maximum wait for another thread, in seconds: usually that holds the lock for some microseconds."""
_MAX_ACTIONS = 20_000
"""Actions that may wait for the holder of the lock. Policy: the newest is dropped."""


_busy: set[int] = set()
"""Threads that hold a `DeferringLock`, or wait for a lock of this module."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_busy.clear)


class _Busy:
    """Marks this thread as busy. Code that interrupts a busy thread must not wait: the thread may be what it waits for.

    Entered, it returns the maximum wait for a lock, in seconds.
    """

    __slots__ = ("_interrupts", "_thread")

    def __enter__(self) -> float:
        self._thread = threading.get_ident()
        self._interrupts = self._thread in _busy
        _busy.add(self._thread)
        return 0.0 if self._interrupts else MAX_WAIT_S

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._interrupts:
            _busy.discard(self._thread)


class BoundedLock:
    """A reentrant lock, as a context manager, that is not waited for longer than `MAX_WAIT_S`.

    After that the block runs without it: two threads that wait for each other, through foreign code, must not hang.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            with _Busy() as wait_s:
                self._lock.acquire(timeout=wait_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:  # noqa: SIM105 -- `suppress` takes longer than all the rest
            self._lock.release()
        except RuntimeError:
            pass  # this thread has not acquired it


class DeferringLock:
    """Runs the actions of all threads one at a time, in the order in which they were added.

    As a context manager it is an ordinary reentrant lock, for code that needs a result.
    """

    __slots__ = ("_actions", "_busy", "_depth", "_failures", "_lock", "_owner")

    def __init__(self) -> None:
        # Reentrant, because a signal may arrive after it is acquired and before `_owner` is set.
        self._lock = threading.RLock()
        self._owner = 0
        self._depth = 0
        self._busy = _Busy()
        self._actions: deque[Callable[[], object]] = deque()
        self._failures: deque[Exception] = deque()

    @property
    def held(self) -> bool:
        """Whether this thread holds the lock."""
        return self._owner == threading.get_ident()

    def run(self, action: Callable[[], object]) -> None:
        """Run `action` with the lock held: now, or when the thread that holds the lock releases it.

        It runs later if the holder is this thread, or does not release the lock for `MAX_WAIT_S`.
        """
        if len(self._actions) >= _MAX_ACTIONS:
            return
        self._actions.append(action)
        self._run_waiting()

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._owner = threading.get_ident()
            self._busy.__enter__()
            self._run_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._depth == 1:
                self._run_all()
        finally:
            self._leave()
        self._run_waiting()

    def _leave(self) -> None:
        self._depth -= 1
        if not self._depth:
            self._busy.__exit__(None, None, None)
            self._owner = 0
        self._lock.release()

    def _run_waiting(self) -> None:
        # Again after each release: another thread, or a handler of this one, may have added an action just before it.
        while self._actions and not self.held and self._acquire():
            try:
                self._depth += 1
                self._owner = threading.get_ident()
                self._busy.__enter__()
                self._run_all()
            finally:
                self._leave()
        while self._failures and not self.held:
            logger.error("a report failed", exc_info=self._failures.popleft())

    def _acquire(self) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        with _Busy() as wait_s:
            return self._lock.acquire(timeout=wait_s)

    def _run_all(self) -> None:
        while self._actions:
            action = self._actions.popleft()
            try:
                action()
            except Exception as error:
                self._failures.append(error)  # logged when the lock is released: handlers are foreign code
