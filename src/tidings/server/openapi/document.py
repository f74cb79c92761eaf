"""`GET /openapi.json`: the OpenAPI 3.1 document of the HTTP side, built from the contract."""

from typing import Final

import msgspec

from tidings.access.credentials import TICKET_PARAMETER
from tidings.contract.contract import Contract
from tidings.contract.export.examples import build_example
from tidings.contract.export.model import build_model
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.protocol.revisions import REVISIONS
from tidings.server.http.body import MAX_BATCH_EVENTS, MAX_BODY_BYTES
from tidings.server.http.query import MAX_VALUES
from tidings.server.http.responses import Answer
from tidings.server.openapi.admin import admin_paths
from tidings.server.openapi.components import build_components
from tidings.server.openapi.operations import contract_paths, operation_paths
from tidings.server.openapi.schemas import (
    COUNT,
    EVENT_ID,
    GUARDED_STATUSES,
    POSITION,
    PRINTABLE,
    TIME,
    Schema,
    errors,
    key_schema,
    limit_parameter,
    open_responses,
    parameter,
    ref,
    request_header,
    response_header,
    responses,
    text_schema,
)
from tidings.version import __version__

_TAGS: Final = {
    "access": "Tickets, sessions and revocations.",
    "contract": "The contract in several formats.",
    "events": "Publish events, and read the log.",
    "hub": "The hub itself.",
    "operations": "List, show and cancel operations.",
}


def openapi_document(contract: Contract, *, identifies: bool = False) -> Answer:
    """Return the OpenAPI document of a hub.

    Args:
        contract: The contract.
        identifies: Whether the hub identifies its clients: otherwise the credential that it describes is not needed.
    """
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "tidings",
            "version": __version__,
            "summary": "A hub for typed, trace-correlated events about long-running work.",
            "description": f"Contract {contract.identity.version} ({contract.identity.hash}).",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": _with_security(_paths(contract)) if identifies else _paths(contract),
        "components": {"schemas": build_components(contract), "securitySchemes": _SECURITY_SCHEMES},
    }
    return Answer(200, msgspec.json.encode(document))


_SECURITY_SCHEMES: Final[Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token (JWT) or an API key."},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": TICKET_PARAMETER,
        "description": "A single-use ticket of `POST /v1/tickets`, for clients that cannot send headers.",
    },
}
"""Declared by every hub, so that a client that is generated from one works with all."""
_WITH_TICKET: Final = ("stream",)
"""Operations that a ticket opens, by their ids."""


def _with_security(paths: Schema) -> Schema:
    """Add which credentials each operation asks for; those that have an answer for a missing one do."""
    for item in paths.values():
        for operation in item.values():
            options: list[Schema] = [{"bearer": []}] if "401" in operation["responses"] else []
            if operation["operationId"] in _WITH_TICKET:
                options.append({"ticket": []})
            operation["security"] = options
    return paths


_ACCEPTED: Final = {"position": "0badc0de:520"}


# Paths.


def _paths(contract: Contract) -> Schema:
    channels = _channel_parameters(contract)
    return {
        "/v1/events": {"post": _post_events(contract), "get": _get_events(contract, channels)},
        "/v1/snapshot": {
            "get": {
                "operationId": "readSnapshot",
                "tags": ["events"],
                "summary": "Read the newest event of each key, in log order",
                "parameters": channels,
                "responses": responses("The snapshot.", ref("Snapshot"), 400, 422, 503),
            }
        },
        "/v1/stream": {"get": _get_stream(channels)},
        **operation_paths(),
        **contract_paths(),
        "/healthz": {"get": _plain("isAlive", "Check that the process is alive", ref("Status"))},
        "/readyz": {"get": _plain("isReady", "Check that the hub accepts events", ref("Status"), 503, 507)},
        "/metrics": {
            "get": {
                "operationId": "readMetrics",
                "tags": ["hub"],
                "summary": "Read the hub's metrics, for Prometheus",
                "responses": {
                    "200": {
                        "description": "Text in the requested format.",
                        "content": {
                            "text/plain": {"schema": {"type": "string"}},
                            "application/openmetrics-text": {"schema": {"type": "string"}},
                        },
                    },
                    **errors(*GUARDED_STATUSES, 503),
                },
            }
        },
        **admin_paths(),
        "/openapi.json": {"get": _plain("readOpenAPI", "Read this description", {"type": "object"})},
        "/": {"get": _plain("readIndex", "Read the hub's version and routes", ref("Index"))},
    }


def _post_events(contract: Contract) -> Schema:
    model = build_model(contract)
    event = next(message for message in model.events if message.publishable)
    example = build_example(contract, model, event)
    published = {"type": example["type"], "data": example["data"]}
    return {
        "operationId": "publish",
        "tags": ["events"],
        "summary": "Publish one or more events",
        "description": "One envelope is accepted (200) or refused (4xx). Each item of an array or of NDJSON is "
        "accepted or refused on its own; results come in the same order. "
        f"At most {MAX_BATCH_EVENTS:,} events and {MAX_BODY_BYTES >> 20} MiB.",
        "parameters": [
            request_header(
                "Idempotency-Key",
                {"type": "string", "minLength": 16, "maxLength": 64, "pattern": EVENT_ID},
                "The event_id of events that have none of their own. Item n of a batch, counted from 0, gets `key#n`, "
                "so the key of a batch has at most 60 characters.",
            ),
            request_header(
                "traceparent",
                {"type": "string"},
                "W3C Trace Context, whose trace id is used for events that have none and whose operation has none. An "
                "invalid value is ignored.",
            ),
            request_header(
                "Tidings-Producer",
                {"type": "string", "minLength": 1, "maxLength": 64, "pattern": EVENT_ID},
                "The producer that holds the operations that the post begins; each further post renews the lease.",
            ),
            request_header(
                "Tidings-Lease",
                {"type": "number", "format": "double", "minimum": 1, "maximum": 86_400},
                "Seconds after the producer's last post at which its operations fail. Requires `Tidings-Producer`.",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref("PublishRequest"),
                    "examples": {"event": {"value": published}, "batch": {"value": [published, published]}},
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {
                "description": "The events are in the log, and survive a crash of the process.",
                "headers": {
                    "Deprecation": response_header("RFC 9745: an old name was used."),
                    "Tidings-Notice": response_header("The old names, and their replacements."),
                    "Tidings-Cancel": response_header(
                        "Operations that are being cancelled, percent-encoded, separated by commas."
                    ),
                },
                "content": {
                    "application/json": {
                        "schema": ref("PublishResult"),
                        "examples": {
                            "event": {"value": _ACCEPTED},
                            "batch": {"value": {"results": [_ACCEPTED, {**_ACCEPTED, "duplicate": True}]}},
                        },
                    }
                },
            },
            **errors(400, *GUARDED_STATUSES, 408, 409, 413, 415, 422, 501, 503, 507),
        },
    }


def _get_events(contract: Contract, channels: list[Schema]) -> Schema:
    types = sorted({*contract.events, *LEGACY_TYPES})
    return {
        "operationId": "readHistory",
        "tags": ["events"],
        "summary": "Read all events of a range, without conflation",
        "parameters": [
            *channels,
            parameter("key", _list(key_schema()), "Only events of this key, on each channel."),
            parameter("type", _list({"type": "string", "enum": types}), "Only events of this type."),
            parameter("trace_id", {**text_schema(1, 128), "pattern": PRINTABLE}, "Only events of this trace."),
            parameter(
                "since",
                _since("now", "first", ""),
                "Where to begin: `first` (the default), `now`, at a time, or after a position.",
            ),
            limit_parameter(),
            parameter("last", COUNT, "Only the newest events of the range, this many, in log order."),
            parameter("until", POSITION, "The last event of the range; the head of the log by default."),
        ],
        "responses": responses("Events in log order.", ref("History"), 400, 404, 422, 503),
    }


def _get_stream(channels: list[Schema]) -> Schema:
    return {
        "operationId": "stream",
        "tags": ["events"],
        "summary": "Read events as they arrive (Server-Sent Events)",
        "description": "`data:` is an envelope, `id:` its position. `channel:subscribed` comes first, `channel:live` "
        "after the past events.",
        "parameters": [
            *channels,
            parameter("since", _since("snapshot", "now", "first", ""), "Where to begin; `snapshot` is the default."),
            parameter(
                "contract",
                {"type": "string", "enum": list(REVISIONS)},
                "The revision of the contract in which events are written; the newest is the default.",
            ),
            parameter(
                "pace_ms",
                {"type": "integer", "format": "int32", "minimum": 0, "maximum": 999_999_999},
                "Minimum time between two writes, in milliseconds.",
            ),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "Takes precedence over `since`.",
                "schema": POSITION,
            },
        ],
        "responses": {
            "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **errors(400, *GUARDED_STATUSES, 422, 503),
        },
    }


def _plain(operation: str, summary: str, schema: Schema, *errors: int) -> Schema:
    answers = open_responses("Success.", schema, *errors)
    return {"operationId": operation, "tags": ["hub"], "summary": summary, "responses": answers}


# Parameters.


def _channel_parameters(contract: Contract) -> list[Schema]:
    channel = _path_schema(contract, "[^\\x00-\\x1f\\x7f-\\x9f]")
    in_list = _path_schema(contract, "[^\\x00-\\x1f\\x7f-\\x9f,]")
    about = "A path: a channel, `channel/key`, `channel/prefix*`, or `*`, the default. Repeatable."
    return [
        parameter("channel", _list(channel), about),
        {**parameter("channels", {**_list(in_list), "minItems": 1}, "Paths, separated by commas."), "explode": False},
    ]


def _path_schema(contract: Contract, char: str) -> Schema:
    one_of = "|".join(contract.channels)
    last = char.replace("]", "*]")
    return {
        "type": "string",
        "maxLength": MAX_KEY_BYTES,
        "pattern": f"^(\\*|({one_of})|({one_of})/({char}*{last}\\*?|\\*))$",
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "maxItems": MAX_VALUES}


def _since(*words: str) -> Schema:
    return {"anyOf": [{"type": "string", "enum": list(words)}, TIME, POSITION]}
