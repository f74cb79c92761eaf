import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta, Struct

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.export.descriptions import list_structs, read_field_docstrings
from tidings.contract.export.document import build_contract_document
from tidings.protocol import payloads


class Inner(Struct):
    deep: int
    """Far
    down."""


class Base(Struct):
    name: str
    """What it is called."""
    kept: str
    """As it was."""


class Outer(Base):
    name: str
    """What people call it."""
    inner: list[dict[str, Inner]]
    said: Annotated[str, Meta(description="By Meta.")]
    """By its docstring."""
    nothing: int


def test_the_line_below_a_field_is_its_text_and_the_nearest_class_decides() -> None:
    assert read_field_docstrings(Outer) == {
        "name": "What people call it.",
        "kept": "As it was.",
        "said": "By its docstring.",
    }
    assert read_field_docstrings(Inner) == {"deep": "Far down."}
    assert read_field_docstrings(payloads.AuthFailed)["hint"] == read_field_docstrings(payloads.ErrorData)["hint"]


def test_they_are_exported_unless_meta_says_something_else() -> None:
    contract = Contract.of(event("a:b", Outer, channel="data", key="name"))
    definitions = build_contract_document(contract)["$defs"]
    assert {name: field.get("description") for name, field in definitions["Outer"]["properties"].items()} == {
        "name": "What people call it.",
        "kept": "As it was.",
        "inner": None,
        "said": "By Meta.",
        "nothing": None,
    }
    assert definitions["Inner"]["properties"]["deep"]["description"] == "Far down."


def test_a_class_is_found_by_both_names_that_a_definition_may_have() -> None:
    found = list_structs([Outer])
    assert found["Inner"] is found[f"{__name__.replace('<', '_')}.Inner"] is Inner


def test_a_struct_of_no_file_has_none() -> None:
    assert read_field_docstrings(msgspec.defstruct("Made", [("a", int)])) == {}


def test_a_module_that_is_not_python_any_more_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_class_inside_a_function_has_its_texts() -> None:
    assert read_field_docstrings(local()) == {"a": "Inside a function."}
