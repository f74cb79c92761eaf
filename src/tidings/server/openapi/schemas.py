"""Building blocks of the OpenAPI document: schemas (JSON Schema 2020-12), parameters, headers and answers."""

from typing import Any, Final

from tidings.protocol.codes import CODES
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.server.http.query import DEFAULT_LIMIT, MAX_LIMIT

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{name}"
PRINTABLE: Final = "^[\\x20-\\x7e]*$"
EVENT_ID: Final = "^[!-~]+$"
_NO_CONTROLS: Final = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
POSITION: Final[Schema] = {
    "type": "string",
    "pattern": "^[a-z0-9]{1,32}:(0|[1-9][0-9]{0,18})$",
    "description": "A position in the log; opaque.",
}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
ABOUT_KEY: Final = f"The key: 1–{MAX_KEY_BYTES} bytes of UTF-8."


def key_schema() -> Schema:
    """Return the schema of a key."""
    return {**text_schema(1, MAX_KEY_BYTES), "pattern": _NO_CONTROLS}


def text_schema(min_length: int, max_length: int) -> Schema:
    """Return the schema of a string with a length in characters."""
    return {"type": "string", "minLength": min_length, "maxLength": max_length}


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null, which means absent."""
    options = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
    return {"anyOf": [*options, {"type": "null"}]}


def object_schema(properties: Schema, *required: str) -> Schema:
    """Return the schema of an object, which may have additional members."""
    return {"type": "object", "properties": properties, "required": list(required)}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": REFERENCE.format(name=name)}


_ABOUT: Final = {
    401: "The hub asks for a credential, or does not accept it.",
    403: "A grant is missing, the origin of the web page or the host name is not allowed, or only the hub writes this.",
    414: "The URL is too long.",
    429: "Too many requests at a time, or too many invalid credentials.",
    431: "The headers are too large, or too many.",
    503: "Temporarily unavailable.",
    507: "The log is full.",
}


_HEAD_STATUSES: Final = (414, 431)
GUARDED_STATUSES: Final = (401, 403, 429)
"""Answers of routes that ask for a credential, where the hub identifies its clients."""


def responses(description: str, schema: Schema, *statuses: int) -> Schema:
    """Return the answers of a route that asks for a credential: 200 with JSON that fits `schema`, and errors."""
    return {**open_responses(description, schema), **errors(*GUARDED_STATUSES, *statuses)}


def open_responses(description: str, schema: Schema, *statuses: int) -> Schema:
    """Return the answers of a route that answers everyone."""
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {"200": answer, **errors(403, *statuses)}


def errors(*statuses: int) -> Schema:
    """Return the error answers of a route, with their codes, and those for the head of any request."""
    found: Schema = {}
    for status in sorted({*statuses, *_HEAD_STATUSES}):
        rows = [row for row in CODES.values() if row.http == status]
        example = {"code": rows[0].code, "message": "…", "recoverable": rows[0].recoverable, "hint": rows[0].hint}
        about = f"{_ABOUT.get(status, 'Refused.')} Codes: {', '.join(f'`{row.code}`' for row in rows)}."
        answer: Schema = {
            "description": about,
            "content": {"application/json": {"schema": ref("ErrorData"), "example": example}},
        }
        if status in (429, 503, 507):
            answer["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "format": "int32"}}
            }
        if status == 401:
            answer["headers"] = {"WWW-Authenticate": response_header("The scheme: `Bearer` (RFC 6750).")}
        found[str(status)] = answer
    return found


def parameter(name: str, schema: Schema, description: str) -> Schema:
    """Return a query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


COUNT: Final[Schema] = {"type": "integer", "format": "int32", "minimum": 1, "maximum": MAX_LIMIT}
"""A number of results."""


def limit_parameter() -> Schema:
    """Return the parameter `limit`."""
    return parameter("limit", {**COUNT, "default": DEFAULT_LIMIT}, "Maximum number of results.")


def response_header(description: str) -> Schema:
    """Return a response header."""
    return {"description": description, "schema": {"type": "string"}}


def request_header(name: str, schema: Schema, description: str) -> Schema:
    """Return a request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema}
