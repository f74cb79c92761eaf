"""A handler for `logging`: what a job logs while an operation runs is in the operation's log, too.

::

    logging.getLogger().addHandler(OperationHandler(logging.INFO))
    with tidings.operation("Import prices"):
        logging.getLogger("shop").warning("%d rows without a price", 3)
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from tidings.producer.emitter import MAX_LINE
from tidings.producer.operation import Operation, current_operation, lifecycle_of

STAMP = "tidings_operation_id"
"""The attribute by which a record names its operation where another thread handles it."""
_HEAD = 2_000
"""Characters of a line too long that are kept from its beginning; of a traceback the end says most."""
_BETWEEN_COUNTS_S = 1.0
"""A line about lines is a line."""
_OWN_THREADS = "tidings "
"""How the names of tidings' own threads begin."""

_handlers: "WeakSet[OperationHandler]" = WeakSet()
_stamped: "WeakValueDictionary[str, Operation]" = WeakValueDictionary()


class OperationFilter(logging.Filter):
    """Notes in each record which operation it belongs to; for a `QueueHandler`, whose records other threads handle."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Note the current operation; let every record pass."""
        operation = current_operation()
        if operation is not None and not hasattr(record, STAMP):
            _stamped[operation.id] = operation
            setattr(record, STAMP, operation.id)
        return True


class LineBudget:
    """How many lines one operation's log may still take: a bucket that time fills; the clock is an argument.

    A quarter of it is kept for warnings and worse. Where lines were shed, it fills for a second before it lets more
    through: what is missing is then in one place.

    Args:
        burst: What it holds, lines.
        per_second: What it gains, lines.
    """

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = float(max(1, burst))
        self._per_second = max(0.0, per_second)
        self._reserve = self._burst / 4
        self._pause = min(self._burst - self._reserve, max(1.0, self._per_second)) - 1
        self._left = self._burst
        self._looked_s: float | None = None
        self._told_s = 0.0
        self._shed = 0
        self._worst = logging.NOTSET
        self.due = False
        """Whether it is time to say how many lines are missing."""

    def take(self, level: int, now_s: float) -> bool:
        """Return whether a line of `level` may go out at `now_s`; count it as shed if not."""
        if self._looked_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._looked_s) * self._per_second)
        self._looked_s = now_s
        minor = level < logging.WARNING
        needed = 1.0
        if minor:
            needed += self._reserve + (self._pause if self._shed else 0.0)
        if self._left < needed:
            if not self._shed:
                self._told_s = now_s
            self._shed += 1
            self._worst = max(self._worst, level)
            return False
        self._left -= 1
        if self._shed and (minor or now_s - self._told_s >= _BETWEEN_COUNTS_S):
            self.due, self._told_s = True, now_s
        return True

    def shed(self) -> tuple[int, int]:
        """Return how many lines were shed since it was last asked, and the worst level among them."""
        told = self._shed, self._worst
        self._shed, self._worst, self.due = 0, logging.NOTSET, False
        return told


class OperationHandler(logging.Handler):
    """Adds what is logged while an operation runs to the operation's log.

    A record belongs to the operation in whose block it was logged (`tidings.current_operation`), else to `operation`;
    outside of both, and before the beginning or after the end, it is dropped here. A burst of lines is cut off, and the
    log says how many are missing: "… and 312 more". tidings' own records are left out. It never waits for the hub, nor
    for another thread that logs.

    Args:
        level: As every handler's.
        operation: What takes records logged outside of any operation's block, as on other threads; or what returns it.
        burst: How many lines an operation may log at once.
        per_second: How many it may log in the long run.
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        operation: Operation | Callable[[], Operation | None] | None = None,
        burst: int = 200,
        per_second: float = 20.0,
    ) -> None:
        super().__init__(level)
        self._operation = operation
        self._make = partial(LineBudget, burst, per_second)
        self._allowances: WeakKeyDictionary[Operation, LineBudget] = WeakKeyDictionary()
        self._within = threading.local()
        self._begin_anew()
        _handlers.add(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, without the handler's lock.

        What an operation's `redact` logs is logged with that operation's lock held. Whoever took the two locks the
        other way round would wait for ever.
        """
        if _is_ours(record) or getattr(self._within, "emitting", False):
            return False
        passed: object = self.filter(record)
        if not passed:
            return False
        self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to its operation's log."""
        self._within.emitting = True  # `redact`, which sees every line, may log, and so may an object's `__str__`
        try:
            operation = self._operation_of(record)
            if operation is None or operation.state != "running" or not self._may_go(operation, record.levelno):
                return
            operation.log(_fitting(self.format(record)), _level(record.levelno))
        except Exception:
            self.handleError(record)
        finally:
            self._within.emitting = False

    def flush(self) -> None:
        """Say of every operation that runs how many lines its log lacks."""
        with self._counting:
            operations = list(self._allowances)
        for operation in operations:
            self._tell_shed(operation)

    def _begin_anew(self) -> None:
        """Have a lock that nobody holds, as a forked child must."""
        # Not the handler's own, which `logging.shutdown` holds while it flushes. Reentrant, because a signal's handler
        # may end the operation in the middle of a line. Nothing is waited for while it is held.
        self._counting = threading.RLock()

    def _operation_of(self, record: logging.LogRecord) -> Operation | None:
        stamp: str | None = getattr(record, STAMP, None)
        operation = (_stamped.get(stamp) if stamp is not None else None) or current_operation()
        if operation is None and self._operation is not None:
            operation = self._operation if isinstance(self._operation, Operation) else self._operation()
        return operation

    def _may_go(self, operation: Operation, level: int) -> bool:
        with self._counting:
            allowance = self._allowances.get(operation)
            if allowance is None:
                allowance = self._allowances[operation] = self._make()
                operation.before_end(partial(self._at_end, operation))
            taken = allowance.take(level, time.monotonic())
            due = allowance.due
        if due:
            self._tell_shed(operation)
        return taken

    def _tell_shed(self, operation: Operation) -> None:
        def log_shed() -> None:
            with self._counting:
                allowance = self._allowances.get(operation)
                number, worst = (0, logging.NOTSET) if allowance is None else allowance.shed()
            if number:
                operation.log(f"… and {number:,} more", _level(worst))

        # So that it does not end between the reading of the number and the line.
        lifecycle_of(operation).while_running(log_shed)

    def _at_end(self, operation: Operation) -> None:
        self._tell_shed(operation)
        with self._counting:
            self._allowances.pop(operation, None)


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record comes of reporting: reported, it would make the next one."""
    if record.name == "tidings" or record.name.startswith("tidings."):
        return True
    return record.name == "asyncio" and (record.threadName or "").startswith(_OWN_THREADS)


def _level(number: int) -> int:
    """Return the nearest of the five levels that is not above `number`; all below `INFO` are `DEBUG`."""
    return min(logging.CRITICAL, max(logging.DEBUG, number // 10 * 10))


def _fitting(line: str) -> str:
    """Return `line`, without its middle where it is too long for an event."""
    if len(line) <= MAX_LINE:
        return line
    gap = "\n…\n"
    return f"{line[:_HEAD]}{gap}{line[len(line) - (MAX_LINE - _HEAD - len(gap)) :]}"


def _begin_all_anew() -> None:
    for handler in list(_handlers):
        handler._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all_anew)
