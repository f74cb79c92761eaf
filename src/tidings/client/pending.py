"""Events on their way to the log: kept until the hub has answered, and sent again after a reconnect (CONTRACT §6).

Wishes to cancel that the hub has not answered: asked again on every connection, each within its own time.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import (
    CommandRefused,
    InvalidPayload,
    NotSupported,
    OperationUnknown,
    PayloadTooLarge,
    TidingsError,
)
from tidings.protocol.envelope import MAX_DATA_BYTES
from tidings.protocol.messages import Cancel
from tidings.protocol.payloads import ErrorData, Payload, encode_payload

PayloadLike = Struct | Mapping[str, Any] | Raw | bytes | None
"""What can be published: a payload struct, a mapping, JSON that is encoded already, or nothing."""


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


class Draft(Struct, frozen=True, kw_only=True):
    """An event to be published."""

    type: str
    data: Raw
    timestamp: str
    event_id: str
    trace_id: str | None = None
    channel: str | None = None


def encode_data(payload: PayloadLike) -> Raw:
    """Return `payload` as the JSON that goes on the wire.

    Raises:
        InvalidPayload: It holds something that JSON cannot.
        PayloadTooLarge: It is over 65,535 bytes.
    """
    try:
        if isinstance(payload, Payload):
            data = encode_payload(payload)
        elif isinstance(payload, bytes | Raw):
            data = msgspec.json.encode(msgspec.json.decode(payload, type=Raw))
        else:
            data = msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as cause:
        raise InvalidPayload(
            f"$.data: {cause}", hint="Publish a payload struct, or a mapping of JSON values."
        ) from cause
    if len(data) > MAX_DATA_BYTES:
        raise PayloadTooLarge(
            f"$.data is {len(data)} bytes; {MAX_DATA_BYTES} are allowed", size=len(data), limit=MAX_DATA_BYTES
        )
    return Raw(data)


class PendingPublications:
    """The events that the hub has not answered yet, in the order they were published.

    Args:
        new_id: Returns a new label for a command.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._bodies: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._bodies)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __contains__(self, id: str) -> bool:
        return id in self._bodies

    def add(self, draft: Draft) -> str:
        """Keep `draft` until it is settled; return the id that its answer will name."""
        id = self._new_id()
        self._bodies[id] = encode_command(
            Command(
                type=draft.type,
                timestamp=draft.timestamp,
                trace_id=draft.trace_id,
                data=draft.data,
                channel=draft.channel,
                id=id,
                event_id=draft.event_id,
            )
        )
        return id

    def body(self, id: str) -> bytes | None:
        """Return the message of a publication; None where it was settled or given up."""
        return self._bodies.get(id)

    def settle(self, id: str) -> bool:
        """Forget a publication, because the hub answered or nobody waits any more; return whether it was there."""
        return self._bodies.pop(id, None) is not None


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
