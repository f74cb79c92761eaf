"""A training loop as an operation: what the callbacks of Keras, Lightning and Hugging Face have in common.

What callbacks share whose framework tells them of no exception: the block around the training does.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from tidings.exceptions import OperationCancelled
from tidings.producer.api import start
from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import Operation, current_operation, lifecycle_of
from tidings.producer.options import Options

_EVERY_S = 0.1
"""Between two looks at a loop: a batch may take microseconds, and nobody sees more than ten of them a second."""
_MOST_METRICS = 12


class Training:
    """One training after the other, each an operation of its own: a part of the current one, where there is one.

    Nothing here raises, whatever the loop hands over. How a training ends that says nothing of its end, because an
    exception leaves the loop: with that exception where `leave` tells it, with its parent's end, with the next
    training, or with the program.

    Args:
        name: What a person calls it.
        options: See `tidings.operation`.
    """

    def __init__(self, name: str, options: Options) -> None:
        self._name = name
        self._options = options
        self._operation: Operation | None = None
        self._epochs = self._batches = 0.0
        self._epoch = 0
        self._looked_at = 0.0
        self._finished = False
        self._stopped = False

    @property
    def operation(self) -> Operation | None:
        """The operation of the present training, or of the last; None before the first."""
        return self._operation

    @log_errors
    def begin(
        self, *, epochs: float | None, batches: float | None, facts: Mapping[str, Any] | None = None, alone: bool = True
    ) -> None:
        """Begin a training.

        Args:
            epochs: How many there will be; None where nobody knows.
            batches: How many an epoch has; None where nobody knows.
            facts: Its metadata.
            alone: Whether this process can end it: where several train together, none of them may stop by itself.
        """
        if self._operation is not None and self._operation.state == "running":
            self._operation.fail("abandoned", "another training began before this one had ended")
        around = current_operation()
        options: Options = {"parent": around, "metadata": facts, **self._options}
        if not alone:
            options["on_cancel"] = lambda push: "it is trained by several processes, and one cannot stop the others"
        self._epochs, self._batches = _countable(epochs), _countable(batches)
        self._epoch = 0
        self._looked_at = 0.0
        self._finished = self._stopped = False
        self._operation = operation = start(self._name, **options)
        if around is not None:
            around.before_end(lambda: self._abandon(operation))

    def epoch(self, index: int) -> None:
        """Say that epoch `index`, counted from 0, begins."""
        self._epoch = index
        self._finished = False
        self._look(0, None, force=True)

    def batch(self, done: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Say that `done` batches of the epoch are done."""
        self._finished = 0 < self._batches <= done and 0 < self._epochs <= self._epoch + 1
        self._look(done, metrics, force=self._finished)

    @log_errors
    def reach(self, done: float, total: float, epoch: float) -> None:
        """Say that `done` of `total` steps of the whole are done, where the loop counts that way."""
        self._finished = done >= total
        if self._is_due() or self._finished:
            self._tell(
                100.0 * done / total if total > 0 else None,
                f"step {done:g}/{total:g}",
                self.title(max(0, math.ceil(epoch) - 1)),
            )

    @log_errors
    def note(self, heading: str, metrics: Mapping[str, Any] | None) -> None:
        """Add a line with metrics to the operation's log."""
        figures = _figures(metrics)
        if self._operation is not None and figures:
            self._operation.log(f"{heading}: {figures}" if heading else figures)

    def note_epoch(self, index: int, batches: int, metrics: Mapping[str, Any] | None) -> None:
        """Say that epoch `index`, counted from 0, has ended, after so many batches."""
        self._batches = self._batches or float(batches)
        self._look(batches, metrics, force=True)
        self.note(self.title(index), metrics)

    def should_stop(self) -> bool:
        """Return whether somebody wants the training to end that would not end by itself now; the loop will end it."""
        operation = self._operation
        if self._finished or operation is None or operation.state != "running" or not operation.cancelled:
            return False
        self._stopped = True
        return True

    @log_errors
    def end(self) -> None:
        """Say that the loop has ended: well, or as somebody wanted."""
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
        """Say that the code around the loop is left, by an exception or without one."""
        if self._operation is not None and error is not None:
            lifecycle_of(self._operation).leave(error)
        else:
            self.end()

    def _abandon(self, operation: Operation) -> None:
        if operation.state != "running":
            return
        error = sys.exc_info()[1]  # what the block of the operation around is left by
        if error is not None:
            lifecycle_of(operation).leave(error)
        else:
            operation.fail("abandoned", "the operation that it was a part of ended first")

    @log_errors
    def _look(self, done: int, metrics: Mapping[str, Any] | None, *, force: bool = False) -> None:
        if not (self._is_due() or force):
            return
        share = min(1.0, done / self._batches) if self._batches else 0.0
        percent = 100.0 * min(1.0, (self._epoch + share) / self._epochs) if self._epochs else None
        batch = f"batch {done}/{self._batches:g}" if self._batches else f"batch {done}"
        figures = _figures(metrics)
        self._tell(percent, f"{batch} · {figures}" if figures else batch, self.title(self._epoch))

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._looked_at < _EVERY_S:
            return False
        self._looked_at = now
        return True

    def _tell(self, percent: float | None, message: str, step: str) -> None:
        operation = self._operation
        if operation is None:
            return
        try:
            if percent is None:
                operation.indeterminate()
            operation.progress(percent, message, step=step)
        except OperationCancelled:
            return  # `should_stop` tells the loop, which ends in its own way

    def title(self, index: int) -> str:
        """Return the name of the step that epoch `index`, counted from 0, is."""
        return f"epoch {index + 1}/{self._epochs:g}" if self._epochs else f"epoch {index + 1}"


def _countable(number: Any) -> float:
    """Return a number of epochs or batches; 0 where there is none, or no end of them."""
    try:
        known = float(number)
    except (TypeError, ValueError):
        return 0.0
    return known if math.isfinite(known) and known > 0 else 0.0


def _figures(metrics: Mapping[str, Any] | None) -> str:
    """Return metrics as a line: `loss 0.1234, accuracy 0.97`."""
    said = []
    for name, value in (metrics or {}).items():
        try:
            said.append(f"{name} {float(value):.4g}")
        except (TypeError, ValueError, RuntimeError):  # a tensor of more than one number, or none at all
            continue
    return ", ".join(said[:_MOST_METRICS])


def nothing(*arguments: Any, **options: Any) -> None:
    """Do what a callback does at moments that it has no interest in."""


nothing._is_default = True  # type: ignore[attr-defined]  # so Keras knows that it need not call it


class TrainingBlock:
    """A callback that is also the block around its training, and does nothing where it has no hook.

    Args:
        training: What it reports.
    """

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def operation(self) -> Operation | None:
        """The operation of the present training, or of the last; None before the first."""
        return self._training.operation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._training.leave(error)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("on_"):
            return nothing
        raise AttributeError(name)
