"""What a progress bar tells: an operation of its own, or a part of the one whose block it is in."""

import sys
import threading
from pathlib import PurePath

from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import Operation, current_operation
from tidings.producer.options import Settings
from tidings.producer.sanitize import text
from tidings.producer.tracking import ProgressTracker, SharedState, Step, count_text


class _OpenBars(threading.local):
    """The bars of each thread that have begun and not ended, the innermost last."""

    def __init__(self) -> None:
        self.bars: list[ProgressBar] = []


_open = _OpenBars()


class ProgressBar:
    """One bar, told as it moves.

    Within another bar of the same thread it is a detail of that; within the block of an operation, or of a step of it,
    it counts for that as `track` does, or as the planned step of its description; elsewhere it is an operation.

    Args:
        description: What is counted for; an operation is named after it, else after the program.
        total: How many there are, if that is known.
        unit: What one is called.
    """

    def __init__(self, description: str, total: float | None, unit: str) -> None:
        self._operation: Operation | None = None
        self._tracked: ProgressTracker | None = None
        self._scope: ProgressTracker | None = None
        self._before = 0.0
        self._ended = False
        self._begin(description, total, unit)

    @property
    def pulse(self) -> SharedState | None:
        """What its loop is to look at; None where nothing is told."""
        return None if self._scope is None else self._scope._pulse

    def count(self, n: float) -> None:
        """Take the number that is done now.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        if self._scope is not None:
            self._scope._count = self._before + n
            if self._scope._pulse.alert:
                self._scope._pulse.attend(False)

    @log_errors
    def describe(self, *, total: float | None, note: str, title: str) -> None:
        """Take what else a bar shows: its total, what stands behind its count and, for a part, before it."""
        scope = self._scope
        if scope is not None:
            with scope._pulse.lock:
                before = scope._total, scope._note, scope._title
                if scope._total_given is None:
                    scope._set_total(total)
                scope._note = text(note)
                if self._tracked is scope:
                    scope._title = text(title)
                if (scope._total, scope._note, scope._title) != before:
                    scope._pulse.changes += 1

    @log_errors
    def end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """Say that the bar has ended.

        Args:
            error: What ended it, where that is known.
            left: Whether it was dropped before its end: its loop was left, and nobody knows why.
        """
        if self._ended:
            return
        self._ended = True
        if self in _open.bars:
            _open.bars.remove(self)
        scope = self._scope
        if self._operation is not None:
            if error is None and left and self._is_short(self._operation):
                self._operation.cancel(f"left after {self._counted(self._operation)}")
            else:
                self._operation._leave(error)
        elif self._tracked is not None and scope is not None:
            self._tracked._close_track(scope)
        elif isinstance(scope, Step):
            scope._leave(well=error is None and not left)

    @log_errors
    def _begin(self, description: str, total: float | None, unit: str) -> None:
        operation = current_operation()
        if _open.bars and (outer := _open.bars[-1]._scope) is not None:
            self._scope = self._step(outer, description, total, unit, weight=0)
        elif operation is not None and operation.state == "running":
            inner = operation._innermost()
            if description in inner._waiting:
                self._scope = self._step(inner, description, total, unit, weight=None)
            else:
                self._tracked = inner
                self._scope = inner._open_track(total, description, unit)
        else:
            name = description or PurePath(sys.argv[0]).stem or "loop"
            self._operation = Operation(Settings(name=name))
            self._operation._begin()
            self._scope = self._operation._open_track(total, None, unit)
        self._before = self._scope._count
        _open.bars.append(self)

    @staticmethod
    def _step(outer: ProgressTracker, description: str, total: float | None, unit: str, weight: float | None) -> Step:
        step = outer.step(description, weight=weight)
        step._count_afresh(total, "", unit)
        step.begin()
        return step

    @staticmethod
    def _is_short(scope: ProgressTracker) -> bool:
        return scope._total is None or scope._count < scope._total

    @staticmethod
    def _counted(scope: ProgressTracker) -> str:
        return count_text(scope._count, scope._total, scope._unit, None)
