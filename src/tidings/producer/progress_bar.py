"""Progress bars as operations: a bar is an operation, or a part of the operation whose block it is in."""

import sys
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import Operation, current_operation, lifecycle_of
from tidings.producer.options import Settings
from tidings.producer.outcome import Cancelled
from tidings.producer.progress_tree import SharedState
from tidings.producer.sanitize import text
from tidings.producer.tracking import LoopCounter, current_work


class _OpenBars(threading.local):
    """The open bars of each thread, the innermost last."""

    def __init__(self) -> None:
        self.bars: list[ProgressBar] = []


_open = _OpenBars()


class ProgressBar:
    """A progress bar whose movement is reported.

    Inside another bar of the same thread it is a detail of that bar. Inside the block of an operation, or of a step of
    it, it counts there as `track` does, or as the planned step named like its description. Otherwise it is an operation
    of its own.

    Args:
        description: What the bar counts. An operation is named after it, or else after the program.
        total: Number of units; None if unknown.
        unit: Name of one unit.
    """

    def __init__(self, description: object, total: float | None, unit: object) -> None:
        self._operation: Operation | None = None
        self._counter: LoopCounter | None = None
        self._ended = False
        self.count: Callable[[float], None] = _ignore
        """Sets the number of completed units; see `LoopCounter.set`."""
        self._begin(text(description), total, text(unit))

    @property
    def shared(self) -> SharedState | None:
        """State that the loop checks for a cancel request; None if nothing is reported."""
        return None if self._counter is None else self._counter.shared

    @log_errors
    def describe(self, *, total: float | None, note: object, title: object) -> None:
        """Update the total, the text after the count and, for a part of an operation, the text before it.

        Args:
            total: Number of units; None if unknown.
            note: Text after the count.
            title: Text before the count; None keeps it.
        """
        if self._counter is not None and not self._ended:
            shown = None if self._operation is not None or title is None else text(title).rstrip(": ")
            self._counter.describe(total, text(note), shown)

    @log_errors
    def end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """End the bar.

        Args:
            error: The exception that ended the loop, if it is known.
            left: Whether the loop was left before its end, for an unknown reason.
        """
        if self._ended:
            return
        self._ended = True
        self.count = _ignore  # another loop may count there now
        if self in _open.bars:
            _open.bars.remove(self)
        counter = self._counter
        if self._operation is not None:
            lifecycle = lifecycle_of(self._operation)
            if error is None and left and counter is not None and counter.is_short:
                lifecycle.end(Cancelled(reason=f"left after {counter}"))
            else:
                lifecycle.leave(error)
        elif counter is not None:
            counter.close(finished=error is None and not left)

    @log_errors
    def _begin(self, description: str, total: float | None, unit: str) -> None:
        operation, work = current_operation(), current_work()
        if _open.bars and (outer := _open.bars[-1]._counter) is not None:
            self._counter = outer.open_detail(total, description, unit)
        else:
            if work is None or operation is None or operation.state != "running":
                name = description or PurePath(sys.argv[0]).stem or "loop"
                work = self._operation = Operation(Settings(name=name))
                lifecycle_of(work).start()
                description = ""
            self._counter = LoopCounter.open(work, total, description, unit)
        self.count = self._counter.set
        _open.bars.append(self)


def _ignore(n: Any) -> None:
    """Ignore a count that cannot be reported."""
