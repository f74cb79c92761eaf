"""Reduction of an end that the hub refuses for its payload, so that the operation ends as its job did."""

import hashlib
from typing import Any

import msgspec
from msgspec import Raw

from tidings.client.drafts import Draft
from tidings.exceptions import InvalidJSON, InvalidPayload, InvalidUTF8, PayloadTooLarge, TooDeep
from tidings.producer.sanitize import text
from tidings.protocol.message_types import MessageType

_PAYLOAD_FAULTS = frozenset(kind.code for kind in (InvalidJSON, InvalidPayload, InvalidUTF8, PayloadTooLarge, TooDeep))
_KEPT: dict[str, tuple[str, ...]] = {
    MessageType.OPERATION_COMPLETE: ("operation_id", "attempt"),
    MessageType.OPERATION_FAILED: ("operation_id", "attempt", "code", "message", "recoverable"),
    MessageType.OPERATION_CANCELLED: ("operation_id", "attempt"),
}
"""By the type of an end, the members of its data that remain."""


def reduce_end(draft: Draft, code: str) -> Draft | None:
    """Return an end with the same outcome and without the members that a hub may refuse.

    Args:
        draft: The end that was refused.
        code: The error code of the refusal.

    Returns:
        None if it is not an end, if the refusal has another cause, or if no member can be left out.
    """
    kept = _KEPT.get(draft.type)
    if kept is None or code not in _PAYLOAD_FAULTS:
        return None
    try:
        data: dict[str, Any] = msgspec.json.decode(draft.data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    reduced = {name: data[name] for name in kept if name in data}
    if "message" in reduced:
        reduced["message"] = text(reduced["message"])
    if "result" in data:
        reduced["result"] = {"omitted": f"refused: {code}"}
    encoded = msgspec.json.encode(reduced)
    if encoded == b"" + draft.data:
        return None
    # Derived from the event, so that it is stored once, however often and by whichever process it is sent.
    event_id = hashlib.sha256(f"reduced {draft.event_id}".encode()).hexdigest()[:32]
    return msgspec.structs.replace(draft, data=Raw(encoded), event_id=event_id)
