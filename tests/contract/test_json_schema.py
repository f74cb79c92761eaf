from typing import Any

import pytest

from tidings.contract.json_schema import (
    AnySchema,
    EnumSchema,
    NoSchema,
    ReferenceSchema,
    SchemaForm,
    TypedSchema,
    UnionSchema,
    UntypedSchema,
    annotations_of,
    find_definition,
    read_schema,
)
from tidings.exceptions import InvalidContract


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        (True, AnySchema()),
        ({}, AnySchema()),
        ({"$schema": "s", "title": "T", "description": "d", "default": 5}, AnySchema()),
        (False, NoSchema()),
        ({"$ref": "#/$defs/A", "description": "d"}, ReferenceSchema("#/$defs/A")),
        ({"anyOf": [True], "minimum": 1}, UnionSchema("anyOf", (True,), {"minimum": 1})),
        ({"oneOf": []}, UnionSchema("oneOf", (), {})),
        (
            {"type": ["string", "null"], "maxLength": 1},
            UnionSchema("type", ({"type": "string", "maxLength": 1}, {"type": "null", "maxLength": 1}), {}),
        ),
        ({"enum": ["a", None], "type": "string", "maxLength": 1}, EnumSchema(("a", None), {"maxLength": 1})),
        ({"const": 1}, EnumSchema((1,), {})),
        ({"type": "integer", "minimum": 1, "title": "T"}, TypedSchema("integer", {"minimum": 1})),
        ({"maxLength": 1, "examples": ["a"]}, UntypedSchema({"maxLength": 1})),
    ],
)
def test_schema_is_read_as_one_form(schema: Any, form: SchemaForm) -> None:
    assert read_schema(schema) == form


@pytest.mark.parametrize("schema", [5, None, "string", [], {"type": "text"}, {"enum": "a"}])
def test_invalid_schema_is_rejected_with_its_place(schema: Any) -> None:
    with pytest.raises(InvalidContract, match=r"\$\.a: invalid"):
        read_schema(schema, "$.a")


def test_annotations_are_the_keywords_that_limit_nothing() -> None:
    assert annotations_of({"type": "string", "title": "T", "default": None}) == {"title": "T", "default": None}
    assert annotations_of(True) == {}


def test_definition_is_found_by_its_reference() -> None:
    assert find_definition(ReferenceSchema("#/$defs/A"), {"A": True}, ()) is True


@pytest.mark.parametrize(
    ("reference", "fault"), [("#/$defs/B", "is not in"), ("A", "is not in"), ("#/$defs/A", "refers to itself")]
)
def test_reference_that_leads_nowhere_is_rejected(reference: str, fault: str) -> None:
    with pytest.raises(InvalidContract, match=fault):
        find_definition(ReferenceSchema(reference), {"A": True}, {"A"})
