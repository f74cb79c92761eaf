"""Shapes: the kinds of values that exports to other languages distinguish, built from JSON Schema."""

from typing import Any

from msgspec import UNSET, Struct, structs

from tidings.contract.json_schema import (
    EnumSchema,
    ReferenceSchema,
    Schema,
    TypedSchema,
    UnionSchema,
    annotations_of,
    read_schema,
)

Bound = int | float | None


class TextShape(Struct, frozen=True, kw_only=True):
    """A string."""

    min_length: int | None = None
    """Minimum number of characters, which are neither bytes nor UTF-16 units."""
    max_length: int | None = None
    """Maximum number of characters."""
    pattern: str | None = None
    """Regular expression that is found in the text, as by Python's `re.search`."""
    format: str | None = None
    """JSON Schema's name of the content (`date-time`, `uuid`, …) or of the encoding (`base64`)."""


class NumberShape(Struct, frozen=True, kw_only=True):
    """A number."""

    integer: bool = False
    """Whether fractions are invalid."""
    minimum: Bound = None
    maximum: Bound = None
    exclusive_minimum: Bound = None
    exclusive_maximum: Bound = None
    multiple_of: Bound = None


class BooleanShape(Struct, frozen=True):
    """True or false."""


class NullShape(Struct, frozen=True):
    """Null."""


class AnyShape(Struct, frozen=True):
    """Any JSON value."""


class EnumShape(Struct, frozen=True):
    """One of the listed values."""

    values: tuple[str | int | float | bool | None, ...]


class ArrayShape(Struct, frozen=True, kw_only=True):
    """An array whose items have one shape."""

    items: "Shape"
    min_length: int | None = None
    max_length: int | None = None


class TupleShape(Struct, frozen=True, kw_only=True):
    """An array in which each place has its own shape."""

    items: tuple["Shape", ...]
    min_length: int
    """Number of leading items that are always present."""
    closed: bool
    """Whether further items are invalid."""


class MapShape(Struct, frozen=True, kw_only=True):
    """An object whose values have one shape, under names that the publisher chooses."""

    values: "Shape"
    names: TextShape | None = None
    """The shape of the names; None for any text."""
    min_length: int | None = None
    max_length: int | None = None


class NamedShape(Struct, frozen=True):
    """The shape of a definition."""

    name: str
    """Name of the definition."""


class UnionShape(Struct, frozen=True):
    """One of several shapes."""

    options: tuple["Shape", ...]


class ShapeField(Struct, frozen=True, kw_only=True):
    """A member of an object with declared fields."""

    name: str
    """Name of the member in JSON."""
    shape: "Shape"
    required: bool
    default: Any = UNSET
    """The meaning of an absent member, if the schema has a default."""
    about: str = ""
    """Description of the member."""
    examples: tuple[Any, ...] = ()


class ObjectShape(Struct, frozen=True, kw_only=True):
    """An object with declared fields."""

    fields: tuple[ShapeField, ...]
    closed: bool = False
    """Whether further members are invalid."""


Shape = (
    TextShape
    | NumberShape
    | BooleanShape
    | NullShape
    | AnyShape
    | EnumShape
    | ArrayShape
    | TupleShape
    | MapShape
    | NamedShape
    | UnionShape
    | ObjectShape
)


def read_shape(schema: Any) -> Shape:
    """Return the shape of a JSON Schema as msgspec writes it; keywords without a place in a shape are left out."""
    match read_schema(schema):
        case ReferenceSchema() as form:
            return NamedShape(form.name)
        case UnionSchema(options=options):
            return _union(options)
        case EnumSchema(values=values):
            return EnumShape(values)
        case TypedSchema(kind="boolean"):
            return BooleanShape()
        case TypedSchema(kind="null"):
            return NullShape()
        case TypedSchema(kind="string", keywords=keywords):
            return _text(keywords)
        case TypedSchema(kind="number" | "integer" as kind, keywords=keywords):
            return _number(keywords, integer=kind == "integer")
        case TypedSchema(kind="array", keywords=keywords):
            return _array(keywords)
        case TypedSchema(keywords=keywords):
            return _object(keywords)
    return AnyShape()


def _union(schemas: tuple[Any, ...]) -> Shape:
    options: list[Shape] = []
    for each in map(read_shape, schemas):
        options.extend(each.options if isinstance(each, UnionShape) else (each,))
    unique = tuple(dict.fromkeys(options))
    return unique[0] if len(unique) == 1 else UnionShape(unique)


def _text(schema: Schema) -> TextShape:
    return TextShape(
        min_length=schema.get("minLength") or None,
        max_length=schema.get("maxLength"),
        pattern=schema.get("pattern"),
        format=schema.get("contentEncoding") or schema.get("format"),
    )


def _number(schema: Schema, *, integer: bool) -> NumberShape:
    return NumberShape(
        integer=integer,
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        exclusive_minimum=schema.get("exclusiveMinimum"),
        exclusive_maximum=schema.get("exclusiveMaximum"),
        multiple_of=schema.get("multipleOf"),
    )


def _array(schema: Schema) -> Shape:
    if "prefixItems" in schema:
        items = tuple(map(read_shape, schema["prefixItems"]))
        closed = schema.get("items") is False or schema.get("maxItems") == len(items)
        return TupleShape(items=items, min_length=schema.get("minItems", 0), closed=closed)
    return ArrayShape(
        items=read_shape(schema.get("items", True)),
        min_length=schema.get("minItems") or None,
        max_length=schema.get("maxItems"),
    )


def _object(schema: Schema) -> Shape:
    if "properties" not in schema:
        names = schema.get("propertyNames")
        return MapShape(
            values=read_shape(schema.get("additionalProperties", True)),
            names=None if names is None else _text(names),
            min_length=schema.get("minProperties") or None,
            max_length=schema.get("maxProperties"),
        )
    required = schema.get("required", ())
    fields = []
    for name, of_field in schema["properties"].items():
        notes = annotations_of(of_field)
        field = ShapeField(
            name=name,
            shape=read_shape(of_field),
            required=name in required,
            default=notes.get("default", UNSET),
            about=" ".join(str(notes.get("description", "")).split()),
            examples=tuple(notes.get("examples", ())),
        )
        fields.append(field)
    return ObjectShape(fields=tuple(fields), closed=schema.get("additionalProperties") is False)


def is_nullable(shape: Shape) -> bool:
    """Return whether null is valid, as far as this is visible without the definitions."""
    if isinstance(shape, UnionShape):
        return any(map(is_nullable, shape.options))
    return isinstance(shape, NullShape | AnyShape) or (isinstance(shape, EnumShape) and None in shape.values)


def remove_null(shape: Shape) -> Shape:
    """Return `shape` without null among its choices."""
    if isinstance(shape, UnionShape):
        rest = tuple(option for option in map(remove_null, shape.options) if not isinstance(option, NullShape))
        return rest[0] if len(rest) == 1 else UnionShape(rest)
    if isinstance(shape, EnumShape):
        return EnumShape(tuple(value for value in shape.values if value is not None))
    return shape


def require(shape: ObjectShape, names: frozenset[str]) -> ObjectShape:
    """Return `shape` with further required fields."""
    fields = [structs.replace(field, required=field.required or field.name in names) for field in shape.fields]
    return structs.replace(shape, fields=tuple(fields))


def list_references(shape: Shape) -> list[str]:
    """Return the names of the definitions that a shape refers to, in their order."""
    if isinstance(shape, NamedShape):
        return [shape.name]
    parts: tuple[Shape, ...] = ()
    if isinstance(shape, ObjectShape):
        parts = tuple(field.shape for field in shape.fields)
    elif isinstance(shape, UnionShape):
        parts = shape.options
    elif isinstance(shape, TupleShape):
        parts = shape.items
    elif isinstance(shape, ArrayShape):
        parts = (shape.items,)
    elif isinstance(shape, MapShape):
        parts = (shape.values,)
    return [name for part in parts for name in list_references(part)]
