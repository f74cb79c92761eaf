from typing import Any

import pytest

from tidings.contract.diff.allowed_values import allowed_values
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
def test_equivalent_schemas_have_one_normal_form(schema: Any) -> None:
    assert allowed_values(schema, DEFINITIONS).kinds == {"string": ({},), "null": ({},)}


@pytest.mark.parametrize("schema", [True, {}, {"description": "Whatever."}, {"anyOf": [{"type": "string"}, True]}])
def test_schema_without_limits_allows_anything(schema: Any) -> None:
    assert allowed_values(schema, {}).anything
    assert str(allowed_values(schema, {})) == "any"


def test_false_allows_no_kind() -> None:
    assert not allowed_values(False, {}).kinds
    assert not allowed_values({"anyOf": [False]}, {}).kinds


def test_choices_of_one_kind_are_joined() -> None:
    found = allowed_values({"anyOf": [{"enum": ["a", 1]}, {"const": "b"}, {"enum": ["a"]}]}, {})
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
def test_schema_without_type_has_the_kind_of_its_keywords(schema: Any, kinds: set[str]) -> None:
    assert set(allowed_values(schema, {}).kinds) == kinds


def test_schema_with_keywords_of_several_kinds_allows_all_kinds() -> None:
    assert len(allowed_values({"maxLength": 3, "minimum": 2}, {}).kinds) == 7
    assert len(allowed_values({"not": {}}, {}).kinds) == 7


def test_nearest_annotation_wins_along_references() -> None:
    found = allowed_values({"$ref": "#/$defs/Alias", "default": "x", "title": "Here"}, DEFINITIONS)
    assert found.annotations == {"title": "Here", "description": "Another name."}
    assert (found.has_default, found.default) == (True, "x")
    assert not allowed_values({"type": "string"}, {}).has_default


@pytest.mark.parametrize(
    "schema", [5, None, {"$ref": "#/$defs/Loop"}, {"$ref": "elsewhere"}, {"type": "text"}, {"anyOf": [5]}]
)
def test_invalid_schema_is_rejected(schema: Any) -> None:
    with pytest.raises(InvalidContract):
        allowed_values(schema, DEFINITIONS)
