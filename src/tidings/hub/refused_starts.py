"""Starts of operations that the log could not store: what their publisher sent behind them fails too."""

from typing import Final

from tidings.exceptions import TidingsError
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

MAX_AGE_S: Final = 2.0
"""Time after which a start that its publisher does not send again is forgotten, in seconds: longer than a message is
under way, and short enough that an operation without its start is not lost."""
MAX_STARTS: Final = 1_000
"""Starts that are remembered for one connection; it has no more events in flight."""


class RefusedStarts:
    """The refused starts of one connection, by operation.

    A publisher has several events in flight. If the log fails at the start of an operation and recovers before its
    end, an end without its start would be stored, and the start that the publisher sends again would then begin an
    attempt that never ends. So the events of that operation are refused until its start is sent again.
    """

    __slots__ = ("_refused",)

    def __init__(self) -> None:
        self._refused: dict[str, tuple[TidingsError, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._refused)

    def add(self, event: Event, error: TidingsError, now: float) -> None:
        """Remember `event` if it is a start that was refused, with an error after which it may be sent again.

        Args:
            event: The refused event.
            error: The log's error.
            now: The monotonic clock, in seconds.
        """
        if event.type != MessageType.OPERATION_START or event.key is None:
            return
        if len(self._refused) >= MAX_STARTS:
            del self._refused[next(iter(self._refused))]
        self._refused[event.key] = error, now

    def check(self, event: Event, now: float) -> None:
        """Check that `event` does not follow a refused start of its operation.

        Raises:
            TidingsError: It does; the error is the start's own.
        """
        if event.key is None or event.key not in self._refused:
            return
        error, refused = self._refused[event.key]
        if event.type == MessageType.OPERATION_START or now - refused > MAX_AGE_S:
            del self._refused[event.key]
        elif event.type.startswith("operation:"):
            raise error
