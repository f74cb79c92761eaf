"""What schemathesis is told of numbers: JSON Schema calls 3.0 an integer, Go's decoder and so the contract do not."""

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
