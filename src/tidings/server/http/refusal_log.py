"""Log lines about refused requests: a few of each second, because anyone can cause them at full speed."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from tidings.exceptions import TidingsError
from tidings.hub.rate_limits import LogSampler


class RefusalLog:
    """Writes the lines about the requests that one application refuses."""

    def __init__(self) -> None:
        self._sampler = LogSampler()

    def add(self, write: Callable[..., Any], event: str, error: TidingsError, **fields: Any) -> None:
        """Write a line with the error and `fields`, or count it for the next line.

        Args:
            write: Method of a logger, which is the line's level.
            event: Text of the line.
            error: The reason of the refusal.
            fields: Further fields of the line.
        """
        if self._sampler.allows(monotonic()):
            suppressed = self._sampler.take_suppressed()
            write(event, code=error.code, error=str(error), **fields, not_logged=suppressed)
