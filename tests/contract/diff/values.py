"""Values that fit a JSON Schema, with declared members only, as a writer sends them."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

anything: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3) | st.just([]) | st.just({})
)


def values_of(schema: Any, definitions: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that fit `schema`."""
    if schema is True or schema == {}:
        return anything
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: values_of(definitions[name], definitions))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return st.one_of([values_of(part, definitions) for part in schema[keyword]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kind = schema["type"]
    if isinstance(kind, list):
        return st.one_of([values_of({**schema, "type": each}, definitions) for each in kind])
    makers = {"string": _texts, "integer": _integers, "number": _numbers}
    if kind in makers:
        return makers[kind](schema)
    if kind == "array":
        return _arrays(schema, definitions)
    if kind == "object":
        return _objects(schema, definitions)
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def _texts(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", schema.get("minLength", 0) + 12)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"]).filter(lambda text: least <= len(text) <= most)
    return st.text("ABab é", min_size=least, max_size=most)


def _integers(schema: Mapping[str, Any]) -> st.SearchStrategy[int]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"] + 1
    if "exclusiveMaximum" in schema:
        most = schema["exclusiveMaximum"] - 1
    step = schema.get("multipleOf", 1)
    if step == 1:
        return st.integers(least, most)
    return st.integers(None if least is None else -(-least // step), None if most is None else most // step).map(
        lambda number: number * step
    )


def _numbers(schema: Mapping[str, Any]) -> st.SearchStrategy[float]:
    if "multipleOf" in schema:
        return _integers(schema)
    least, most = (
        schema.get("exclusiveMinimum", schema.get("minimum")),
        schema.get("exclusiveMaximum", schema.get("maximum")),
    )
    return st.floats(
        least,
        most,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )


def _arrays(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> st.SearchStrategy[list[Any]]:
    if "prefixItems" in schema:
        return st.tuples(*(values_of(each, definitions) for each in schema["prefixItems"])).map(list)
    if schema.get("items") is False:
        return st.just([])
    least = schema.get("minItems", 0)
    return st.lists(
        values_of(schema.get("items", True), definitions),
        min_size=least,
        max_size=schema.get("maxItems", least + 6),
        unique_by=json.dumps if schema.get("uniqueItems") else None,
    )


def _objects(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" in schema:
        fields = {name: values_of(each, definitions) for name, each in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    least = schema.get("minProperties", 0)
    return st.dictionaries(
        values_of(schema.get("propertyNames", {"type": "string", "maxLength": 3}) | {"type": "string"}, definitions),
        values_of(schema.get("additionalProperties", True), definitions),
        min_size=least,
        max_size=schema.get("maxProperties", least + 2),
    )
