"""Messages of publishers in Python and Go: payloads generated from their types, as JSON in each language's style."""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from tidings.contract.event_types import BUILTIN, EventType
from tidings.protocol.payloads import SystemAlertData

text = st.text(st.characters(codec="utf-8"), max_size=8)
key_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)


def values_of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Return values of a field's type, within its limits."""
    match kind:
        case inspect.StrType(min_length=least, max_length=most):
            return st.text(st.characters(codec="utf-8"), min_size=least or 0, max_size=min(most or 8, 8))
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most, allow_nan=False, allow_infinity=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.UnionType(types=kinds):
            return st.one_of(*map(values_of, kinds))
        case inspect.ListType(item_type=item):
            return st.lists(values_of(item), max_size=3)
        case inspect.DictType(key_type=name, value_type=value):
            return st.dictionaries(values_of(name), values_of(value), max_size=3)
        case inspect.AnyType():
            return json_values
    raise AssertionError(f"no payload has had a field of {kind} before")


def members_of(event: EventType) -> st.SearchStrategy[dict[str, Any]]:
    """Return the members of payloads of `event`, some left out and one of them unknown."""
    info = inspect.type_info(event.payload)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: values_of(field.type) for field in info.fields}
    if event.key is not None:
        fields[event.key] = key_text
    if event.payload is SystemAlertData:  # the other parts of an alert's key
        fields |= {"code": key_text, "operation_id": key_text}
    required = {field.name: fields.pop(field.name) for field in info.fields if field.required}
    unknown = st.dictionaries(st.just("unknown"), json_values, max_size=1)
    known = st.fixed_dictionaries(required, optional=fields)
    return st.tuples(known, unknown).map(lambda parts: parts[0] | parts[1])


def go(value: Any) -> str:
    """Return `value` as Go's encoding/json writes it."""
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", compact)


def python(value: Any) -> str:
    """Return `value` as Python's json writes it."""
    return json.dumps(value)


def indented(value: Any) -> str:
    """Return `value` over several lines, with every kind of white space."""
    return json.dumps(value, ensure_ascii=False, indent="\t").replace("\n", "\r\n")


def msgspec_style(value: Any) -> str:
    """Return `value` as msgspec writes it."""
    return msgspec.json.encode(value).decode()


styles: st.SearchStrategy[Callable[[Any], str]] = st.sampled_from([go, python, indented, msgspec_style])
publishable = st.sampled_from([event for event in BUILTIN if event.publishable])
trace_ids = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=128)


@st.composite
def messages(draw: st.DrawFn) -> str:
    """Draw the text of a message that publishes an event."""
    event = draw(publishable)
    envelope: dict[str, Any] = {"type": event.type, "data": draw(members_of(event))}
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "timestamp": st.sampled_from(
                    ["2025-07-30T12:00:00Z", "2025-07-30T12:00:00.5Z", "2025-07-30T12:00:00+01:00"]
                ),
                "trace_id": trace_ids,
                "channel": st.sampled_from(["", "global", event.channel]),
                "unknown": json_values,
            },
        )
    )
    return draw(styles)(envelope | more)
