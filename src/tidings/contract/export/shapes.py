"""What a payload may hold, as other languages need to know it: JSON Schema, read into few kinds of value."""

from typing import Any

from msgspec import UNSET, Struct

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

    shortest: int | None = None
    """Characters, not bytes and not UTF-16 units."""
    longest: int | None = None
    pattern: str | None = None
    """Found somewhere in it, as Python's `re.search` finds."""
    format: str | None = None
    """JSON Schema's name for what it holds (`date-time`, `uuid`, …) or for how it is encoded (`base64`)."""


class NumberShape(Struct, frozen=True, kw_only=True):
    """A number."""

    whole: bool = False
    least: Bound = None
    most: Bound = None
    above: Bound = None
    below: Bound = None
    multiple_of: Bound = None


class BooleanShape(Struct, frozen=True):
    """True or false."""


class NullShape(Struct, frozen=True):
    """Null."""


class AnyShape(Struct, frozen=True):
    """Any JSON value."""


class EnumShape(Struct, frozen=True):
    """One of a few values."""

    values: tuple[str | int | float | bool | None, ...]


class ArrayShape(Struct, frozen=True, kw_only=True):
    """Values of one kind, in order."""

    items: "Shape"
    shortest: int | None = None
    longest: int | None = None


class TupleShape(Struct, frozen=True, kw_only=True):
    """An array whose places have a meaning each."""

    items: tuple["Shape", ...]
    shortest: int
    """The first so many are always there."""
    closed: bool
    """Whether nothing may follow."""


class MapShape(Struct, frozen=True, kw_only=True):
    """Values of one kind by names that are the publisher's own."""

    values: "Shape"
    names: TextShape | None = None
    fewest: int | None = None
    most: int | None = None


class NamedShape(Struct, frozen=True):
    """What a definition says."""

    name: str


class UnionShape(Struct, frozen=True):
    """What fits one of several."""

    options: tuple["Shape", ...]


class ShapeField(Struct, frozen=True, kw_only=True):
    """A member of a structure."""

    name: str
    """As JSON has it."""
    shape: "Shape"
    required: bool
    default: Any = UNSET
    """What an absent member means, where the schema says so."""
    about: str = ""
    examples: tuple[Any, ...] = ()


class ObjectShape(Struct, frozen=True, kw_only=True):
    """An object with members of its own."""

    fields: tuple[ShapeField, ...]
    closed: bool = False
    """Whether further members are refused."""


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
            return _either(options)
        case EnumSchema(values=values):
            return EnumShape(values)
        case TypedSchema(kind="boolean"):
            return BooleanShape()
        case TypedSchema(kind="null"):
            return NullShape()
        case TypedSchema(kind="string", keywords=keywords):
            return _text(keywords)
        case TypedSchema(kind="number" | "integer" as kind, keywords=keywords):
            return _number(keywords, whole=kind == "integer")
        case TypedSchema(kind="array", keywords=keywords):
            return _array(keywords)
        case TypedSchema(keywords=keywords):
            return _object(keywords)
    return AnyShape()


def _either(schemas: tuple[Any, ...]) -> Shape:
    options: list[Shape] = []
    for each in map(read_shape, schemas):
        options.extend(each.options if isinstance(each, UnionShape) else (each,))
    unique = tuple(dict.fromkeys(options))
    return unique[0] if len(unique) == 1 else UnionShape(unique)


def _text(schema: Schema) -> TextShape:
    return TextShape(
        shortest=schema.get("minLength") or None,
        longest=schema.get("maxLength"),
        pattern=schema.get("pattern"),
        format=schema.get("contentEncoding") or schema.get("format"),
    )


def _number(schema: Schema, *, whole: bool) -> NumberShape:
    return NumberShape(
        whole=whole,
        least=schema.get("minimum"),
        most=schema.get("maximum"),
        above=schema.get("exclusiveMinimum"),
        below=schema.get("exclusiveMaximum"),
        multiple_of=schema.get("multipleOf"),
    )


def _array(schema: Schema) -> Shape:
    if "prefixItems" in schema:
        items = tuple(map(read_shape, schema["prefixItems"]))
        closed = schema.get("items") is False or schema.get("maxItems") == len(items)
        return TupleShape(items=items, shortest=schema.get("minItems", 0), closed=closed)
    return ArrayShape(
        items=read_shape(schema.get("items", True)),
        shortest=schema.get("minItems") or None,
        longest=schema.get("maxItems"),
    )


def _object(schema: Schema) -> Shape:
    if "properties" not in schema:
        names = schema.get("propertyNames")
        return MapShape(
            values=read_shape(schema.get("additionalProperties", True)),
            names=None if names is None else _text(names),
            fewest=schema.get("minProperties") or None,
            most=schema.get("maxProperties"),
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
    """Return whether null fits, as far as can be seen without definitions."""
    if isinstance(shape, UnionShape):
        return any(map(is_nullable, shape.options))
    return isinstance(shape, NullShape | AnyShape) or (isinstance(shape, EnumShape) and None in shape.values)


def remove_null(shape: Shape) -> Shape:
    """Return `shape` with null left out of its choices."""
    if isinstance(shape, UnionShape):
        rest = tuple(option for option in map(remove_null, shape.options) if not isinstance(option, NullShape))
        return rest[0] if len(rest) == 1 else UnionShape(rest)
    if isinstance(shape, EnumShape):
        return EnumShape(tuple(value for value in shape.values if value is not None))
    return shape


def list_references(shape: Shape) -> list[str]:
    """Return the definitions that a shape refers to, in the order that they stand in."""
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
