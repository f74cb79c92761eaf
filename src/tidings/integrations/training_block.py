"""What callbacks share whose framework tells them of no exception: the block around the training does."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tidings.integrations.training import Training, nothing
from tidings.producer.operation import Operation


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
