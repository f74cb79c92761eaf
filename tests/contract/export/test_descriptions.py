import pytest

from tidings.contract.export import shapes
from tidings.contract.export.descriptions import describe_kind, describe_limits, to_sentence
from tidings.contract.export.shapes import Shape

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
def test_kinds(shape: Shape, words: str) -> None:
    assert describe_kind(shape) == words


def test_definitions_are_called_as_one_likes() -> None:
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
def test_limits(shape: Shape, words: str) -> None:
    assert describe_limits(shape) == words


def test_a_sentence_begins_and_ends() -> None:
    assert to_sentence("at least 0") == "At least 0."
    assert to_sentence("") == ""
