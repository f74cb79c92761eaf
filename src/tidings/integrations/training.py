"""Training loops as operations: the common part of the callbacks for Keras, Lightning and Hugging Face."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from tidings.exceptions import OperationCancelled
from tidings.producer.api import start
from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import Operation, current_operation, lifecycle_of
from tidings.producer.options import Options, check_names
from tidings.producer.sanitize import read, text

_MIN_INTERVAL_S = 0.1
"""Shortest time between two reports, in seconds: a batch may take microseconds, and people see at most ten a second."""
_MAX_METRICS = 12
"""Metrics in one line."""


class Training:
    """Reports consecutive trainings, each as an operation: a part of the current operation, if there is one.

    No method raises, whatever values the loop passes. A training whose end is not reported, because an exception leaves
    the loop, ends with that exception if `leave` receives it, else with its parent, with the next training, or with the
    program.

    Args:
        name: Name of the trainings, for people.
        options: See `tidings.operation`.
    """

    def __init__(self, name: str, options: Options) -> None:
        check_names(options)
        self._name = name
        self._options = options
        self._operation: Operation | None = None
        self._epochs = self._batches = 0.0
        self._epoch = 0
        self._reported_at_s = 0.0
        self._finished = False
        self._stopped = False

    @property
    def operation(self) -> Operation | None:
        """The operation of the current or last training; None before the first."""
        return self._operation

    @log_errors
    def begin(
        self, *, epochs: float | None, batches: float | None, facts: Mapping[str, Any] | None = None, alone: bool = True
    ) -> None:
        """Begin a training.

        Args:
            epochs: Number of epochs; None if unknown.
            batches: Number of batches in an epoch; None if unknown.
            facts: Metadata of the operation.
            alone: Whether this process can end the training; one of several that train together must not stop alone.
        """
        if self._operation is not None and self._operation.state == "running":
            self._operation.fail("abandoned", "another training began before this one ended")
        around = current_operation()
        options: Options = {"parent": around, "metadata": facts, **self._options}
        if not alone:
            options["on_cancel"] = lambda push: "several processes train together, and one cannot stop the others"
        self._epochs, self._batches = _countable(epochs), _countable(batches)
        self._epoch = 0
        self._reported_at_s = 0.0
        self._finished = self._stopped = False
        self._operation = operation = start(self._name, **options)
        if around is not None:
            around.before_end(lambda: self._abandon(operation))

    def start_epoch(self, index: int) -> None:
        """Report the start of epoch `index`, counted from 0."""
        self._epoch = index
        self._finished = False
        self._report_batches(0, None, force=True)

    def update_batches(self, done: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Report that `done` batches of the epoch are complete."""
        self._finished = 0 < self._batches <= done and 0 < self._epochs <= self._epoch + 1
        self._report_batches(done, metrics, force=self._finished)

    @log_errors
    def update_steps(self, done: float, total: float, epoch: float) -> None:
        """Report that `done` of `total` steps are complete, for a loop that counts steps across epochs."""
        self._finished = done >= total
        if self._is_due() or self._finished:
            self._report(
                100.0 * done / total if total > 0 else None,
                f"step {done:g}/{total:g}",
                self.title(max(0, math.ceil(epoch) - 1)),
            )

    @log_errors
    def log_metrics(self, heading: str, metrics: Mapping[str, Any] | None) -> None:
        """Add a line with metrics to the log of the operation."""
        figures = _figures(metrics)
        if self._operation is not None and figures:
            self._operation.log(f"{heading}: {figures}" if heading else figures)

    def end_epoch(self, index: int, batches: int, metrics: Mapping[str, Any] | None) -> None:
        """Report the end of epoch `index`, counted from 0, after `batches` batches."""
        self._batches = self._batches or float(batches)
        self._report_batches(batches, metrics, force=True)
        self.log_metrics(self.title(index), metrics)

    def should_stop(self) -> bool:
        """Return whether a cancel request ends the training before its regular end; the loop must then end it."""
        operation = self._operation
        if self._finished or operation is None or operation.state != "running" or not operation.cancelled:
            return False
        self._stopped = True
        return True

    @log_errors
    def end(self) -> None:
        """Report the end of the loop: complete, or cancelled if `should_stop` returned True."""
        operation = self._operation
        if operation is None:
            return
        if self._stopped:
            reason = operation.cancel_reason
            cancelled = OperationCancelled(reason or "training was cancelled", reason=reason)
            lifecycle_of(operation).leave(cancelled)
        else:
            operation.complete()

    @log_errors
    def leave(self, error: BaseException | None) -> None:
        """Report the end of the code around the loop, by `error` or without one."""
        if self._operation is not None and error is not None:
            lifecycle_of(self._operation).leave(error)
        else:
            self.end()

    def _abandon(self, operation: Operation) -> None:
        if operation.state != "running":
            return
        error = sys.exc_info()[1]  # the exception that leaves the block of the parent
        if error is not None:
            lifecycle_of(operation).leave(error)
        else:
            operation.fail("abandoned", "the parent operation ended first")

    @log_errors
    def _report_batches(self, done: int, metrics: Mapping[str, Any] | None, *, force: bool = False) -> None:
        if not (self._is_due() or force):
            return
        share = min(1.0, done / self._batches) if self._batches else 0.0
        percent = 100.0 * min(1.0, (self._epoch + share) / self._epochs) if self._epochs else None
        batch = f"batch {done}/{self._batches:g}" if self._batches else f"batch {done}"
        figures = _figures(metrics)
        self._report(percent, f"{batch} · {figures}" if figures else batch, self.title(self._epoch))

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._reported_at_s < _MIN_INTERVAL_S:
            return False
        self._reported_at_s = now
        return True

    def _report(self, percent: float | None, message: str, step: str) -> None:
        operation = self._operation
        if operation is None:
            return
        try:
            if percent is None:
                operation.indeterminate()
            operation.progress(percent, message, step=step)
        except OperationCancelled:
            return  # the loop checks `should_stop`, and ends in its own way

    def title(self, index: int) -> str:
        """Return the name of the step for epoch `index`, counted from 0."""
        return f"epoch {index + 1}/{self._epochs:g}" if self._epochs else f"epoch {index + 1}"


def _countable(number: Any) -> float:
    """Return a number of epochs or batches; 0 if it is unknown or unlimited."""
    known = read(lambda: float(number), 0.0)
    return known if math.isfinite(known) and known > 0 else 0.0


def _figures(metrics: Mapping[str, Any] | None) -> str:
    """Return metrics as a line: `loss 0.1234, accuracy 0.97`."""
    figures: list[tuple[object, Any]] = read(lambda: list((metrics or {}).items()), [])
    parts = (read(partial(_figure, name, value), "") for name, value in figures)
    return ", ".join(list(filter(None, parts))[:_MAX_METRICS])


def _figure(name: object, value: Any) -> str:
    """Return a metric as text. Any error may be raised: by a tensor of several numbers, or on a lost device."""
    return f"{text(name)} {float(value):.4g}"


def ignore(*arguments: Any, **options: Any) -> None:
    """Ignore a hook of the framework that the callback does not use."""


ignore._is_default = True  # type: ignore[attr-defined]  # Keras then skips the call


class TrainingBlock:
    """A callback that is also a block around its training, for frameworks that pass no exceptions to callbacks.

    Hooks that it does not define do nothing.

    Args:
        training: The trainings that it reports.
    """

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def operation(self) -> Operation | None:
        """The operation of the current or last training; None before the first."""
        return self._training.operation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._training.leave(error)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("on_"):
            return ignore
        raise AttributeError(name)
