"""JSON Schema as generators of clients and models need it: every value has a type, every number a format."""

from typing import Any, Final

import msgspec

_FORMATS: Final = {"number": "double", "integer": "int64"}
"""Without a format, generators for typed languages choose 32 bits."""
_KINDS: Final = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def type_schema(schema: Any) -> Any:
    """Return a schema of msgspec as generators need it: values have types, and numbers formats.

    Defaults go into the descriptions: generators would make a member with a default required.
    """
    if isinstance(schema, list):
        return [type_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema:
        properties = {name: _field(type_schema(part), part) for name, part in schema["properties"].items()}
        rest = {name: type_schema(part) for name, part in schema.items() if name not in ("properties", "title")}
        return {**rest, "properties": properties}
    typed = {name: type_schema(part) for name, part in schema.items() if name not in ("default", "enum", "title")}
    kind = schema.get("type")
    if "prefixItems" in typed:
        # Generators that have no tuples read `items`, as the type of every item; `false` ends some of them.
        options = list({msgspec.json.encode(item): item for item in typed["prefixItems"]}.values())
        typed.setdefault("maxItems", len(typed["prefixItems"]))
        typed["items"] = options[0] if len(options) == 1 else {"anyOf": options}
    if kind in _FORMATS:
        typed.setdefault("format", _FORMATS[kind])
    return {**typed, **_enum(schema["enum"])} if "enum" in schema else typed


def _field(typed: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    if default in (None, [], {}):
        return typed
    about = " ".join(filter(None, (typed.get("description"), f"Default: {msgspec.json.encode(default).decode()}.")))
    return {**typed, "description": about}


def _enum(values: list[Any]) -> dict[str, Any]:
    by_kind: dict[str, list[Any]] = {}
    for value in values:
        by_kind.setdefault(_KINDS[type(value)], []).append(value)
    options: list[dict[str, Any]] = []
    for kind, of_kind in by_kind.items():
        formats = {"format": _FORMATS[kind]} if kind in _FORMATS else {}
        options.append({"type": "null"} if kind == "null" else {"type": kind, **formats, "enum": of_kind})
    return options[0] if len(options) == 1 else {"anyOf": options}
