from typing import Any

import pytest

from tidings.contract.export import shapes
from tidings.contract.export.shapes import Shape, is_nullable, list_references, read_shape, remove_null

TEXT, NUMBER = shapes.TextShape(), shapes.NumberShape()


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({}, shapes.AnyShape()),
        (True, shapes.AnyShape()),
        ({"type": "null"}, shapes.NullShape()),
        ({"type": "boolean"}, shapes.BooleanShape()),
        ({"type": "integer", "minimum": 0}, shapes.NumberShape(integer=True, minimum=0)),
        (
            {"type": "number", "exclusiveMaximum": 1, "multipleOf": 0.5},
            shapes.NumberShape(exclusive_maximum=1, multiple_of=0.5),
        ),
        ({"type": "string", "minLength": 0, "maxLength": 3}, shapes.TextShape(max_length=3)),
        ({"type": "string", "contentEncoding": "base64"}, shapes.TextShape(format="base64")),
        ({"const": "a"}, shapes.EnumShape(("a",))),
        ({"enum": ["a", 1, None]}, shapes.EnumShape(("a", 1, None))),
        ({"$ref": "#/$defs/Trade"}, shapes.NamedShape("Trade")),
        ({"type": ["string", "null"]}, shapes.UnionShape((TEXT, shapes.NullShape()))),
        ({"anyOf": [{"type": "string"}]}, TEXT),
        (
            {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}]},
            shapes.UnionShape((TEXT, NUMBER)),
        ),
        ({"type": "array", "maxItems": 2}, shapes.ArrayShape(items=shapes.AnyShape(), max_length=2)),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "minItems": 1, "maxItems": 1, "items": False},
            shapes.TupleShape(items=(TEXT,), min_length=1, closed=True),
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"maxLength": 2}},
            shapes.MapShape(values=TEXT, names=shapes.TextShape(max_length=2)),
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string", "description": "b\n  c"}, "d": {"type": "number", "default": 0}},
                "required": ["a"],
                "additionalProperties": False,
            },
            shapes.ObjectShape(
                fields=(
                    shapes.ShapeField(name="a", shape=TEXT, required=True, about="b c"),
                    shapes.ShapeField(name="d", shape=NUMBER, required=False, default=0),
                ),
                closed=True,
            ),
        ),
    ],
)
def test_schema_is_read_as_a_shape(schema: Any, shape: Shape) -> None:
    assert read_shape(schema) == shape


def test_null_is_found_and_removed() -> None:
    either = read_shape({"anyOf": [{"type": "string"}, {"enum": ["a", None]}, {"type": "null"}]})
    assert is_nullable(either)
    assert remove_null(either) == shapes.UnionShape((TEXT, shapes.EnumShape(("a",))))
    assert remove_null(read_shape({"type": ["string", "null"]})) == TEXT
    assert not is_nullable(TEXT)


def test_references_of_a_shape_are_listed_in_order() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/$defs/A"}},
            "b": {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]}},
            "c": {"type": "array", "prefixItems": [{"$ref": "#/$defs/C"}]},
        },
    }
    assert list_references(read_shape(schema)) == ["A", "B", "C"]
