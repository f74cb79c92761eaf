"""Export to AsyncAPI 3.0: the hub as an application that sends and receives messages over one WebSocket."""

from typing import Any

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.contract.export.document import build_payload_schemas, format_json
from tidings.contract.export.examples import build_example
from tidings.contract.export.json_schema import build_message_schema
from tidings.contract.export.model import build_model
from tidings.exceptions import InvalidPayload
from tidings.protocol import messages
from tidings.protocol.envelope import MAX_ID_CHARS
from tidings.protocol.messages import REPLIES_AND_PUSHES
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
    commands = {command.name: command.data for command in messages.COMMANDS.values()}
    payloads, definitions = build_payload_schemas(
        contract, prefix=_SCHEMAS_PREFIX, others={**commands, **REPLIES_AND_PUSHES}
    )
    messages_by_id = {_id(event.type): _event(event, payloads[str(event.type)]) for event in contract.events.values()}
    for type, example in _examples(contract).items():
        messages_by_id[_id(type)]["examples"] = [{"payload": example}]
    others = {_id(name): _message(name, payloads[name]) for name in (*commands, *REPLIES_AND_PUSHES)}
    messages_by_id.update(others)
    publishable = [_id(event.type) for event in contract.events.values() if event.publishable]
    delivered = [_id(event.type) for event in contract.events.values()]
    command_ids = [_id(name) for name in messages.COMMANDS]
    reply_ids = [name for name in others if name not in command_ids]
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
            "command": _operation("receive", "A client of `tidings.v1` sends a command.", command_ids),
            "answer": _operation("send", "The hub replies to a command, or pushes a notice.", reply_ids),
        },
        "components": {"messages": messages_by_id, "schemas": _undiscriminated(dict(sorted(definitions.items())))},
    }


def _event(event: EventType, payload: dict[str, Any]) -> dict[str, Any]:
    schema = build_message_schema(event, str(event.type), payload)
    message: dict[str, Any] = {
        "name": str(event.type),
        "title": str(event.type),
        "summary": schema["description"] or str(event.type),
        "contentType": "application/json",
        "payload": schema,
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


def _examples(contract: Contract) -> dict[str, Any]:
    """Return an example of each event by type, except for types without a valid one."""
    model = build_model(contract)
    found = {}
    for message in model.events:
        example = build_example(contract, model, message)
        try:
            contract.decode(message.type, msgspec.json.encode(example["data"]))
        except InvalidPayload:
            continue
        found[message.type] = example
    return found


def _message(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the message of a command, a reply or a push."""
    return {"name": name, "title": name, "contentType": "application/json", "payload": _command(name, data)}


def _command(name: str, data: dict[str, Any]) -> dict[str, Any]:
    label = {"type": "string", "maxLength": MAX_ID_CHARS}
    properties = {"type": {"const": name}, "data": data, "id": label, "reply_to": label}
    return {"type": "object", "properties": properties, "required": ["type"]}


def _query(contract: Contract) -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "channel": {**text, "description": f"A path of {', '.join(contract.channels)}; may be repeated."},
            "channels": {**text, "description": "Paths, separated by commas; `none` subscribes to nothing."},
            "since": {**text, "description": "`snapshot`, `now`, `first` or a position."},
            "pace_ms": {
                "type": "integer",
                "minimum": 0,
                "description": "Minimum time between two deliveries, in milliseconds.",
            },
            "contract": {"enum": list(REVISIONS)},
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
