"""Hooks for schemathesis, for facts that the OpenAPI document cannot express.

JSON Schema calls 3.0 an integer; Go's decoder, and so the contract, do not. A lease requires a producer. An event id
belongs to one event. And requests must not wait a minute for an operation that does not exist.
"""

import re
import uuid
from collections.abc import MutableMapping
from typing import Any

import schemathesis


def _as_integers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_as_integers(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_integers(item) for name, item in value.items()}
    return value


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    return _as_integers(body)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], **kwargs: Any) -> None:
    if case.headers and "Tidings-Lease" in case.headers:
        case.headers.setdefault("Tidings-Producer", "schemathesis")
    for named, name in ((case.body, "event_id"), (case.headers, "Idempotency-Key")):
        if isinstance(named, MutableMapping) and re.fullmatch("[!-~]{16,64}", str(named.get(name))):
            named[name] = str(uuid.uuid4())
    query = case.query
    if query and isinstance(query.get("wait"), int | float) and 0 < query["wait"] <= 60:
        query["wait"] = 0.01
