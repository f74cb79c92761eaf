"""The contract as one JSON document, which `tidings.contract.loading` can read."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.contract.export.descriptions import describe_fields
from tidings.contract.json_schema import REFERENCE_PREFIX
from tidings.contract.loading import FORMAT
from tidings.protocol.revisions import REVISION

Schemas = tuple[dict[str, Any], dict[str, Any]]
"""The schemas of payloads by message type, and the definitions that they refer to."""


def build_payload_schemas(
    contract: Contract, *, prefix: str = REFERENCE_PREFIX, others: Mapping[str, type[msgspec.Struct]] | None = None
) -> Schemas:
    """Return the JSON Schema of each event's payload, and the definitions that they share.

    Args:
        contract: The contract.
        prefix: Start of the references to definitions.
        others: The data of further messages, by their types.
    """
    payloads = {**{str(event.type): event.payload for event in contract.events.values()}, **(others or {})}
    schemas, definitions = msgspec.json.schema_components(payloads.values(), ref_template=prefix + "{name}")
    describe_fields(definitions, payloads.values())
    return dict(zip(payloads, schemas, strict=True)), dict(sorted(definitions.items()))


def summarize_event(event: EventType) -> str:
    """Return the first paragraph of the docstring of an event's payload, on one line."""
    return summarize_struct(event.payload)


def summarize_struct(payload: type[msgspec.Struct]) -> str:
    """Return the first paragraph of a struct's docstring, on one line."""
    text = payload.__doc__ or ""
    # msgspec sets the signature as the docstring of a struct that has none.
    paragraph = "" if text.startswith(f"{payload.__name__}(") else text.strip().split("\n\n")[0]
    return " ".join(paragraph.split())


def build_contract_document(contract: Contract) -> dict[str, Any]:
    """Return the whole contract as a document of plain values."""
    schemas, definitions = build_payload_schemas(contract)
    return {
        "tidings": FORMAT,
        "version": REVISION,
        "hash": contract.identity.hash,
        "channels": list(contract.channels),
        "events": [_event(event, schemas[str(event.type)]) for event in contract.events.values()],
        "$defs": definitions,
    }


def _event(event: EventType, schema: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "type": str(event.type),
        "channel": None if event.channel is None else str(event.channel),
        "key": event.key,
        "class": str(event.event_class),
        "publishable": event.publishable,
    }
    if event.ends_key:
        row["ends_key"] = True
    if event.keep_newest is not None:
        row["keep_newest"] = event.keep_newest
    if event.deprecated:
        row["deprecated"] = event.deprecated
    row["name"] = event.payload.__name__
    row["description"] = summarize_event(event)
    row["payload"] = schema
    return row


def export_json(contract: Contract) -> str:
    """Return the contract's document as text."""
    return format_json(build_contract_document(contract))


def format_json(document: Any) -> str:
    """Return plain values as indented JSON with a final line break; members keep their order."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
