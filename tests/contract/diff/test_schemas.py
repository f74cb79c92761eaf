"""Verdicts, compared with an independent validator: values of one schema are validated against the other."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.contract.diff.mutations_of_fields import FIELDS
from tests.contract.diff.mutations_of_rows import Case
from tests.contract.diff.mutations_of_values import VALUES
from tests.contract.diff.shop import BASE, document, mutated
from tests.contract.diff.values import values_of

from tidings.contract.diff.compare import diff_documents
from tidings.contract.diff.schemas import LimitChange, SchemaComparison, compare_choices, compare_numbers
from tidings.contract.json_schema import Schema
from tidings.exceptions import InvalidContract

MUTATIONS: tuple[Case, ...] = (*FIELDS, *VALUES)
UNPROVEN = {
    "default-changed",  # about the meaning of an absent field
    "pattern-changed",  # undecidable
    "format-added",  # to a validator of JSON Schema, a format is an annotation
    "format-removed",
    "format-changed",
    "keyword-changed",
    "object-opened",  # a writer sends no undeclared members
    "object-closed",
    "field-refused",
    "field-unexpected",
    "object-form-changed",  # two forms that may happen to fit each other: no rule is that precise
    "array-form-changed",
    "variants-changed",
}
"""Rules whose break a validator cannot detect."""
Payload = tuple[dict[str, Any], dict[str, Any]]
"""A schema, and the definitions that it refers to."""


def payloads(*mutations: Any) -> tuple[Payload, Payload, list[tuple[str, bool, bool]]]:
    """Return both payloads with their differing fields only, and the rule and the broken sides of each change."""
    old, new = BASE, mutated(*mutations)
    changes = diff_documents(document(old), document(new)).changes
    fields = {change.path.removeprefix("$.data.").split(".")[0].split("[")[0] for change in changes}
    fields = fields or {*old["$defs"]["Trade"]["properties"]}
    found = []
    for contract in (old, new):
        trade = contract["$defs"]["Trade"]
        properties = {name: schema for name, schema in trade["properties"].items() if name in fields}
        needed = [name for name in trade["required"] if name in properties]
        found.append(({**trade, "properties": properties, "required": needed}, contract["$defs"]))
    return found[0], found[1], [(each.rule.id, each.breaks("readers"), each.breaks("writers")) for each in changes]


class RefusedError(Exception):
    """A value that is valid for the writer and invalid for the reader."""


def is_refused(written: Payload, read: Payload, examples: int) -> bool:
    """Return whether a value is found that is valid for the writer and invalid for the reader."""
    validator = Draft202012Validator({**read[0], "$defs": read[1]})

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(values_of(written[0], written[1]))
    def look(value: Any) -> None:
        if not validator.is_valid(value):
            raise RefusedError

    try:
        look()
    except RefusedError:
        return True
    return False


@pytest.mark.parametrize("side", ["readers", "writers"])
@pytest.mark.parametrize(("about", "mutations"), [case[:2] for case in MUTATIONS], ids=[case[0] for case in MUTATIONS])
def test_verdicts_agree_with_a_validator(
    about: str, mutations: tuple[Any, ...], side: Literal["readers", "writers"]
) -> None:
    old, new, changes = payloads(*mutations)
    written, read = (new, old) if side == "readers" else (old, new)
    breaking = [rule for rule, readers, writers in changes if (readers if side == "readers" else writers)]
    if not breaking:
        assert not is_refused(written, read, 25)
    elif not set(breaking) & UNPROVEN:
        assert is_refused(written, read, 300)


_bounds = st.fixed_dictionaries({}, optional={"minimum": st.integers(0, 2), "maximum": st.integers(3, 5)})
_numbers = st.builds(lambda kind, bounds: {"type": kind, **bounds}, st.sampled_from(["integer", "number"]), _bounds)
_lengths = st.fixed_dictionaries({}, optional={"minLength": st.integers(0, 1), "maxLength": st.integers(2, 3)})
_texts = _lengths.map(lambda bounds: {"type": "string", **bounds})
_choices = st.lists(st.sampled_from(["a", "bb", "ccc", 0, 2, 7, None]), min_size=1, max_size=4, unique=True).map(
    lambda values: {"enum": values}
)
_leaves = _numbers | _texts | _choices | st.sampled_from([{}, {"type": "boolean"}, {"type": "null"}])


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def made(properties: dict[str, Any], needed: set[str]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": sorted(needed & set(properties))}

    names = st.sampled_from(["a", "b", "c"])
    return st.builds(made, st.dictionaries(names, inner, max_size=3), st.sets(names))


def _compounds(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    counts = st.fixed_dictionaries({}, optional={"minItems": st.integers(0, 1), "maxItems": st.integers(2, 3)})
    return st.one_of(
        _objects(inner),
        st.builds(lambda items, bounds: {"type": "array", "items": items, **bounds}, inner, counts),
        inner.map(lambda values: {"type": "object", "additionalProperties": values}),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
    )


schemas = st.recursive(_leaves, _compounds, max_leaves=4)
_WRAPPERS: tuple[Callable[[Any], Any], ...] = (
    lambda schema: schema,
    lambda schema: {"type": "array", "items": schema},
    lambda schema: {"type": "object", "additionalProperties": schema},
    lambda schema: {"type": "object", "properties": {"a": schema}},
    lambda schema: {"anyOf": [schema, {"type": "null"}]},
)
_near = st.builds(lambda old, new, wrap: (wrap(old), wrap(new)), _leaves, _leaves, st.sampled_from(_WRAPPERS))
pairs = st.tuples(schemas, schemas) | _near


def breaks(old: Any, new: Any) -> tuple[bool, bool]:
    """Return whether the changes from one schema to another break readers, and writers."""
    changes = list(SchemaComparison("a:b", {}, {}).compare(old, new, "$.data"))
    return any(each.breaks("readers") for each in changes), any(each.breaks("writers") for each in changes)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(pairs, st.data())
def test_compatible_change_keeps_values_valid(pair: tuple[Any, Any], data: st.DataObject) -> None:
    old, new = pair
    readers, writers = breaks(old, new)
    if not readers:
        Draft202012Validator(old).validate(data.draw(values_of(new, {})))
    if not writers:
        Draft202012Validator(new).validate(data.draw(values_of(old, {})))


@settings(deadline=None)
@given(schemas)
def test_schema_does_not_differ_from_itself(schema: Any) -> None:
    assert breaks(schema, schema) == (False, False)
    assert not list(SchemaComparison("a:b", {}, {}).compare(schema, schema, "$"))


@settings(deadline=None)
@given(pairs)
def test_reverse_change_swaps_readers_and_writers(pair: tuple[Any, Any]) -> None:
    old, new = pair
    assert breaks(old, new) == breaks(new, old)[::-1]


TREE = {
    "Tree": {
        "type": "object",
        "properties": {
            "of": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Leaf"}, {"$ref": "#/$defs/Tree"}]}}
        },
    },
    "Leaf": {"type": "object", "properties": {"kind": {"enum": ["leaf"]}}, "required": ["kind"]},
}


def test_recursive_schema_is_compared_once() -> None:
    other = {**TREE, "Tree": {**TREE["Tree"], "required": ["of"]}}
    top = {"$ref": "#/$defs/Tree"}
    assert not list(SchemaComparison("a:b", TREE, TREE).compare(top, top, "$"))
    found = list(SchemaComparison("a:b", TREE, other).compare(top, top, "$"))
    assert (found[0].path, found[0].rule.id) == ("$.of", "field-became-required")


@pytest.mark.parametrize(
    "schema",
    [5, {"$ref": "#/$defs/none"}, {"$ref": "#/$defs/Loop"}, {"type": "text"}, {"anyOf": [{"$ref": "#/$defs/Loop"}, 5]}],
)
def test_invalid_schema_is_rejected(schema: Any) -> None:
    definitions = {"Loop": {"$ref": "#/$defs/Loop"}}
    with pytest.raises(InvalidContract):
        list(SchemaComparison("a:b", definitions, definitions).compare(schema, schema, "$"))


@pytest.mark.parametrize(
    "limits", [{"pattern": r"^\p{Lu}+$"}, {"pattern": "(?<name>x)"}, {"pattern": "["}, {"format": "date"}]
)
def test_choice_against_a_foreign_pattern_or_format_is_undecidable(limits: Schema) -> None:
    assert [found[0] for found in compare_choices(limits, {"enum": ["AB"]})] == ["choice-changed"]


@pytest.mark.parametrize(
    ("old", "new", "kinds", "expected"),
    [
        ({"exclusiveMinimum": 0.5}, {"minimum": 1}, ("integer", "integer"), []),
        ({"exclusiveMaximum": 2.5}, {"maximum": 2}, ("integer", "integer"), []),
        ({"minimum": 1, "exclusiveMinimum": 3}, {"exclusiveMinimum": 3}, ("number", "number"), []),
        ({"maximum": 1}, {"exclusiveMaximum": 1}, ("number", "number"), [("maximum-lowered", 1, "1, itself excluded")]),
        ({"multipleOf": 0.1}, {"multipleOf": 0.2}, ("number", "number"), [("step-changed", 0.1, 0.2)]),
        ({"multipleOf": 1}, {}, ("number", "number"), [("step-removed", 1, None)]),
        ({"minimum": -(2**63)}, {}, ("integer", "number"), []),
        ({"minimum": -(2**63)}, {}, ("integer", "integer"), [("minimum-lowered", -(2**63), None)]),
    ],
)
def test_bounds_of_numbers_are_compared(
    old: Schema, new: Schema, kinds: tuple[str, str], expected: list[LimitChange]
) -> None:
    assert list(compare_numbers(old, new, old_kind=kinds[0], new_kind=kinds[1])) == expected


@pytest.mark.parametrize(
    ("limits", "value", "fits"),
    [
        ({"minimum": 2}, 2, True),
        ({"exclusiveMinimum": 2}, 2, False),
        ({"exclusiveMaximum": 2}, 2, False),
        ({"maximum": 2}, 3, False),
        ({"multipleOf": 2}, 3, False),
        ({"multipleOf": 0.5}, 3, False),  # it is one, but fractional steps are not decided
        ({"maximum": 2}, 1.5, False),
    ],
)
def test_choice_within_the_old_limits_closes_them(limits: Schema, value: float, fits: bool) -> None:
    (found,) = compare_choices(limits, {"enum": [value]})
    assert found[0] == ("choice-closed" if fits else "choice-changed")
