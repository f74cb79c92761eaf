"""OpenAPI 3.1 descriptions of the routes about operations and about the contract."""

from typing import Final

from tidings.operations.lifecycle import OperationState
from tidings.server.http.contract import ASYNCAPI_PATH, DOCUMENTS, PAGE_PATH
from tidings.server.http.operation_log import FORMATS, LEVELS, OPERATION_LOG
from tidings.server.http.operations_query import (
    AGO_PATTERN,
    AWAY,
    CURSOR_PATTERN,
    MAX_SEARCH_CHARS,
    MAX_WAIT_S,
    OPERATION,
    OPERATION_CANCEL,
    ORDERS,
    SORTS,
    STALLED,
)
from tidings.server.http.query import MAX_VALUES
from tidings.server.openapi.schemas import (
    POSITION,
    TIME,
    Schema,
    errors,
    limit_parameter,
    parameter,
    ref,
    request_header,
    response_header,
    responses,
)

_NAME_ABOUT: Final = "Only operations of this name; with `*` at the end, of names with this prefix."


def operation_paths() -> Schema:
    """Return the paths about operations."""
    return {
        "/v1/operations": {"get": _list()},
        "/v1/operations/{operation_id}": {"get": _show()},
        "/v1/operations/{operation_id}/cancel": {"post": _cancel()},
        OPERATION: {"get": _by_query(_show(), "showOperationById")},
        OPERATION_CANCEL: {"post": _by_query(_cancel(), "cancelOperationById")},
        OPERATION_LOG: {"get": _read_log()},
        "/v1/operation-names": {
            "get": {
                "operationId": "listOperationNames",
                "tags": ["operations"],
                "summary": "List the names of operations, with statistics of the runs of each",
                "parameters": [parameter("name", _texts(), _NAME_ABOUT)],
                "responses": responses("The names, most recently ended first.", ref("NamesPage"), 400, 503),
            }
        },
    }


def _list() -> Schema:
    age_or_time = {"anyOf": [{"type": "string", "pattern": f"^{AGO_PATTERN}$"}, TIME]}
    return {
        "operationId": "listOperations",
        "tags": ["operations"],
        "summary": "List operations, most recently begun first",
        "description": "An answer may have fewer operations than `limit`, or none, although more follow: continue "
        "while it has `next`.",
        "parameters": [
            parameter(
                "state",
                {"type": "array", "items": {"type": "string", "enum": [*OperationState, STALLED, AWAY]}},
                "Only operations in these states, or under these conditions.",
            ),
            parameter(
                "find",
                {"type": "string"},
                "Only the operation with this id; without one, those whose id begins so, or that have this name.",
            ),
            parameter("name", _texts(), _NAME_ABOUT),
            parameter(
                "q",
                {"type": "string", "maxLength": MAX_SEARCH_CHARS},
                "Only operations with all of these words in their name, id, step, message, reason or error.",
            ),
            parameter("path", _texts(pattern="^operations(/[a-z]+[*]?)?$"), "Only operations on these paths."),
            parameter("producer", {"type": "string"}, "Only operations that this producer holds."),
            parameter("attention", {"type": "boolean"}, "Only operations that need a person: failed, stalled, away."),
            parameter("newest", {"type": "boolean"}, "Only the newest run of each name."),
            parameter("sort", {"type": "string", "enum": list(SORTS), "default": SORTS[0]}, "The order."),
            parameter("order", {"type": "string", "enum": list(ORDERS)}, "Its direction."),
            parameter("totals", {"type": "boolean"}, "Whether the answer counts everything that matches."),
            parameter(
                "since", age_or_time, "Only operations that began or ended after this: an age such as 6h, or RFC 3339."
            ),
            parameter("parent", {"type": "string"}, "Only operations that name this one as their parent."),
            limit_parameter(),
            parameter(
                "after", {"type": "string", "pattern": f"^{CURSOR_PATTERN}$"}, "The `next` of the previous answer."
            ),
        ],
        "responses": responses("One page.", ref("OperationPage"), 400, 422, 503),
    }


def _read_log() -> Schema:
    return {
        "operationId": "readOperationLog",
        "tags": ["operations"],
        "summary": "Read the log lines of one operation, or download them",
        "parameters": [
            _named(),
            parameter(
                "order", {"type": "string", "enum": list(ORDERS)}, "`desc` reads backwards from the newest line."
            ),
            parameter("after", POSITION, "Lines behind this one, in the order: the `next` of the previous answer."),
            parameter("until", POSITION, "Lines up to and including this one."),
            parameter("attempt", {"type": "integer", "format": "int32", "minimum": 1}, "Only lines of this attempt."),
            parameter(
                "level", {"type": "array", "items": {"type": "string", "enum": list(LEVELS)}}, "Only these levels."
            ),
            parameter(
                "q", {"type": "string", "maxLength": MAX_SEARCH_CHARS}, "Only lines with this text, in any case."
            ),
            limit_parameter(),
            parameter("format", {"type": "string", "enum": list(FORMATS)}, "`text` and `raw`: all lines as a file."),
        ],
        "responses": {
            **responses("One page of lines.", ref("OperationLogPage"), 400, 404, 422, 503),
            "200": {
                "description": "One page of lines; or all lines, if `format` asks for text.",
                "content": {
                    "application/json": {"schema": ref("OperationLogPage")},
                    "text/plain": {"schema": {"type": "string"}},
                },
            },
        },
    }


def _texts(**limits: str) -> Schema:
    return {"type": "array", "items": {"type": "string", **limits}, "maxItems": MAX_VALUES}


def _show() -> Schema:
    return {
        "operationId": "showOperation",
        "tags": ["operations"],
        "summary": "Show one operation, or wait for its end",
        "parameters": [
            _id_parameter(),
            parameter(
                "wait",
                {"type": "number", "format": "double", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
                "Seconds to wait for the operation's end before answering.",
            ),
        ],
        "responses": responses("The operation.", ref("OperationDetail"), 400, 404, 503),
    }


def _cancel() -> Schema:
    return {
        "operationId": "cancelOperation",
        "tags": ["operations"],
        "summary": "Cancel an operation and report the outcome",
        "parameters": [_id_parameter()],
        "requestBody": {"required": False, "content": {"application/json": {"schema": ref("CancelRequest")}}},
        "responses": responses("The outcome.", ref("CancelOutcome"), 400, 404, 408, 413, 415, 503),
    }


def _by_query(described: Schema, operation: str) -> Schema:
    """Return a description of a route whose query has the id, which may then be any."""
    parameters = [_named(), *described["parameters"][1:]]
    return {**described, "operationId": operation, "parameters": parameters}


def _named() -> Schema:
    return {**parameter("operation_id", {"type": "string"}, "The id of the operation."), "required": True}


def _id_parameter() -> Schema:
    # Clients remove path segments that consist of dots only (RFC 3986 §5.2.4).
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "[^./]"}
    about = "The id of the operation."
    return {"name": "operation_id", "in": "path", "required": True, "description": about, "schema": schema}


_OPERATIONS = {
    "/v1/contract.json": "readContract",
    "/v1/contract.schema.json": "readContractSchema",
    ASYNCAPI_PATH: "readAsyncAPI",
    "/v1/contract.ts": "readContractInTypeScript",
    "/v1/contract.go": "readContractInGo",
}


def contract_paths() -> Schema:
    """Return the paths of the contract's documents."""
    paths = {
        path: _get(_OPERATIONS[path], f"Read the contract: {format.title}, {format.about}", format.media_type)
        for path, format in DOCUMENTS.items()
    }
    return {**paths, PAGE_PATH: _get("readContractPage", "Read the contract as a page for people", "text/html")}


def _get(operation: str, summary: str, media_type: str) -> Schema:
    # Without the parameters of the media type, such as a character set.
    name = media_type.partition(";")[0]
    schema = {"type": "object"} if name.endswith("json") else {"type": "string"}
    tag = response_header("Entity tag; the same for equal documents.")
    return {
        "get": {
            "operationId": operation,
            "tags": ["contract"],
            "summary": summary,
            "parameters": [
                request_header("If-None-Match", {"type": "string"}, "The ETag of the document that the client has.")
            ],
            "responses": {
                "200": {
                    "description": "The document.",
                    "headers": {"ETag": tag},
                    "content": {name: {"schema": schema}},
                },
                "304": {"description": "The client has the current document.", "headers": {"ETag": tag}},
                **errors(403),
            },
        }
    }
