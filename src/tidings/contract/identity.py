"""Which contract it is: the revision's date, and a hash of everything a client can see (CONTRACT §3)."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from tidings.contract.catalogue import EventType
from tidings.contract.payloads import ContractIdentity
from tidings.contract.revisions import REVISION


def identity_of(events: Iterable[EventType], revision: str = REVISION) -> ContractIdentity:
    """Return the identity of the contract of `events`, in whatever order they come, as `revision` tells it."""
    rows = sorted(events, key=lambda event: event.type)
    schemas, components = msgspec.json.schema_components([event.payload for event in rows])
    facts = [
        (event.type, event.channel, event.key, event.event_class, event.publishable, event.ends_key) for event in rows
    ]
    text = msgspec.json.encode([facts, _undescribed([schemas, components])], order="deterministic")
    if revision != REVISION:
        text += revision.encode()
    return ContractIdentity(version=revision, hash="sha256:" + hashlib.sha256(text).hexdigest()[:32])


def _undescribed(schema: Any) -> Any:
    """Return a JSON schema without its descriptions, which are prose: to mend one changes no contract."""
    if isinstance(schema, dict):
        return {
            name: _undescribed(part)
            for name, part in schema.items()
            if not (name in ("description", "title") and isinstance(part, str))
        }
    if isinstance(schema, list | tuple):
        return [_undescribed(part) for part in schema]
    return schema
