import pytest

from tidings.contract.diff.schemas import LimitChange, compare_choices, compare_numbers
from tidings.contract.json_schema import Schema


@pytest.mark.parametrize(
    "limits", [{"pattern": r"^\p{Lu}+$"}, {"pattern": "(?<name>x)"}, {"pattern": "["}, {"format": "date"}]
)
def test_of_a_form_or_a_pattern_in_another_language_nobody_can_tell(limits: Schema) -> None:
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
def test_numbers_at_their_limits(old: Schema, new: Schema, kinds: tuple[str, str], expected: list[LimitChange]) -> None:
    assert list(compare_numbers(old, new, old_kind=kinds[0], new_kind=kinds[1])) == expected


@pytest.mark.parametrize(
    ("limits", "value", "fits"),
    [
        ({"minimum": 2}, 2, True),
        ({"exclusiveMinimum": 2}, 2, False),
        ({"exclusiveMaximum": 2}, 2, False),
        ({"maximum": 2}, 3, False),
        ({"multipleOf": 2}, 3, False),
        ({"multipleOf": 0.5}, 3, False),  # it is; among fractions, nobody asks
        ({"maximum": 2}, 1.5, False),
    ],
)
def test_a_choice_closes_what_it_surely_fits(limits: Schema, value: float, fits: bool) -> None:
    (found,) = compare_choices(limits, {"enum": [value]})
    assert found[0] == ("choice-closed" if fits else "choice-changed")
