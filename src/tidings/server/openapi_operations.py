"""The description of the routes about operations (OpenAPI 3.1)."""

from typing import Final

import msgspec

from tidings.operations.lifecycle import OperationState
from tidings.operations.views import NamesPage, OperationDetail, OperationPage
from tidings.protocol.messages import CancelOutcome
from tidings.server.openapi_parts import limit_parameter, parameter, responses
from tidings.server.openapi_schemas import REFERENCE, Schema, object_schema, ref
from tidings.server.operations_query import AGO_PATTERN, CURSOR_PATTERN, MAX_CANCEL_S, MAX_REASON, MAX_WAIT_S

_TIME_PATTERN: Final = "^20[0-9]{2}-(0[1-9]|1[0-2])-([01][1-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$"
"""Some of RFC 3339: what a generator of requests makes of it is a time."""
_NAME_ABOUT: Final = "Only operations of this name; with `*` at its end, of names that begin so."


def operation_schemas() -> Schema:
    """Return the named schemas of these routes."""
    _, found = msgspec.json.schema_components(
        [OperationPage, OperationDetail, NamesPage, CancelOutcome], ref_template=REFERENCE
    )
    return found


def operation_paths() -> Schema:
    """Return these routes."""
    return {
        "/v1/operations": {"get": _list()},
        "/v1/operations/{operation_id}": {"get": _show()},
        "/v1/operations/{operation_id}/cancel": {"post": _cancel()},
        "/v1/operation-names": {
            "get": {
                "operationId": "listOperationNames",
                "summary": "List what operations are called, with what is known of the runs of each name",
                "parameters": [parameter("name", {"type": "string"}, _NAME_ABOUT)],
                "responses": responses("The names, the one that ended last first.", ref("NamesPage"), 503),
            }
        },
    }


def _list() -> Schema:
    age_or_time = {
        "anyOf": [{"type": "string", "pattern": f"^{AGO_PATTERN}$"}, {"type": "string", "pattern": _TIME_PATTERN}]
    }
    return {
        "operationId": "listOperations",
        "summary": "List operations, the one that began last first",
        "description": "An answer may hold fewer than `limit`, or none, and have more behind it: go on while there is "
        "`next`.",
        "parameters": [
            parameter("state", {"type": "array", "items": {"enum": list(OperationState)}}, "Only in these states."),
            parameter("name", {"type": "string"}, _NAME_ABOUT),
            parameter("since", age_or_time, "Only what began or ended after this: an age such as 6h, or RFC 3339."),
            parameter("parent", {"type": "string"}, "Only operations that name this one as their parent."),
            limit_parameter(),
            parameter(
                "after", {"type": "string", "pattern": f"^{CURSOR_PATTERN}$"}, "`next` of the answer to go on from."
            ),
        ],
        "responses": responses("One page.", ref("OperationPage"), 400, 503),
    }


def _show() -> Schema:
    return {
        "operationId": "showOperation",
        "summary": "Show one operation, or wait for its end",
        "parameters": [
            _id_parameter(),
            parameter(
                "wait",
                {"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
                "Seconds: answer when it has ended, or when they are over.",
            ),
        ],
        "responses": responses("The operation.", ref("OperationDetail"), 400, 404, 503),
    }


def _cancel() -> Schema:
    body = object_schema(
        {
            "reason": {"type": ["string", "null"], "maxLength": MAX_REASON},
            "timeout_s": {"type": ["number", "null"], "minimum": 0, "maximum": MAX_CANCEL_S},
        }
    )
    return {
        "operationId": "cancelOperation",
        "summary": "Have an operation end, and learn what came of it",
        "parameters": [_id_parameter()],
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "responses": responses("What came of it.", ref("CancelOutcome"), 400, 404, 413, 415, 503),
    }


def _id_parameter() -> Schema:
    # A segment that is nothing but dots is taken out of a URL by whoever sends it (RFC 3986 §5.2.4).
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "[^./]"}
    return {"name": "operation_id", "in": "path", "required": True, "schema": schema}
