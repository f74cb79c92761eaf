from datetime import datetime
from typing import Any

import pytest

from tidings.producer.sanitize import jsonable, tail, text


def test_text_is_cut_and_encodable() -> None:
    assert text("short") == "short"
    assert text("abcdef", 4) == "abc…"
    assert text("a\udcffb") == "a?b"
    assert text(42) == "42"


def test_tail_starts_at_a_line() -> None:
    assert tail("one\ntwo\nthree", 9) == "three"
    assert tail("one\ntwo", 100) == "one\ntwo"
    assert tail("x" * 10, 4) == "xxxx"
    assert tail("öööö", 5) == "öö", "no half character"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"rows": 3, "ok": [True, None]}, {"rows": 3, "ok": [True, None]}),
        (datetime(2026, 1, 2), "2026-01-02T00:00:00"),
        (complex(1, 2), "(1+2j)"),
        (float("nan"), None),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_jsonable_returns_the_json_form_of_a_value(value: Any, kept: Any) -> None:
    assert jsonable(value) == kept


def test_jsonable_of_a_recursive_value_is_text() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert jsonable(loop) == "[[...]]"


def test_jsonable_of_a_value_without_repr_is_its_type_name() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no words")

    assert jsonable({"a": Odd()}) == {"a": "<Odd>"}


def test_jsonable_of_a_large_value_is_omitted() -> None:
    assert jsonable("x" * 100, max_bytes=50) == {"omitted": "102 bytes"}


def test_jsonable_of_a_deep_value_is_omitted() -> None:
    deepest: Any = 1
    for _ in range(62):
        deepest = {"child": deepest}
    assert jsonable(deepest) == deepest
    assert jsonable({"child": deepest}) == {"omitted": "63 levels"}
