from typing import Any

import pytest

from tidings.contract.diff.shapes import shape_of
from tidings.exceptions import InvalidContract

DEFINITIONS: dict[str, Any] = {
    "Text": {"title": "Text", "type": "string"},
    "Alias": {"$ref": "#/$defs/Text", "description": "Another name."},
    "Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}]},
}
SAME = [
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"oneOf": [{"$ref": "#/$defs/Text"}, {"enum": [None]}]},
    {"anyOf": [{"type": "string"}, {"const": "x"}, {"type": ["null"]}]},
    {"anyOf": [{"anyOf": [{"type": "string"}]}, {"type": "null"}, {"type": "string"}]},
]


@pytest.mark.parametrize("schema", SAME)
def test_what_allows_the_same_is_the_same(schema: Any) -> None:
    assert shape_of(schema, DEFINITIONS).kinds == {"string": ({},), "null": ({},)}


@pytest.mark.parametrize("schema", [True, {}, {"description": "Whatever."}, {"anyOf": [{"type": "string"}, True]}])
def test_what_allows_everything(schema: Any) -> None:
    assert shape_of(schema, {}).anything


def test_what_allows_nothing() -> None:
    assert not shape_of(False, {}).kinds
    assert not shape_of({"anyOf": [False]}, {}).kinds


def test_choices_of_one_kind_are_one() -> None:
    found = shape_of({"anyOf": [{"enum": ["a", 1]}, {"const": "b"}, {"enum": ["a"]}]}, {})
    assert found.kinds == {"string": ({"enum": ["a", "b"]},), "integer": ({"enum": [1]},)}


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({"maxLength": 3}, {"string"}),
        ({"minimum": 3}, {"number"}),
        ({"items": {}}, {"array"}),
        ({"required": []}, {"object"}),
    ],
)
def test_a_schema_that_names_no_type_is_of_the_one_it_tells_of(schema: Any, kinds: set[str]) -> None:
    assert set(shape_of(schema, {}).kinds) == kinds


def test_one_that_tells_of_several_or_of_none_may_be_of_any() -> None:
    assert len(shape_of({"maxLength": 3, "minimum": 2}, {}).kinds) == 7
    assert len(shape_of({"not": {}}, {}).kinds) == 7


def test_annotations_are_taken_on_the_way_nearest_first() -> None:
    found = shape_of({"$ref": "#/$defs/Alias", "default": "x", "title": "Here"}, DEFINITIONS)
    assert found.notes == {"title": "Here", "description": "Another name."}
    assert (found.has_default, found.default) == (True, "x")
    assert not shape_of({"type": "string"}, {}).has_default


@pytest.mark.parametrize(
    "schema", [5, None, {"$ref": "#/$defs/Loop"}, {"$ref": "elsewhere"}, {"type": "text"}, {"anyOf": [5]}]
)
def test_what_is_no_schema(schema: Any) -> None:
    with pytest.raises(InvalidContract):
        shape_of(schema, DEFINITIONS)
