"""The values that a JSON Schema allows, by kind, in one normal form.

``{"type": ["string", "null"]}``, ``{"anyOf": [{"type": "null"}, {"type": "string"}]}`` and a reference to either have
the same normal form, so that writing the same thing differently is not a change.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tidings.contract.json_schema import (
    KEYWORDS,
    KINDS,
    NULL,
    AnySchema,
    Definitions,
    EnumSchema,
    NoSchema,
    ReferenceSchema,
    Schema,
    TypedSchema,
    UnionSchema,
    UntypedSchema,
    annotations_of,
    find_definition,
    read_schema,
)

_NO_DEFAULT = object()


class AllowedValues(Struct, frozen=True, kw_only=True):
    """The values that a schema allows."""

    anything: bool = False
    """Whether the schema allows every value; `kinds` is then empty."""
    kinds: Mapping[str, tuple[Schema, ...]] = {}
    """By kind, the limiting keywords of its alternatives: one, except for variants of objects. A choice has `enum`."""
    annotations: Schema = {}
    """The annotations of the schema, without its default."""
    default: Any = _NO_DEFAULT

    @property
    def has_default(self) -> bool:
        """Whether the schema has a default, which may be null."""
        return self.default is not _NO_DEFAULT

    def __str__(self) -> str:
        if self.anything:
            return "any"
        return " or ".join(kind for kind in KINDS if kind in self.kinds) or "nothing"


def allowed_values(schema: Any, definitions: Definitions) -> AllowedValues:
    """Return the values that a schema allows.

    Raises:
        InvalidContract: The schema is invalid, or refers to a definition that does not exist.
    """
    annotations: dict[str, Any] = {}
    followed: tuple[str, ...] = ()
    while True:
        found = annotations_of(schema)
        if followed:  # a definition's title is the name of its struct, and the name of a definition decides nothing
            found.pop("title", None)
        annotations = {**found, **annotations}
        form = read_schema(schema)
        if not isinstance(form, ReferenceSchema):
            break
        schema = find_definition(form, definitions, followed)
        followed = (*followed, form.name)
    default = annotations.pop("default", _NO_DEFAULT)
    kinds = _merge(_alternatives(schema, definitions, ()))
    return AllowedValues(anything=kinds is None, kinds=kinds or {}, annotations=annotations, default=default)


_Alternatives = list[tuple[str, Schema]] | None
"""Pairs of a kind and its limiting keywords; None allows every value."""


def _alternatives(schema: Any, definitions: Definitions, followed: tuple[str, ...]) -> _Alternatives:
    match read_schema(schema):
        case AnySchema():
            return None
        case NoSchema():
            return []
        case ReferenceSchema() as form:
            definition = find_definition(form, definitions, followed)
            return _alternatives(definition, definitions, (*followed, form.name))
        case UnionSchema(options=options):
            found: list[tuple[str, Schema]] = []
            for option in options:
                alternatives = _alternatives(option, definitions, followed)
                if alternatives is None:
                    return None
                found += alternatives
            return found
        case EnumSchema(values=values):
            return [(_kind_of(value), {} if value is None else {"enum": [value]}) for value in values]
        case TypedSchema(kind=kind, keywords=keywords):
            return [(kind, {} if kind == NULL else keywords)]
        case UntypedSchema(keywords=keywords):
            return [(kind, keywords) for kind in _implied_kinds(keywords)]


def _kind_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), NULL)


def _implied_kinds(keywords: Schema) -> tuple[str, ...]:
    for kind in ("string", "number", "array", "object"):
        if keywords.keys() <= KEYWORDS[kind]:
            return (kind,)
    return KINDS


def _merge(alternatives: _Alternatives) -> dict[str, tuple[Schema, ...]] | None:
    """Return the alternatives by kind, with choices of one kind joined and duplicates left out."""
    if alternatives is None:
        return None
    found: dict[str, list[Schema]] = {}
    for kind, schema in alternatives:
        same_kind = found.setdefault(kind, [])
        choice = next((each for each in same_kind if set(each) == {"enum"}), None)
        if set(schema) == {"enum"} and choice is not None:
            same_kind.remove(choice)
            schema = {"enum": [*choice["enum"], *(value for value in schema["enum"] if value not in choice["enum"])]}
        if schema not in same_kind:
            same_kind.append(schema)
    for kind, schemas in found.items():
        if {} in schemas:
            found[kind] = [{}]
    if found.get("number") == [{}]:
        found.pop("integer", None)  # every whole number is a number
    return {kind: tuple(schemas) for kind, schemas in found.items()}
