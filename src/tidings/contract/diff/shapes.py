"""A JSON Schema as what it allows: which kinds of values, and what each kind must fit.

``{"type": ["string", "null"]}``, ``{"anyOf": [{"type": "null"}, {"type": "string"}]}`` and a reference to either are
one shape, so that writing the same thing otherwise is no change.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from tidings.exceptions import InvalidContract

Schema = Mapping[str, Any]
Definitions = Mapping[str, Any]

ANNOTATIONS: Mapping[str, str] = {
    "title": "title-changed",
    "description": "description-changed",
    "examples": "examples-changed",
    "deprecated": "deprecated-changed",
    "$comment": "comment-changed",
}
"""Keywords for people, and the rule of a change of each."""
NULL = "null"
KINDS = ("string", "integer", "number", "boolean", "array", "object", NULL)
_REFERENCE = "#/$defs/"
# `discriminator` repeats what the variants say; `$schema` and `$id` say what the schema is, not what it allows.
_SILENT = frozenset(
    {"$ref", "type", "anyOf", "oneOf", "enum", "const", "default", "discriminator", "$schema", "$id", "$defs"}
)
_TELLING = {
    "string": ("minLength", "maxLength", "pattern", "format", "contentEncoding"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    "object": ("properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"),
}
"""By kind: keywords that imply it, where a schema names no type."""
_NO_DEFAULT = object()


class Shape(Struct, frozen=True, kw_only=True):
    """What a schema allows."""

    anything: bool = False
    """Whether every value is; then nothing else is said."""
    kinds: Mapping[str, tuple[Schema, ...]] = {}
    """By kind: the schemas of its alternatives; one but for variants of objects. A choice stands as ``enum``."""
    notes: Schema = {}
    """Its annotations."""
    default: Any = _NO_DEFAULT

    @property
    def has_default(self) -> bool:
        """Whether the schema says what leaving the value out means."""
        return self.default is not _NO_DEFAULT


def shape_of(schema: Any, definitions: Definitions) -> Shape:
    """Return what a schema allows.

    Raises:
        InvalidContract: It is no schema, or refers to a definition that there is not.
    """
    if schema is True:
        return Shape(anything=True)
    if schema is False:
        return Shape()
    if not isinstance(schema, Mapping):
        raise InvalidContract(f"a schema is an object, not {str(schema)[:80]!r}", type="")
    notes: dict[str, Any] = {}
    default: Any = _NO_DEFAULT
    references: list[str] = []
    resolved: Schema = schema
    while True:
        if default is _NO_DEFAULT and "default" in resolved:
            default = resolved["default"]
        for name in ANNOTATIONS:
            # A definition's title is the name of its struct, and by what name it is referred to decides nothing.
            if name in resolved and not (name == "title" and references):
                notes.setdefault(name, resolved[name])
        if "$ref" not in resolved:
            break
        references.append(_name_of(str(resolved["$ref"]), references, definitions))
        resolved = definitions[references[-1]]
    kinds = _merged(_alternatives(resolved, definitions, ()))
    return Shape(anything=kinds is None, kinds=kinds or {}, notes=notes, default=default)


def _name_of(reference: str, seen: Sequence[str], definitions: Definitions) -> str:
    name = reference.removeprefix(_REFERENCE)
    if name not in definitions or not isinstance(definitions[name], Mapping):
        raise InvalidContract(f"{reference!r} is not in $defs", type="")
    if name in seen:
        raise InvalidContract(f"{reference!r} refers to itself", type="")
    return name


_Alternatives = list[tuple[str, Schema]] | None
"""A kind and its schema each; None is anything."""


def _alternatives(schema: Any, definitions: Definitions, seen: tuple[str, ...]) -> _Alternatives:
    if schema is True:
        return None
    if schema is False:
        return []
    if not isinstance(schema, Mapping):
        raise InvalidContract(f"a schema is an object, not {str(schema)[:80]!r}", type="")
    if "$ref" in schema:
        name = _name_of(str(schema["$ref"]), seen, definitions)
        return _alternatives(definitions[name], definitions, (*seen, name))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return _of_all(schema[keyword], definitions, seen)
    if "enum" in schema or "const" in schema:
        return _choice(list(schema.get("enum", [schema.get("const")])))
    telling = {name: value for name, value in schema.items() if name not in _SILENT and name not in ANNOTATIONS}
    said = schema.get("type")
    kinds: list[Any] = said if isinstance(said, list) else [_implied(telling)] if said is None else [said]
    if kinds == [None]:
        return None if not telling else [(kind, telling) for kind in KINDS]
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidContract(f"{str(kind)[:80]!r} is no type of JSON Schema", type="")
    return [(kind, telling if kind != NULL else {}) for kind in kinds]


def _of_all(parts: Any, definitions: Definitions, seen: tuple[str, ...]) -> _Alternatives:
    found: list[tuple[str, Schema]] = []
    for part in parts if isinstance(parts, list) else ():
        alternatives = _alternatives(part, definitions, seen)
        if alternatives is None:
            return None
        found += alternatives
    return found


def _choice(values: list[Any]) -> list[tuple[str, Schema]]:
    return [(_kind_of(value), {} if value is None else {"enum": [value]}) for value in values]


def _kind_of(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), NULL)


def _implied(telling: Schema) -> str | None:
    for kind, keywords in _TELLING.items():
        if telling and set(telling) <= set(keywords):
            return kind
    return None


def _merged(alternatives: _Alternatives) -> dict[str, tuple[Schema, ...]] | None:
    """Return the alternatives by kind, choices of one kind made one and doubles left out."""
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
