import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta, Struct

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.export import shapes
from tidings.contract.export.descriptions import (
    describe_kind,
    describe_limits,
    list_structs,
    read_field_docstrings,
    to_sentence,
)
from tidings.contract.export.document import build_contract_document
from tidings.contract.export.shapes import Shape
from tidings.protocol import payloads

TEXT = shapes.TextShape()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (TEXT, "text"),
        (shapes.NumberShape(), "number"),
        (shapes.NumberShape(integer=True), "whole number"),
        (shapes.BooleanShape(), "true or false"),
        (shapes.NullShape(), "null"),
        (shapes.AnyShape(), "anything"),
        (shapes.NamedShape("Trade"), "Trade"),
        (shapes.EnumShape(("a", 1)), '"a" or 1'),
        (shapes.UnionShape((TEXT, shapes.NullShape())), "text or null"),
        (shapes.ArrayShape(items=TEXT), "array of text"),
        (
            shapes.TupleShape(items=(TEXT, shapes.BooleanShape()), min_length=1, closed=True),
            "array of text, true or false",
        ),
        (shapes.MapShape(values=shapes.NumberShape()), "object of number"),
        (shapes.ObjectShape(fields=()), "object"),
    ],
)
def test_kind_of_each_shape(shape: Shape, words: str) -> None:
    assert describe_kind(shape) == words


def test_kind_of_a_definition_uses_the_given_name() -> None:
    assert describe_kind(shapes.ArrayShape(items=shapes.NamedShape("a.Trade")), str.upper) == "array of A.TRADE"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (TEXT, ""),
        (shapes.TextShape(min_length=1, max_length=128), "1–128 characters"),
        (shapes.TextShape(min_length=1), "at least 1 character"),
        (
            shapes.TextShape(max_length=2000, pattern="^a$", format="date"),
            "at most 2,000 characters, matches `^a$`, a date such as 2025-07-30",
        ),
        (shapes.TextShape(format="hostname"), "hostname"),
        (shapes.NumberShape(minimum=0, maximum=100), "0–100"),
        (shapes.NumberShape(minimum=0, maximum=2**63 - 1), "at least 0"),
        (shapes.NumberShape(minimum=-(2**63), maximum=2**63 - 1), ""),
        (shapes.NumberShape(maximum=5, exclusive_minimum=1, multiple_of=2), "at most 5, above 1, a multiple of 2"),
        (shapes.NumberShape(exclusive_maximum=1.5), "below 1.5"),
        (shapes.ArrayShape(items=TEXT, min_length=1, max_length=3), "1–3 items"),
        (shapes.MapShape(values=TEXT, max_length=1), "at most 1 member"),
        (
            shapes.UnionShape((shapes.TextShape(max_length=1), shapes.NumberShape(minimum=1), shapes.NullShape())),
            "at most 1 character; at least 1",
        ),
        (shapes.UnionShape((shapes.TextShape(max_length=1), shapes.NullShape())), "at most 1 character"),
    ],
)
def test_limits_of_each_shape(shape: Shape, words: str) -> None:
    assert describe_limits(shape) == words


def test_clause_becomes_a_sentence() -> None:
    assert to_sentence("at least 0") == "At least 0."
    assert to_sentence("") == ""


class Inner(Struct):
    deep: int
    """Far
    down."""


class Base(Struct):
    name: str
    """Its name."""
    kept: str
    """As it was."""


class Outer(Base):
    name: str
    """Its common name."""
    inner: list[dict[str, Inner]]
    said: Annotated[str, Meta(description="By Meta.")]
    """By its docstring."""
    nothing: int


def test_field_docstring_of_the_nearest_class_wins() -> None:
    assert read_field_docstrings(Outer) == {
        "name": "Its common name.",
        "kept": "As it was.",
        "said": "By its docstring.",
    }
    assert read_field_docstrings(Inner) == {"deep": "Far down."}
    assert read_field_docstrings(payloads.AuthFailed)["hint"] == read_field_docstrings(payloads.ErrorData)["hint"]


def test_field_docstrings_are_exported_unless_meta_has_one() -> None:
    contract = Contract.of(event("a:b", Outer, channel="data", key="name"))
    definitions = build_contract_document(contract)["$defs"]
    assert {name: field.get("description") for name, field in definitions["Outer"]["properties"].items()} == {
        "name": "Its common name.",
        "kept": "As it was.",
        "inner": None,
        "said": "By Meta.",
        "nothing": None,
    }
    assert definitions["Inner"]["properties"]["deep"]["description"] == "Far down."


def test_class_is_found_by_both_names_of_its_definition() -> None:
    found = list_structs([Outer])
    assert found["Inner"] is found[f"{__name__.replace('<', '_')}.Inner"] is Inner


def test_struct_without_a_file_has_no_docstrings() -> None:
    assert read_field_docstrings(msgspec.defstruct("Made", [("a", int)])) == {}


def test_module_with_a_broken_file_has_no_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "soon_broken.py"
    file.write_text("from msgspec import Struct\nclass Here(Struct):\n    a: int\n")
    monkeypatch.syspath_prepend(tmp_path)
    import soon_broken  # type: ignore[import-not-found]

    file.write_text("class (:\n")
    try:
        assert read_field_docstrings(soon_broken.Here) == {}
    finally:
        del sys.modules["soon_broken"]


def local() -> type[Struct]:
    class Local(Struct):
        a: int
        """Inside a function."""

    return Local


def test_class_inside_a_function_has_its_docstrings() -> None:
    assert read_field_docstrings(local()) == {"a": "Inside a function."}
