"""The named schemas of the OpenAPI document: what clients publish, what they read, and the answers of the routes.

Client generators read these, so every value has a type, a number its format, an array its items and an object its name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.contract.event_types import FILLED_IN, EventType
from tidings.contract.export.descriptions import describe_fields
from tidings.contract.export.document import summarize_event
from tidings.contract.export.model import Namer, to_class_name, to_pascal_case
from tidings.contract.export.typed_schema import type_schema
from tidings.operations.views import NamesPage, OperationDetail, OperationLogPage, OperationPage
from tidings.protocol.message_types import LEGACY_TYPES, ChannelType
from tidings.protocol.messages import Accepted, Cancel, CancelOutcome, Gap
from tidings.protocol.payloads import ContractIdentity, ErrorData
from tidings.server.http.admin import RevocationPage, SessionPage
from tidings.server.http.body import MAX_BATCH_EVENTS
from tidings.server.http.system import SystemView
from tidings.server.http.tickets import TicketView
from tidings.server.http.whoami import WhoamiView
from tidings.server.openapi.schemas import (
    ABOUT_KEY,
    EVENT_ID,
    POSITION,
    PRINTABLE,
    REFERENCE,
    TIME,
    Schema,
    key_schema,
    object_schema,
    or_null,
    ref,
    text_schema,
)

_HUB_STRUCTS: Final = (
    OperationPage,
    OperationDetail,
    OperationLogPage,
    NamesPage,
    CancelOutcome,
    Accepted,
    ErrorData,
    Gap,
    ContractIdentity,
    RevocationPage,
    SessionPage,
    TicketView,
    WhoamiView,
    SystemView,
)
_OF_EVENTS: Final = ("Publication", "Batch", "Event", "UndeclaredEvent", "PublishRequest", "PublishResult")
_OWN = "#/payloads/"
"""Start of references to payloads before they have their final names."""


def build_components(contract: Contract) -> Schema:
    """Return the named schemas of a hub with this contract; those of the hub keep their names in every contract."""
    components = {**_schemas_of(_HUB_STRUCTS, REFERENCE), **_answers()}
    events = [event for event in contract.events.values() if event.channel is not None]
    payloads = _Payloads(events, taken=(*components, *_OF_EVENTS))
    components.update(payloads.schemas())
    for event in events:
        read, written = payloads.read[event.type], payloads.written[event.type]
        components[payloads.events[event.type]] = _event(event, ref(read))
        if event.publishable:
            components[payloads.publications[event.type]] = _publication(event, ref(written))
        if written != read:
            components[written] = components[read]
            required = [*components[read].get("required", ()), *sorted(FILLED_IN[event.payload])]
            properties = {**components[read]["properties"]}
            for name in FILLED_IN[event.payload]:
                about = {"description": properties[name]["description"]} if "description" in properties[name] else {}
                properties[name] = {**properties[name]["anyOf"][0], **about}
            components[read] = {**components[read], "properties": properties, "required": required}
    publishable = [event for event in events if event.publishable]
    components["Publication"] = {
        "description": "An event to publish; `type` determines the type of `data`.",
        **_choice({name: payloads.publications[event.type] for event in publishable for name in _names_of(event)}),
    }
    components["Batch"] = {
        "description": "Events that are accepted or refused one by one.",
        "type": "array",
        "items": ref("Publication"),
        "maxItems": MAX_BATCH_EVENTS,
    }
    # Named, because a generator gives a nameless union a type that cannot be encoded.
    components["PublishRequest"] = {"anyOf": [ref("Publication"), ref("Batch")]}
    components["PublishResult"] = {"anyOf": [ref("Accepted"), ref("Results")]}
    components["Event"] = {
        "description": "An event of the log; `type` determines the type of `data`. A log that was written with another "
        "contract may hold further types.",
        **_choice({str(event.type): payloads.events[event.type] for event in events}),
    }
    if contract.lenient:
        del components["Event"]["discriminator"]
        components["Event"]["oneOf"].append(ref("UndeclaredEvent"))
        components["UndeclaredEvent"] = _undeclared(contract)
    return dict(sorted(components.items()))


def _schemas_of(structs: Iterable[type[Struct]], template: str) -> Schema:
    _, found = msgspec.json.schema_components(structs, ref_template=template)
    describe_fields(found, structs)
    typed: Schema = type_schema(found)
    return typed


class _Payloads:
    """The payloads of a contract's events, and the names of all schemas made from its events.

    Args:
        events: The events.
        taken: Names of other schemas.
    """

    def __init__(self, events: list[EventType], taken: Iterable[str]) -> None:
        structs = [event.payload for event in events]
        references, self._schemas = msgspec.json.schema_components(structs, ref_template=_OWN + "{name}")
        describe_fields(self._schemas, structs)
        raw = [str(reference["$ref"]).removeprefix(_OWN) for reference in references]
        for event, name in zip(events, raw, strict=True):
            _limit_key(self._schemas[name], event)
        namer = Namer(taken)
        self.events = {event.type: namer.take(f"{to_pascal_case(event.type)}Event") for event in events}
        self.publications = {event.type: namer.take(f"Publish{to_pascal_case(event.type)}") for event in events}
        self._names = {name: namer.take(to_class_name(name)) for name in self._schemas}
        self.read = {event.type: self._names[name] for event, name in zip(events, raw, strict=True)}
        """Name of the payload that is read, by the type of the event."""
        self.written = {
            event.type: namer.take(f"{self.read[event.type].removesuffix('Data')}Input")
            if event.payload in FILLED_IN
            else self.read[event.type]
            for event in events
        }
        """Name of the payload that is published, by the type of the event."""

    def schemas(self) -> Schema:
        """Return the schemas of the payloads as they are published, under the names of those that are read."""
        typed: Schema = type_schema({self._names[name]: schema for name, schema in self._schemas.items()})
        for schema in typed.values():
            _allow_null(schema)
        resolved: Schema = self._resolve(typed)
        return resolved

    def _resolve(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._resolve(part) for part in schema]
        if isinstance(schema, str) and schema.startswith(_OWN):
            return REFERENCE.format(name=self._names[schema.removeprefix(_OWN)])
        return {name: self._resolve(part) for name, part in schema.items()} if isinstance(schema, dict) else schema


def _allow_null(schema: Schema) -> None:
    """Let every optional field be null, which means absent."""
    for name, of_field in schema.get("properties", {}).items():
        if name not in schema.get("required", ()) and {"type": "null"} not in of_field.get("anyOf", ()) and of_field:
            about = {"description": of_field["description"]} if "description" in of_field else {}
            options = of_field.get("anyOf", [{**of_field}])
            for option in options:
                option.pop("description", None)
            schema["properties"][name] = {"anyOf": [*options, {"type": "null"}], **about}


def _limit_key(payload: Schema, event: EventType) -> None:
    """Add the limits of keys to the schema of a payload."""
    if event.key is not None:
        properties = payload["properties"]
        own = {"description": properties[event.key].get("description", ABOUT_KEY)}
        required = event.key in payload.get("required", ())
        key = key_schema() if required else or_null({**key_schema(), "minLength": 0})
        properties[event.key] = {**key, **own}


def _names_of(event: EventType) -> list[str]:
    return [str(event.type), *(old for old, now in LEGACY_TYPES.items() if now == event.type)]


def _is_empty(event: EventType) -> bool:
    return not any(field.required for field in msgspec.structs.fields(event.payload))


def _choice(schemas: Mapping[str, str]) -> Schema:
    """Return the schema of one of several objects, by the value of their `type`."""
    mapping = {type: REFERENCE.format(name=name) for type, name in schemas.items()}
    return {
        "oneOf": [ref(name) for name in dict.fromkeys(schemas.values())],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def _publication(event: EventType, data: Schema) -> Schema:
    """Return the schema of an envelope that publishes `event`."""
    channels = list(dict.fromkeys((str(event.channel), str(ChannelType.GLOBAL))))
    empty = _is_empty(event)
    schema = object_schema(
        {
            "type": {"type": "string", "enum": _names_of(event)},
            "timestamp": or_null({**TIME, "description": "The hub's clock if absent."}),
            "trace_id": or_null({**text_schema(0, 128), "pattern": PRINTABLE}),
            "data": or_null(data) if empty else data,
            "channel": or_null({"type": "string", "enum": channels}),
            "event_id": or_null({**text_schema(16, 64), "pattern": EVENT_ID}),
        },
        *("type", *([] if empty else ["data"])),
    )
    return {"description": summarize_event(event) or f"Publishes `{event.type}`.", **schema}


def _event(event: EventType, data: Schema) -> Schema:
    """Return the schema of an event of the log."""
    about = summarize_event(event) or f"An event of type `{event.type}`."
    channels = list(dict.fromkeys((str(event.channel), str(ChannelType.GLOBAL))))
    type = {"type": "string", "enum": [str(event.type)]}
    return {"description": about, **_logged(type, or_null(data) if _is_empty(event) else data, channels)}


def _undeclared(contract: Contract) -> Schema:
    about = "An event of a type that the contract does not declare."
    type = {"type": "string", "not": {"enum": sorted(contract.events)}}
    return {"description": about, **_logged(type, {}, list(contract.channels))}


def _logged(type: Schema, data: Schema, channels: list[str]) -> Schema:
    members = {
        "type": type,
        "timestamp": TIME,
        "trace_id": {**text_schema(1, 128), "pattern": PRINTABLE},
        "data": data,
        "channel": {"type": "string", "enum": channels},
        "position": POSITION,
        "event_id": {**text_schema(16, 64), "pattern": EVENT_ID},
    }
    return object_schema(members, *(name for name in members if name != "event_id"))


def _cancel_request() -> Schema:
    """Return the schema of the body of a cancel: the command without the id, which is in the path."""
    properties = {
        name: schema if "anyOf" in schema else or_null(schema)
        for name, schema in _schemas_of([Cancel], REFERENCE)["Cancel"]["properties"].items()
        if name != "operation_id"
    }
    return {**object_schema(properties), "additionalProperties": False}


def _revocation(name: str, more: Schema) -> Schema:
    """Return the schema of the body that revokes what `name` names."""
    end = {**TIME, "description": "When the last of the credentials expires; never, if absent."}
    return {
        **object_schema({name: text_schema(1, 255), **more, "expires_at": or_null(end)}, name),
        "additionalProperties": False,
    }


def _answers() -> Schema:
    events = {"type": "array", "items": ref("Event")}
    return {
        "Refused": object_schema({"error": ref("ErrorData")}, "error"),
        "Results": {
            "description": "One result for each event of a batch, in order.",
            **object_schema(
                {"results": {"type": "array", "items": {"oneOf": [ref("Accepted"), ref("Refused")]}}}, "results"
            ),
        },
        "History": object_schema(
            {
                "events": events,
                "next": {**POSITION, "description": "The `since` of the next request."},
                "position": {**POSITION, "description": "The head of the log."},
                "earlier": {**POSITION, "description": "The `until` of the next request, for the events before."},
                "gap": ref("Gap"),
            },
            *("events", "next", "position"),
        ),
        "Snapshot": object_schema({"events": events, "position": POSITION}, "events", "position"),
        "CancelRequest": _cancel_request(),
        # Named, because a generator gives a nameless union a type that cannot be encoded.
        "RevocationRequest": {"anyOf": [ref("CredentialRevocation"), ref("SubjectRevocation")]},
        "CredentialRevocation": _revocation("credential_id", {}),
        "SubjectRevocation": _revocation(
            "subject", {"issued_before": or_null({**TIME, "description": "Now, if absent."})}
        ),
        "Status": object_schema({"status": {"type": "string", "enum": ["alive", "ready"]}}, "status"),
        "Index": object_schema(
            {
                "name": {"type": "string"},
                "about": {"type": "string"},
                "version": {"type": "string"},
                "contract": ref("ContractIdentity"),
                "websocket": object_schema(
                    {"path": {"type": "string"}, "subprotocol": {"type": "string"}}, "path", "subprotocol"
                ),
                "http": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Method and path of each route, by its purpose.",
                },
            },
            *("name", "about", "version", "contract", "websocket", "http"),
        ),
    }
