"""Export to JSON Schema 2020-12: one schema for the message of each event, and a bundle of all."""

from typing import Any

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.contract.export.document import build_payload_schemas, format_json, summarize_event
from tidings.contract.json_schema import REFERENCE_PREFIX
from tidings.protocol.envelope import MAX_DATA_BYTES, MAX_ID_CHARS, MAX_TRACE_ID_CHARS
from tidings.protocol.message_types import LEGACY_TYPES, ChannelType
from tidings.protocol.revisions import REVISION

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_EVENT_ID = {"type": "string", "minLength": 16, "maxLength": 64, "pattern": "^[!-~]*$"}


def build_event_schemas(contract: Contract) -> dict[str, dict[str, Any]]:
    """Return a self-contained schema of each event's message, by type; old names have theirs."""
    payloads, definitions = build_payload_schemas(contract)
    schemas = {}
    for event in contract.events.values():
        type = str(event.type)
        schemas[type] = _self_contained(event, type, payloads[type], definitions)
    for old, new in LEGACY_TYPES.items():
        if str(new) in payloads:
            renamed = _self_contained(contract.events[str(new)], old, payloads[str(new)], definitions)
            schemas[old] = {**renamed, "deprecated": True}
    return schemas


def build_bundle(contract: Contract) -> dict[str, Any]:
    """Return one schema of any event's message."""
    payloads, definitions = build_payload_schemas(contract)
    messages = {}
    for event in contract.events.values():
        type = str(event.type)
        messages[type] = build_message_schema(event, type, payloads[type])
    for old, new in LEGACY_TYPES.items():
        if str(new) in payloads:
            messages[old] = {
                **build_message_schema(contract.events[str(new)], old, payloads[str(new)]),
                "deprecated": True,
            }
    return {
        "$schema": DIALECT,
        "$id": f"urn:tidings:contract:{REVISION}:{contract.identity.hash.removeprefix('sha256:')}",
        "title": "A tidings event",
        "oneOf": [{"$ref": f"{REFERENCE_PREFIX}{type}"} for type in messages],
        "$defs": {**messages, **definitions},
    }


def build_message_schema(event: EventType, type: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an event's message, with and without the members of `tidings.v1`.

    Args:
        event: The event.
        type: The type in its messages, which may be an old name.
        payload: The schema of its payload.
    """
    properties: dict[str, Any] = {
        "type": {"const": type},
        "timestamp": {"type": "string", "format": "date-time"},
        "trace_id": {"type": "string", "maxLength": MAX_TRACE_ID_CHARS},
        "data": payload if _needs_data(event) else {"anyOf": [payload, {"type": "null"}]},
    }
    if event.channel is not None:
        properties["channel"] = {"enum": sorted({str(event.channel), str(ChannelType.GLOBAL)})}
        properties["position"] = {"type": "string", "maxLength": 64, "pattern": "^[a-z0-9:._-]+$"}
        properties["event_id"] = _EVENT_ID
    properties["id"] = {"type": "string", "maxLength": MAX_ID_CHARS}
    properties["reply_to"] = {"type": "string", "maxLength": MAX_ID_CHARS}
    return {
        "title": type,
        "description": summarize_event(event),
        "type": "object",
        "properties": properties,
        "required": ["type", "data"] if _needs_data(event) else ["type"],
        "$comment": f"data is at most {MAX_DATA_BYTES:,} bytes",
    }


def _needs_data(event: EventType) -> bool:
    return any(field.required for field in msgspec.structs.fields(event.payload))


def _self_contained(
    event: EventType, type: str, payload: dict[str, Any], definitions: dict[str, Any]
) -> dict[str, Any]:
    schema = build_message_schema(event, type, payload)
    used = find_references(payload, definitions)
    return {
        "$schema": DIALECT,
        "$id": f"urn:tidings:{REVISION}:{type}",
        **schema,
        "$defs": {name: definitions[name] for name in sorted(used)},
    }


def find_references(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """Return the names of the definitions that a schema refers to, directly or through others."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).removeprefix(REFERENCE_PREFIX)
            if name in definitions and name not in found:
                found.add(name)
                waiting.append(definitions[name])
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return found


def export_json_schema(contract: Contract) -> str:
    """Return the bundle as text."""
    return format_json(build_bundle(contract))


def export_files(contract: Contract) -> dict[str, str]:
    """Return the text of one file for each event, by the file's name."""
    return {
        f"{type.replace(':', '.')}.schema.json": format_json(schema)
        for type, schema in build_event_schemas(contract).items()
    }
