"""Hooks for schemathesis, for facts that the OpenAPI document cannot express.

JSON Schema calls 3.0 an integer; Go's decoder, and so the contract, do not. A lease requires a producer, and an alert
without an id gets one from its code. An empty timestamp or channel is absent, as Go writes it. An event id belongs to
one event. A revocation expires in the future. A batch with an invalid event is answered with 200 and a result that
refuses the event. `channel` and `channels` share one limit. A cursor is valid with its own query only. And requests
must not wait: neither a minute for an operation that does not exist, nor ten seconds for a producer that does not
answer, so the operation of the example in the document is not cancelled.
"""

import re
import uuid
from collections.abc import MutableMapping
from typing import Any

import schemathesis

_FUTURE = "2100-01-01T00:00:00Z"


def _as_integers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return 0  # the hub refuses longer ones, in undeclared members, too
    if isinstance(value, list):
        return [_as_integers(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_integers(item) for name, item in value.items()}
    return value


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    return _with_alert_id(_as_integers(body))


def _without_empty(body: Any) -> Any:
    """Return a body whose empty timestamps and channels, which the document does not allow, are invalid."""
    empty = [name for name in ("timestamp", "channel") if isinstance(body, dict) and body.get(name) == ""]
    return {**body, **dict.fromkeys(empty, "invalid")} if empty else body


def _with_alert_id(body: Any) -> Any:
    if isinstance(body, list):
        return [_with_alert_id(item) for item in body]
    data = body.get("data") if isinstance(body, dict) and body.get("type") == "system:alert" else None
    return {**body, "data": {**data, "alert_id": data.get("alert_id") or "a"}} if isinstance(data, dict) else body


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], **kwargs: Any) -> None:
    if case.headers and "Tidings-Lease" in case.headers:
        case.headers.setdefault("Tidings-Producer", "schemathesis")
    for named, name in ((case.body, "event_id"), (case.headers, "Idempotency-Key")):
        if isinstance(named, MutableMapping) and re.fullmatch("[!-~]{16,64}", str(named.get(name))):
            named[name] = str(uuid.uuid4())
    if isinstance(case.body, list) and case.meta is not None and case.meta.generation.mode.is_negative:
        case.body = {"events": case.body}
    body = _without_empty(case.body)
    if body is not case.body:
        case.body = body
    query = case.query
    if case.operation.path.endswith("/cancel"):
        for parameters in (case.path_parameters, query):
            if parameters and parameters.get("operation_id") == "op-42":
                parameters["operation_id"] = "op-41"
    if query and _is_long_wait(query.get("wait")):
        query["wait"] = 0.01
    if query and "channel" in query and "channels" in query:
        del query["channel"]
    is_valid = case.meta is not None and not case.meta.generation.mode.is_negative
    if query and "after" in query and case.operation.path == "/v1/operations" and is_valid:
        del query["after"]
    if is_valid and case.operation.path == "/v1/admin/revocations" and isinstance(case.body, dict):
        case.body = {**case.body, **({"expires_at": _FUTURE} if case.body.get("expires_at") else {})}


def _is_long_wait(wait: Any) -> bool:
    try:
        return 0 < float(wait) <= 60
    except (TypeError, ValueError):
        return False
