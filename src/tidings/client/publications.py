"""Events on their way to the log: kept until the hub has answered, and sent again after a reconnect (CONTRACT §6)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import InvalidPayload, PayloadTooLarge
from tidings.protocol.envelope import MAX_DATA_BYTES
from tidings.protocol.payloads import Payload, encode_payload

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


class Publications:
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
