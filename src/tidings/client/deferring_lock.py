"""Locks for code that may be interrupted by code that needs the same lock, or by an exception.

The garbage collector, a signal handler, a weakref callback or an audit hook runs foreign code between any two
bytecodes, also while a lock is held. If that code reports, an ordinary lock waits for its own thread for ever, and a
reentrant lock lets it in while the state is half changed. The code may also wait for a thread that waits for this lock.

An exception (KeyboardInterrupt, RecursionError, MemoryError) may arrive there, too, even at the first bytecode of an
`__exit__` that is written in Python. All locks here are therefore acquired and released by `with` and by methods in C:
CPython runs nothing between such a method and the block.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import repeat
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)

MAX_WAIT_S = 0.5
"""Maximum wait for another thread, in seconds: usually that holds the lock for some microseconds."""
_MAX_ACTIONS = 20_000
"""Actions that may wait for the holder of the lock. Policy: the newest is dropped."""


class ThreadMark(threading.local):
    """A mark of the thread that runs: set inside of `with mark.region:`."""

    def __init__(self) -> None:
        self.region = threading.RLock()

    @property
    def is_set(self) -> bool:
        """Whether this thread is in the region."""
        return _is_owned(self.region)


_waiting = ThreadMark()
"""Threads that wait for a lock of this module, or run the actions of one."""
_locks: list["weakref.ref[DeferringLock]"] = []


def _is_owned(lock: Any) -> bool:
    owned: bool = lock._is_owned()  # as `threading.Condition` uses it
    return owned


def _is_busy() -> bool:
    """Return whether this thread was interrupted where it must not wait: it may be what another thread waits for."""
    return _waiting.is_set or any(lock is not None and lock.held for lock in [known() for known in list(_locks)])


class LockBusy(Exception):
    """A lock was not acquired in time."""


class _Acquired(dict[bool, object]):
    def __missing__(self, acquired: bool) -> object:
        raise LockBusy


class _TimedLock:
    """A lock as a context manager whose `__enter__` raises LockBusy if the lock is not acquired in time."""

    # The methods are those of the lock itself: a slot is found like a method.
    __slots__ = ("__enter__", "__exit__")

    def __init__(self, lock: Any, wait_s: float) -> None:
        acquired = map(lock.acquire, repeat(True), repeat(wait_s))
        self.__enter__: Callable[[], object] = map(_Acquired({True: lock}).__getitem__, acquired).__next__
        self.__exit__: Callable[..., None] = lock.__exit__


class TryLock(_TimedLock):
    """A lock that no block waits for: it raises LockBusy while it is held, also by the same thread."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(threading.Lock(), 0)


class BoundedLock:
    """A reentrant lock that is not waited for longer than `MAX_WAIT_S`.

    After that the block runs without it: two threads that wait for each other, through foreign code, must not hang.
    """

    __slots__ = ("_free", "_lock", "_soon_free")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._free, self._soon_free = _TimedLock(self._lock, 0), _TimedLock(self._lock, MAX_WAIT_S)

    def guard(self) -> AbstractContextManager[object]:
        """Return the context manager of one block.

        If another thread takes the lock before the block, the block waits for it; but of threads that wait for each
        other, the last finds the lock taken here.
        """
        try:
            with self._free:
                return self._lock
        except LockBusy:
            return self._wait()

    def _wait(self) -> AbstractContextManager[object]:
        if _is_busy():
            return nullcontext()
        try:
            with _waiting.region, self._soon_free:
                return self._lock
        except LockBusy:
            return nullcontext()


class DeferringLock:
    """Runs the actions of all threads one at a time, in the order in which they were added.

    An action that is left by anything but an ordinary exception, or at the limit of recursion or memory, runs again
    when the lock is next used: it must be able to.

    For code that needs a result, `with lock, lock.mutex:` is an ordinary reentrant block, before and after which the
    waiting actions run.
    """

    __slots__ = ("__weakref__", "_actions", "_failures", "_free", "_soon_free", "mutex")

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        """The lock itself."""
        self._free, self._soon_free = _TimedLock(self.mutex, 0), _TimedLock(self.mutex, MAX_WAIT_S)
        self._actions: deque[Callable[[], object]] = deque()
        self._failures: deque[Exception] = deque()
        _locks.append(weakref.ref(self, _locks.remove))

    @property
    def held(self) -> bool:
        """Whether this thread holds the lock."""
        return _is_owned(self.mutex)

    def run(self, action: Callable[[], object]) -> None:
        """Run `action` with the lock held: now, or when the thread that holds the lock releases it.

        It runs later if the holder is this thread, or does not release the lock for `MAX_WAIT_S`.
        """
        if len(self._actions) >= _MAX_ACTIONS:
            return
        self._actions.append(action)
        try:  # noqa: SIM105 -- `suppress` needs more of both
            self._run_waiting()
        except (RecursionError, MemoryError):
            pass  # it waits for a use of the lock with more stack or memory

    def __enter__(self) -> Self:
        self._run_waiting()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run_waiting()

    def _run_waiting(self) -> None:
        # Again after each release: another thread, or a handler of this one, may have added an action just before it.
        while self._actions and not self.held and (self._try_to_run(self._free) or self._try_to_run(self._soon_free)):
            pass
        while self._failures and not self.held:
            logger.error("a report failed", exc_info=self._failures.popleft())

    def _try_to_run(self, lock: _TimedLock) -> bool:
        if lock is self._soon_free and _is_busy():
            return False
        try:
            with _waiting.region, lock:
                self._run_all()
        except LockBusy:
            return False
        return True

    def _run_all(self) -> None:
        actions = self._actions
        while actions:
            try:
                actions[0]()
            except (RecursionError, MemoryError):
                raise
            except Exception as error:
                self._failures.append(error)  # logged when the lock is released: handlers are foreign code
            actions.popleft()


class DeferringCondition:
    """A condition variable for the state that a `DeferringLock` guards."""

    def __init__(self, lock: DeferringLock) -> None:
        self._lock = lock
        # Simple queues, because they are the only ones that a signal handler or a finalizer may use.
        self._waiters: deque[SimpleQueue[None]] = deque()

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `predicate` is true, with the lock held, or for `timeout_s`.

        It does not wait if this thread is interrupted while it holds the lock: then nothing would change.
        """
        waiter: SimpleQueue[None] = SimpleQueue()
        self._waiters.append(waiter)
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                interrupted = self._lock.held
                with self._lock, self._lock.mutex:
                    met = predicate()
                remaining_s = deadline - time.monotonic()
                if met or interrupted or remaining_s <= 0:
                    return
                with suppress(Empty):
                    waiter.get(timeout=remaining_s)
        finally:
            self._waiters.remove(waiter)

    def notify(self) -> None:
        """Let all that wait examine their predicates; called with the lock held."""
        for waiter in list(self._waiters):
            waiter.put(None)
