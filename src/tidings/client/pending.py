"""Commands other than publications that wait for the hub's answer."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import CommandRefused, NotSupported, OperationUnknown, TidingsError
from tidings.protocol.messages import Cancel
from tidings.protocol.payloads import ErrorData


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to the hub, its fields in the contract's order (CONTRACT §1)."""

    type: str
    timestamp: str | None = None
    trace_id: str | None = None
    data: Raw
    channel: str | None = None
    id: str | None = None
    reply_to: str | None = None
    event_id: str | None = None


encode_command = msgspec.json.Encoder().encode


class PendingCancellations:
    """The wishes of one client, by the id of their command; pure."""

    def __init__(self) -> None:
        self._asked: dict[str, tuple[Cancel, float]] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, id: str, wish: Cancel, now: float) -> None:
        """Keep `wish` until it is settled."""
        self._asked[id] = (wish, now + wish.timeout_s)

    def due(self, now: float) -> Iterator[tuple[str, Cancel]]:
        """Return what a new connection asks for: the same, within what is left of the time.

        One whose time is up is asked, too: the hub answers at once with what it knows.
        """
        for id, (wish, deadline) in self._asked.items():
            yield id, msgspec.structs.replace(wish, timeout_s=max(0.0, deadline - now))

    def settle(self, id: str) -> Cancel | None:
        """Forget a wish, because the hub answered or nobody waits any more; return it where it was there."""
        asked = self._asked.pop(id, None)
        return None if asked is None else asked[0]


def refusal_of(error: ErrorData, wish: Cancel) -> TidingsError:
    """Return what the hub's refusal of `wish` is to the caller: our own exception where there is one."""
    hint = error.hint or ""
    if error.code == OperationUnknown.code:
        return OperationUnknown(error.message, operation_id=wish.operation_id, hint=hint)
    if error.code == NotSupported.code:
        return NotSupported(error.message, hint=hint)
    return refused(error)


def refused(error: ErrorData) -> CommandRefused:
    """Return the hub's `connection:error` as an exception."""
    return CommandRefused(
        error.message,
        refusal=error.code,
        recoverable=error.recoverable,
        hint=error.hint or "",
        details=error.details or "",
    )
