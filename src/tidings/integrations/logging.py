"""A handler for `logging` that copies the records of a running operation to its log.

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

from tidings.client.deferring_lock import BoundedLock
from tidings.producer.emitter import MAX_LINE_CHARS
from tidings.producer.operation import Operation, current_operation, lifecycle_of

OPERATION_ID_ATTRIBUTE = "tidings_operation_id"
"""Attribute of a record that names its operation, for a handler on another thread."""
_HEAD_CHARS = 2_000
"""Characters kept from the start of a line that is too long; the rest is its end, where a traceback matters most."""
_MIN_COUNT_INTERVAL_S = 1.0
"""Shortest time between two lines that count missing lines, in seconds: such a line counts as one, too."""
_OWN_THREAD_PREFIX = "tidings "
"""Prefix of the names of all threads of tidings."""

_handlers: "WeakSet[OperationHandler]" = WeakSet()
_operations_by_id: "WeakValueDictionary[str, Operation]" = WeakValueDictionary()


class OperationFilter(logging.Filter):
    """Stores the id of the current operation in each record, for a `QueueHandler`: other threads handle its records."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Store the id of the current operation; accept every record."""
        operation = current_operation()
        if operation is not None and not hasattr(record, OPERATION_ID_ATTRIBUTE):
            _operations_by_id[operation.id] = operation
            setattr(record, OPERATION_ID_ATTRIBUTE, operation.id)
        return True


class LineBudget:
    """Rate limit for the log of one operation: a token bucket. The clock is an argument.

    A quarter of the bucket is reserved for warnings and errors. After lines were shed, the bucket fills for a second
    before it accepts more, so that the missing lines are in one place.

    Args:
        burst: Capacity of the bucket, in lines.
        per_second: Lines added per second.
    """

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = float(max(1, burst))
        self._per_second = max(0.0, per_second)
        self._reserve = self._burst / 4
        self._pause = min(self._burst - self._reserve, max(1.0, self._per_second)) - 1
        self._left = self._burst
        self._updated_at_s: float | None = None
        self._counted_at_s = 0.0
        self._shed = 0
        self._worst = logging.NOTSET
        self.due = False
        """Whether the number of missing lines should be logged now."""

    def take(self, level: int, now_s: float) -> bool:
        """Return whether a line of `level` is accepted at `now_s`; count it as shed if not."""
        if self._updated_at_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._updated_at_s) * self._per_second)
        self._updated_at_s = now_s
        minor = level < logging.WARNING
        needed = 1.0
        if minor:
            needed += self._reserve + (self._pause if self._shed else 0.0)
        if self._left < needed:
            if not self._shed:
                self._counted_at_s = now_s
            self._shed += 1
            self._worst = max(self._worst, level)
            return False
        self._left -= 1
        if self._shed and (minor or now_s - self._counted_at_s >= _MIN_COUNT_INTERVAL_S):
            self.due, self._counted_at_s = True, now_s
        return True

    def take_shed(self) -> tuple[int, int]:
        """Return the number of lines shed since the last call, and the highest level among them."""
        shed = self._shed, self._worst
        self._shed, self._worst, self.due = 0, logging.NOTSET, False
        return shed


class OperationHandler(logging.Handler):
    """Adds the records that are logged while an operation runs to the log of the operation.

    A record belongs to the operation in whose block it was logged (`tidings.current_operation`), else to `operation`.
    Without either, and before the start or after the end of the operation, this handler drops it. A burst of lines is
    cut off, and the log counts the missing lines: "… and 312 more". Records of tidings itself are ignored. The handler
    never waits for the hub or for another thread that logs.

    Args:
        level: Minimum level, as of every handler.
        operation: Operation for records logged outside of any block, as on other threads; or a function returning it.
        burst: Lines that an operation may log in a burst. Default: 200.
        per_second: Lines per second that it may log in the long run. Default: 20.
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
        self._budgets: WeakKeyDictionary[Operation, LineBudget] = WeakKeyDictionary()
        self._within = threading.local()
        self.reset_lock()
        _handlers.add(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, without the lock of the handler.

        Records of an operation's `redact` are logged with the lock of that operation held. A thread that took the two
        locks in the opposite order would cause a deadlock.
        """
        if _is_ours(record) or getattr(self._within, "emitting", False):
            return False
        passed: object = self.filter(record)
        if not passed:
            return False
        self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record to the log of its operation."""
        # `redact`, which receives every line, may log, and so may the `__str__` of an argument.
        self._within.emitting = True
        try:
            operation = self._operation_of(record)
            if operation is None or operation.state != "running" or not self._accepts(operation, record.levelno):
                return
            operation.log(_fitting(self.format(record)), _level(record.levelno))
        except Exception:
            self.handleError(record)
        finally:
            self._within.emitting = False

    def flush(self) -> None:
        """Log the number of missing lines of every running operation."""
        with self._budget_lock.guard():
            operations = list(self._budgets)
        for operation in operations:
            self._log_shed(operation)

    def reset_lock(self) -> None:
        """Create a new lock, as a forked child must."""
        # Not the lock of the handler, which `logging.shutdown` holds while it flushes. Reentrant, because a signal
        # handler may end the operation in the middle of a line. No code that waits runs while it is held.
        self._budget_lock = BoundedLock()

    def _operation_of(self, record: logging.LogRecord) -> Operation | None:
        id: str | None = getattr(record, OPERATION_ID_ATTRIBUTE, None)
        operation = (_operations_by_id.get(id) if id is not None else None) or current_operation()
        if operation is None and self._operation is not None:
            operation = self._operation if isinstance(self._operation, Operation) else self._operation()
        return operation

    def _accepts(self, operation: Operation, level: int) -> bool:
        with self._budget_lock.guard():
            budget = self._budgets.get(operation)
            if budget is None:
                budget = self._budgets[operation] = self._make()
                operation.before_end(partial(self._at_end, operation))
            taken = budget.take(level, time.monotonic())
            due = budget.due
        if due:
            self._log_shed(operation)
        return taken

    def _log_shed(self, operation: Operation) -> None:
        def log_shed() -> None:
            with self._budget_lock.guard():
                budget = self._budgets.get(operation)
                number, worst = (0, logging.NOTSET) if budget is None else budget.take_shed()
            if number:
                operation.log(f"… and {number:,} more", _level(worst))

        # The operation must not end between the reading of the number and the line.
        lifecycle_of(operation).while_running(log_shed)

    def _at_end(self, operation: Operation) -> None:
        self._log_shed(operation)
        with self._budget_lock.guard():
            self._budgets.pop(operation, None)


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a record is caused by reporting: reporting it would cause the next one."""
    if record.name == "tidings" or record.name.startswith("tidings."):
        return True
    return record.name == "asyncio" and (record.threadName or "").startswith(_OWN_THREAD_PREFIX)


def _level(number: int) -> int:
    """Return the highest of the five levels that is not above `number`; everything below `INFO` counts as `DEBUG`."""
    return min(logging.CRITICAL, max(logging.DEBUG, number // 10 * 10))


def _fitting(line: str) -> str:
    """Return `line`, without its middle if it is too long for an event."""
    if len(line) <= MAX_LINE_CHARS:
        return line
    gap = "\n…\n"
    return f"{line[:_HEAD_CHARS]}{gap}{line[len(line) - (MAX_LINE_CHARS - _HEAD_CHARS - len(gap)) :]}"


def _reset_locks() -> None:
    for handler in list(_handlers):
        handler.reset_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_locks)
