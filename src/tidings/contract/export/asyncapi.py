"""Export to AsyncAPI 3.0: the hub as an application that sends and receives messages over one WebSocket."""

from typing import Any

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.contract.export.constants import ERROR_CODES
from tidings.contract.export.document import build_payload_schemas, format_json, summarize_event, summarize_struct
from tidings.contract.export.examples import build_example
from tidings.contract.export.json_schema import build_message_schema
from tidings.contract.export.model import (
    Model,
    Namer,
    build_model,
    join_names,
    to_class_name,
    to_pascal_case,
)
from tidings.contract.export.typed_schema import type_schema
from tidings.exceptions import InvalidPayload
from tidings.protocol.codes import CLOSE_CODES
from tidings.protocol.envelope import MAX_ID_CHARS, MAX_TRACE_ID_CHARS
from tidings.protocol.messages import COMMANDS, DIRECT_EVENTS, HUB_MESSAGES, MessageSpec, Nothing
from tidings.protocol.revisions import REVISION, REVISIONS

_SCHEMAS_PREFIX = "#/components/schemas/"


def build_asyncapi_document(
    contract: Contract, *, host: str = "127.0.0.1:8765", path: str = "/ws", protocol: str = "ws"
) -> dict[str, Any]:
    """Return the contract as an AsyncAPI document.

    Args:
        contract: The contract.
        host: Host and port of the hub.
        path: Path of its WebSocket.
        protocol: `ws`, or `wss` for a hub behind TLS.
    """
    model = build_model(contract)
    schemas = _Schemas(contract)
    messages_by_id = {_id(event.type): _event(event, schemas) for event in contract.events.values()}
    for type, example in _examples(contract, model).items():
        messages_by_id[_id(type)]["examples"] = [{"payload": example}]
    command_ids = {spec.name: _id(spec.name) for spec in COMMANDS.values()}
    # A push that shares its type with a command needs a key of its own.
    hub_ids = {
        spec.name: f"{_id(spec.name)}.push" if spec.name in COMMANDS else _id(spec.name)
        for spec in HUB_MESSAGES.values()
        if spec not in DIRECT_EVENTS
    }
    messages_by_id |= {id: _message(COMMANDS[name], schemas) for name, id in command_ids.items()}
    messages_by_id |= {id: _message(HUB_MESSAGES[name], schemas) for name, id in hub_ids.items()}
    for message in (*model.commands, *model.hub_messages):
        ids = command_ids if message in model.commands else hub_ids
        messages_by_id[ids[message.type]]["examples"] = [{"payload": build_example(contract, model, message)}]
    publishable = [_id(event.type) for event in contract.events.values() if event.publishable]
    delivered = [_id(event.type) for event in contract.events.values()]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tidings",
            "version": REVISION,
            "description": f"Typed events about long-running work. The contract is {contract.identity.hash}.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "hub": {"host": host, "protocol": protocol, "description": "A tidings hub."},
        },
        "channels": {
            "events": {
                "address": path,
                "title": "Everything",
                "description": "One WebSocket; the channels of the contract are chosen by its query or by commands.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages_by_id},
                "bindings": {"ws": {"query": _query(contract), "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "publish": _operation("receive", "A client publishes an event.", publishable),
            "deliver": _operation("send", "The hub delivers an event to the subscribers of its path.", delivered),
            "command": _operation("receive", "A client of `tidings.v1` sends a command.", [*command_ids.values()]),
            "answer": _operation("send", "The hub replies to a command, or pushes a notice.", [*hub_ids.values()]),
        },
        "components": {"messages": messages_by_id, "schemas": dict(sorted(schemas.components.items()))},
        "x-tidings-error-codes": [each.value for each in ERROR_CODES],
        "x-tidings-close-codes": [
            {"code": row.code, "name": row.name, "reconnect": row.reconnect} for row in CLOSE_CODES.values()
        ],
    }


class _Schemas:
    """The named schemas of a document; generators make one model of each."""

    def __init__(self, contract: Contract) -> None:
        specs = [*COMMANDS.values(), *(each for each in HUB_MESSAGES.values() if each not in DIRECT_EVENTS)]
        others = {f"{spec.direction} {spec.name}": spec.data for spec in specs}
        self._payloads, definitions = build_payload_schemas(contract, prefix=_SCHEMAS_PREFIX, others=others)
        self.components: dict[str, Any] = {
            name: type_schema(_undiscriminated(schema))
            for name, schema in definitions.items()
            if name != Nothing.__name__
        }
        self._taken = frozenset(map(to_class_name, self.components))
        for name, schema in self.components.items():
            self.components[name] = self._titled(schema, to_class_name(name))
        self._namer = Namer(self.components)

    def event(self, event: EventType) -> dict[str, Any]:
        """Add the schema of an event's message, and return a reference to it."""
        schema = build_message_schema(event, str(event.type), self._payloads[str(event.type)])
        return self._add(f"{to_pascal_case(event.type)}Event", schema)

    def message(self, spec: MessageSpec) -> dict[str, Any]:
        """Add the schema of a command, a reply or a push, and return a reference to it."""
        suffix = "Command" if spec.kind == "command" else "Message"
        data = self._payloads[f"{spec.direction} {spec.name}"] if spec.data is not Nothing else {"type": "null"}
        label = {"type": "string", "maxLength": MAX_ID_CHARS}
        properties: dict[str, Any] = {"type": {"enum": [spec.name]}, "data": data, "id": label, "reply_to": label}
        required = ["type"] if spec.data is Nothing else ["type", "data"]
        if spec.direction == "to_client":
            properties["timestamp"] = {"type": "string", "format": "date-time"}
            properties["trace_id"] = {"type": "string", "maxLength": MAX_TRACE_ID_CHARS}
            properties["position"] = {"type": "string", "maxLength": 64}
            required += ["timestamp", "trace_id"]
        if spec.answered_by:
            required.append("id")
        elif spec.kind == "reply" and spec.direction == "to_hub":
            required.append("reply_to")
        schema = {"type": "object", "properties": properties, "required": required}
        return self._add(f"{to_pascal_case(spec.name)}{suffix}", schema)

    def _add(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        unique = self._namer.take(name)
        self.components[unique] = self._titled(type_schema(schema), unique)
        return {"$ref": f"{_SCHEMAS_PREFIX}{unique}"}

    def _titled(self, schema: Any, name: str) -> Any:
        """Return a schema with titles, also of its inner enums and objects: generators take names from them."""
        if not isinstance(schema, dict) or "$ref" in schema:
            return schema
        titled = {
            **schema,
            **{key: [self._titled(each, name) for each in schema[key]] for key in ("anyOf", "oneOf") if key in schema},
        }
        if "properties" in schema:
            titled["properties"] = {
                field: self._titled(part, self._inner_name(name, field)) for field, part in schema["properties"].items()
            }
        if isinstance(schema.get("items"), dict):
            titled["items"] = self._titled(schema["items"], f"{name}Item")
        is_named = "enum" in schema or "anyOf" in schema or "oneOf" in schema or schema.get("type") == "object"
        return {"title": name, **titled} if is_named else titled

    def _inner_name(self, owner: str, field: str) -> str:
        joined = join_names(owner, field)
        return f"{joined}Value" if joined in self._taken else joined


def _event(event: EventType, schemas: _Schemas) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": str(event.type),
        "title": str(event.type),
        "summary": summarize_event(event) or str(event.type),
        "contentType": "application/json",
        "payload": schemas.event(event),
        # The channel and the class of a direct event have the same name, and tags must be unique.
        "tags": [{"name": name} for name in dict.fromkeys((str(event.channel or "direct"), str(event.event_class)))],
        "x-tidings-key": event.key,
    }
    if event.deprecated:
        message["summary"] += f" Deprecated: {event.deprecated}"
    return message


def _undiscriminated(schema: Any) -> Any:
    """Return a schema without OpenAPI's discriminators: AsyncAPI gives the keyword another meaning."""
    if isinstance(schema, dict):
        return {
            name: _undiscriminated(part)
            for name, part in schema.items()
            if not (name == "discriminator" and isinstance(part, dict) and "propertyName" in part and "anyOf" in schema)
        }
    return [_undiscriminated(part) for part in schema] if isinstance(schema, list) else schema


def _examples(contract: Contract, model: Model) -> dict[str, Any]:
    """Return an example of each event by type, except for types without a valid one."""
    found = {}
    for message in model.events:
        example = build_example(contract, model, message)
        try:
            contract.decode(message.type, msgspec.json.encode(example["data"]))
        except InvalidPayload:
            continue
        found[message.type] = example
    return found


def _message(spec: MessageSpec, schemas: _Schemas) -> dict[str, Any]:
    """Return the message of a command, a reply or a push."""
    return {
        "name": spec.name,
        "title": spec.name,
        "summary": summarize_struct(spec.data),
        "contentType": "application/json",
        "payload": schemas.message(spec),
    }


def _query(contract: Contract) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "channel": {**text, "description": f"A path of {', '.join(contract.channels)}; may be repeated."},
            "channels": {**text, "description": "Paths, separated by commas; `none` subscribes to nothing."},
            "since": {**text, "description": "`snapshot`, `now`, `first`, an RFC 3339 time or a position."},
            "pace_ms": {
                "type": "integer",
                "minimum": 0,
                "description": "Minimum time between two deliveries, in milliseconds.",
            },
            "contract": {"type": "string", "enum": list(REVISIONS)},
        },
    }


def _operation(action: str, summary: str, messages: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/events"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/events/messages/{name}"} for name in messages],
    }


def _id(name: str) -> str:
    """Return the key of a message: AsyncAPI forbids colons in keys."""
    return str(name).replace(":", ".")


def export_asyncapi(contract: Contract) -> str:
    """Return the document as text."""
    return format_json(build_asyncapi_document(contract))
