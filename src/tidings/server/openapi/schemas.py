"""Schemas and building blocks of the OpenAPI document, made from the contract's payloads (JSON Schema 2020-12)."""

from typing import Any, Final

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.protocol.message_types import LEGACY_TYPES, ChannelType
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.protocol.payloads import ErrorData, SystemAlertData
from tidings.server.http.query import DEFAULT_LIMIT, MAX_LIMIT

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{name}"
PRINTABLE: Final = "^[\\x20-\\x7e]*$"
EVENT_ID: Final = "^[!-~]+$"
_NO_CONTROLS: Final = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
POSITION: Final = "^[a-z0-9]{1,32}:(0|[1-9][0-9]{0,18})$"


def schemas(contract: Contract) -> Schema:
    """Return the named schemas of the document."""
    payloads = [event.payload for event in contract.events.values()]
    _, components = msgspec.json.schema_components([*payloads, ErrorData], ref_template=REFERENCE)
    publications = {_schema_name(event): _publication(event) for event in contract.events.values() if event.publishable}
    position = {"type": "string", "pattern": POSITION, "description": "Opaque."}
    attempt = {"type": "integer", "minimum": 1, "description": "The attempt that an `operation:start` began."}
    accepted = object_schema({"position": position, "attempt": attempt, "duplicate": {"const": True}}, "position")
    events = {"type": "array", "items": ref("Envelope")}
    gap = object_schema(
        {"after": position, "until": position, "reason": {"enum": ["trimmed", "epoch", "future"]}}, "reason"
    )
    return {
        **components,
        **publications,
        "Publication": {"anyOf": [ref(name) for name in publications]},
        "Accepted": accepted,
        "Results": object_schema(
            {"results": {"type": "array", "items": {"anyOf": [ref("Accepted"), ref("Refused")]}}}, "results"
        ),
        "Refused": object_schema({"error": ref("ErrorData")}, "error"),
        "Envelope": _envelope(contract, position),
        "Gap": {**gap, "description": "Durable events between these positions may be missing."},
        "History": object_schema(
            {"events": events, "next": position, "position": position, "gap": ref("Gap")}, "events", "next", "position"
        ),
        "Snapshot": object_schema({"events": events, "position": position}, "events", "position"),
    }


def _envelope(contract: Contract, position: Schema) -> Schema:
    return object_schema(
        {
            "type": {"enum": sorted(contract.events)},
            "timestamp": {"type": "string", "format": "date-time"},
            "trace_id": {**text_schema(1, 128), "pattern": PRINTABLE},
            "data": {},
            "channel": {"enum": list(contract.channels)},
            "position": position,
            "event_id": {**text_schema(16, 64), "pattern": EVENT_ID},
        },
        "type",
        "timestamp",
        "trace_id",
        "data",
        "channel",
        "position",
    )


def _publication(event: EventType) -> Schema:
    """Return the schema of an envelope that publishes `event`."""
    names = [str(event.type), *(old for old, now in LEGACY_TYPES.items() if now == event.type)]
    channels = ["", str(event.channel), ChannelType.GLOBAL]
    required = [field.encode_name for field in msgspec.structs.fields(event.payload) if field.required]
    data = _data(event, required)
    return object_schema(
        {
            "type": {"enum": names},
            "timestamp": _or_null({"type": "string", "format": "date-time"}, {"const": ""}),
            "trace_id": _or_null({**text_schema(0, 128), "pattern": PRINTABLE}),
            "data": data if required else _or_null(data),
            "channel": {"enum": [*dict.fromkeys(channels), None]},
            "event_id": _or_null({**text_schema(16, 64), "pattern": EVENT_ID}),
            **{name: {"type": ["string", "null"]} for name in ("id", "reply_to", "position")},
        },
        "type",
        *(["data"] if required else []),
    )


def _data(event: EventType, required: list[str]) -> Schema:
    """Return the schema of an event's data: its payload, with a valid key."""
    payload = ref(event.payload.__name__)
    if event.key is None:
        return payload
    key = key_schema() if event.key in required else {"anyOf": [{**key_schema(), "minLength": 0}, {"type": "null"}]}
    own = {"type": "object", "properties": {event.key: key}}
    return {"allOf": [payload, own, *([_alert_key()] if event.payload is SystemAlertData else [])]}


def _alert_key() -> Schema:
    part = {**text_schema(0, 31), "pattern": _NO_CONTROLS}
    of_facts = {"alert_id": {"enum": ["", None]}, "code": part, "operation_id": _or_null(part)}
    own = {"properties": {"alert_id": {"type": "string", "minLength": 1}}, "required": ["alert_id"]}
    return {
        "description": "Without an alert_id, its key is `code:operation_id`.",
        "anyOf": [own, {"properties": of_facts}],
    }


def _schema_name(event: EventType) -> str:
    return "Publish" + "".join(part.capitalize() for part in str(event.type).replace("_", ":").split(":"))


def key_schema() -> Schema:
    """Return the schema of a key."""
    return {**text_schema(1, MAX_KEY_BYTES), "pattern": _NO_CONTROLS, "description": f"{MAX_KEY_BYTES} bytes of UTF-8."}


def text_schema(min_length: int, max_length: int) -> Schema:
    """Return the schema of a string with a length in characters."""
    return {"type": "string", "minLength": min_length, "maxLength": max_length}


def _or_null(*schemas: Schema) -> Schema:
    return {"anyOf": [*schemas, {"type": "null"}]}


def object_schema(properties: Schema, *required: str) -> Schema:
    """Return the schema of an object, which may have additional members."""
    return {"type": "object", "properties": properties, "required": list(required)}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": REFERENCE.format(name=name)}


ORIGIN_REFUSED: Final = "The origin of the web page, or the host name, is not allowed."
_ABOUT: Final = {403: ORIGIN_REFUSED, 503: "Temporarily unavailable.", 507: "The log is full."}


def responses(description: str, schema: Schema, *statuses: int) -> Schema:
    """Return the answers of a route: 200 with JSON that fits `schema`, and errors."""
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {"200": answer, **errors(403, *statuses)}


def errors(*statuses: int) -> Schema:
    """Return the error answers."""
    content = {"application/json": {"schema": ref("ErrorData")}}
    found: Schema = {}
    for status in sorted(statuses):
        answer: Schema = {"description": _ABOUT.get(status, "Refused; the body has the reason."), "content": content}
        if status in (503, 507):
            answer["headers"] = {"Retry-After": response_header("Seconds to wait.")}
        found[str(status)] = answer
    return found


def parameter(name: str, schema: Schema, description: str) -> Schema:
    """Return a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def limit_parameter() -> Schema:
    """Return the parameter `limit`."""
    return parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "Maximum number of results.",
    )


def response_header(description: str) -> Schema:
    """Return a response header."""
    return {"description": description, "schema": {"type": "string"}}


def request_header(name: str, schema: Schema, description: str) -> Schema:
    """Return a request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema}
