"""Drafts for the tests of the outbox and the spool."""

import msgspec
from msgspec import Raw

from tidings.client.drafts import Draft, make_draft


def draft(number: int, type: str = "operation:start", operation_id: str = "op-1", **more: object) -> Draft:
    """Return an event whose id is made of `number`."""
    data = Raw(msgspec.json.encode({"operation_id": operation_id, **more}))
    return make_draft(type, data, event_id=event_id(number))


def event_id(number: int) -> str:
    return f"event-{number:012}"
