from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from tidings.cli.publish import describe_form, list_events
from tidings.contract.event_types import BUILTIN


@pytest.mark.parametrize(
    ("hint", "form"),
    [
        (str, "text"),
        (Annotated[int, Meta(ge=0)], "whole number, 0 or more"),
        (Annotated[float, Meta(ge=0, le=100)] | None, "number, 0 to 100"),
        (Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], "whole number"),
        (str | int | None, "text or whole number"),
        (list[str], "list of text"),
        (dict[str, Any], "object"),
        (dict[str, float] | None, "object of numbers"),
        (Literal["a", "b"], "a | b"),
        (bool, "true or false"),
        (Any, "any JSON"),
    ],
)
def test_types_are_described_in_words(hint: object, form: str) -> None:
    assert describe_form(hint) == form


def test_list_has_every_publishable_type_with_its_key() -> None:
    publishable = {event.type: event.key for event in BUILTIN if event.publishable}
    found = {each.type: next((field.name for field in each.fields if field.key), None) for each in list_events()}
    assert found == publishable
