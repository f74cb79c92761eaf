from typing import Any

import pytest

from tidings.contract.export import shapes
from tidings.contract.export.shapes import Shape, is_nullable, named_in, shape_of, without_null

TEXT, NUMBER = shapes.Text(), shapes.Number()


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({}, shapes.Anything()),
        (True, shapes.Anything()),
        ({"type": "null"}, shapes.Nothing()),
        ({"type": "boolean"}, shapes.Flag()),
        ({"type": "integer", "minimum": 0}, shapes.Number(whole=True, least=0)),
        ({"type": "number", "exclusiveMaximum": 1, "multipleOf": 0.5}, shapes.Number(below=1, multiple_of=0.5)),
        ({"type": "string", "minLength": 0, "maxLength": 3}, shapes.Text(longest=3)),
        ({"type": "string", "contentEncoding": "base64"}, shapes.Text(format="base64")),
        ({"const": "a"}, shapes.Choice(("a",))),
        ({"enum": ["a", 1, None]}, shapes.Choice(("a", 1, None))),
        ({"$ref": "#/$defs/Trade"}, shapes.Named("Trade")),
        ({"type": ["string", "null"]}, shapes.Either((TEXT, shapes.Nothing()))),
        ({"anyOf": [{"type": "string"}]}, TEXT),
        (
            {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}]},
            shapes.Either((TEXT, NUMBER)),
        ),
        ({"type": "array", "maxItems": 2}, shapes.Array(items=shapes.Anything(), longest=2)),
        (
            {"type": "array", "prefixItems": [{"type": "string"}], "minItems": 1, "maxItems": 1, "items": False},
            shapes.Row(items=(TEXT,), shortest=1, closed=True),
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": {"maxLength": 2}},
            shapes.Mapping(values=TEXT, names=shapes.Text(longest=2)),
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string", "description": "b\n  c"}, "d": {"type": "number", "default": 0}},
                "required": ["a"],
                "additionalProperties": False,
            },
            shapes.Structure(
                fields=(
                    shapes.Field(name="a", shape=TEXT, required=True, about="b c"),
                    shapes.Field(name="d", shape=NUMBER, required=False, default=0),
                ),
                closed=True,
            ),
        ),
    ],
)
def test_a_schema_is_read(schema: Any, shape: Shape) -> None:
    assert shape_of(schema) == shape


def test_null_is_seen_and_taken_away() -> None:
    either = shape_of({"anyOf": [{"type": "string"}, {"enum": ["a", None]}, {"type": "null"}]})
    assert is_nullable(either)
    assert without_null(either) == shapes.Either((TEXT, shapes.Choice(("a",))))
    assert without_null(shape_of({"type": ["string", "null"]})) == TEXT
    assert not is_nullable(TEXT)


def test_the_definitions_in_a_shape_are_found_in_order() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/$defs/A"}},
            "b": {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]}},
            "c": {"type": "array", "prefixItems": [{"$ref": "#/$defs/C"}]},
        },
    }
    assert named_in(shape_of(schema)) == ["A", "B", "C"]
