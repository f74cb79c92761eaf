"""The reader of JSON Schema that exports, comparisons and contract files share.

`read_schema` reads one level of a schema: it decides which form the schema has and keeps every keyword. It covers the
part of 2020-12 that msgspec writes. It stops at one level because its users build different things from the parts:
`contract.export.shapes` keeps references as names, `contract.diff.allowed_values` follows them and sorts alternatives
by kind, and `contract.payload_structs` makes Python types and rejects keywords that those cannot enforce.
"""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from tidings.exceptions import InvalidContract

Schema = Mapping[str, Any]
Definitions = Mapping[str, Any]
"""Schemas by the names that references use."""

REFERENCE_PREFIX = "#/$defs/"
"""Start of every reference to a definition."""
NULL = "null"
_NUMBER = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
KEYWORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "contentEncoding"}),
    "integer": _NUMBER,
    "number": _NUMBER,
    "boolean": frozenset(),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
    ),
    NULL: frozenset(),
}
"""The keywords that limit the values of each kind."""
KINDS = tuple(KEYWORDS)
"""The values of `type`."""
_ANNOTATIONS = frozenset({"title", "description", "examples", "default", "deprecated", "$comment"})
_IDENTITY = frozenset({"$schema", "$id", "$defs"})
"""Keywords that identify a schema and limit nothing."""


class AnySchema(Struct, frozen=True):
    """A schema that allows every value: `true`, or an object without a limiting keyword."""


class NoSchema(Struct, frozen=True):
    """A schema that allows no value: `false`."""


class ReferenceSchema(Struct, frozen=True):
    """A schema that stands for a definition."""

    reference: str

    @property
    def name(self) -> str:
        """The name of the definition."""
        return self.reference.removeprefix(REFERENCE_PREFIX)


class UnionSchema(Struct, frozen=True):
    """A schema that allows what one of several schemas allows."""

    keyword: str
    """`anyOf`, `oneOf`, or `type` where that is a list."""
    options: tuple[Any, ...]
    """The schemas, not read yet."""
    others: Schema
    """The limiting keywords beside `keyword`; those beside a list of types are part of each option."""


class EnumSchema(Struct, frozen=True):
    """A schema that lists the values it allows: `enum` or `const`."""

    values: tuple[Any, ...]
    others: Schema
    """The limiting keywords beside it, except for `type`."""


class TypedSchema(Struct, frozen=True):
    """A schema of one kind of value."""

    kind: str
    """One of `KINDS`."""
    keywords: Schema
    """The limiting keywords, known or not."""


class UntypedSchema(Struct, frozen=True):
    """A schema with limiting keywords and without a type."""

    keywords: Schema


SchemaForm = AnySchema | NoSchema | ReferenceSchema | UnionSchema | EnumSchema | TypedSchema | UntypedSchema


def schema_error(fault: str, path: str = "") -> InvalidContract:
    """Return the error of an invalid schema.

    Args:
        fault: The fault, as a clause.
        path: Place of the schema in its document.
    """
    return InvalidContract(f"{path}: {fault}" if path else fault, type="")


def read_schema(schema: Any, path: str = "") -> SchemaForm:
    """Return the form of a schema.

    Args:
        schema: The schema, as plain values.
        path: Its place, for errors.

    Raises:
        InvalidContract: The value is not a schema.
    """
    if schema is True:
        return AnySchema()
    if schema is False:
        return NoSchema()
    if not isinstance(schema, Mapping):
        raise schema_error(f"invalid schema {str(schema)[:80]!r}: expected an object", path)
    if "$ref" in schema:
        return ReferenceSchema(str(schema["$ref"]))
    keywords = limiting_keywords(schema)
    for keyword in ("anyOf", "oneOf"):
        if keyword in keywords:
            options = keywords.pop(keyword)
            return UnionSchema(keyword, tuple(options) if isinstance(options, list) else (), keywords)
    kind = keywords.pop("type", None)
    if "enum" in keywords or "const" in keywords:
        values = keywords.pop("enum", [keywords.pop("const", None)])
        if not isinstance(values, list):
            raise schema_error(f"invalid enum {str(values)[:80]!r}: expected an array", path)
        return EnumSchema(tuple(values), keywords)
    if isinstance(kind, list):
        return UnionSchema("type", tuple({**schema, "type": each} for each in kind), {})
    if kind is None:
        return UntypedSchema(keywords) if keywords else AnySchema()
    if kind not in KINDS:
        raise schema_error(f"invalid type {str(kind)[:80]!r}: expected {', '.join(KINDS[:-1])} or {KINDS[-1]}", path)
    return TypedSchema(kind, keywords)


def annotations_of(schema: Any) -> dict[str, Any]:
    """Return the keywords of a schema that limit nothing, such as its description and its default."""
    if not isinstance(schema, Mapping):
        return {}
    return {name: value for name, value in schema.items() if name in _ANNOTATIONS}


def limiting_keywords(schema: Schema) -> dict[str, Any]:
    """Return the keywords of a schema that decide what it allows."""
    return {name: value for name, value in schema.items() if name not in _ANNOTATIONS and name not in _IDENTITY}


def find_definition(
    schema: ReferenceSchema, definitions: Definitions, followed: Collection[str], path: str = ""
) -> Any:
    """Return the schema that a reference stands for.

    Args:
        schema: The reference.
        definitions: The definitions of its document.
        followed: Names of the definitions that led here.
        path: Its place, for errors.

    Raises:
        InvalidContract: The definition does not exist, or led to itself.
    """
    if schema.reference == schema.name or schema.name not in definitions:
        raise schema_error(f"{schema.reference!r} is not in $defs", path)
    if schema.name in followed:
        raise schema_error(f"{schema.reference!r} refers to itself", path)
    return definitions[schema.name]
