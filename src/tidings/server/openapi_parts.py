"""What the descriptions of several routes are made of (OpenAPI 3.1)."""

from typing import Final

from tidings.server.http_query import DEFAULT_LIMIT, MAX_LIMIT
from tidings.server.openapi_schemas import Schema, ref

ORIGIN_REFUSED: Final = "A web page of a foreign origin, or a foreign host name."
_ABOUT: Final = {403: ORIGIN_REFUSED, 503: "Not now.", 507: "The log is full."}


def responses(description: str, schema: Schema, *statuses: int) -> Schema:
    """Return the answers of a route: 200 with JSON that fits `schema`, and errors."""
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {"200": answer, **errors(403, *statuses)}


def errors(*statuses: int) -> Schema:
    """Return the answers that tell an error."""
    content = {"application/json": {"schema": ref("ErrorData")}}
    found: Schema = {}
    for status in sorted(statuses):
        answer: Schema = {"description": _ABOUT.get(status, "Refused; the body says why."), "content": content}
        if status in (503, 507):
            answer["headers"] = {"Retry-After": header("Seconds.")}
        found[str(status)] = answer
    return found


def parameter(name: str, schema: Schema, description: str) -> Schema:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def limit_parameter() -> Schema:
    """Return the parameter `limit`."""
    return parameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}, "How many."
    )


def header(description: str) -> Schema:
    """Return a header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


def asked_header(name: str, schema: Schema, description: str) -> Schema:
    """Return a header of a request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}
