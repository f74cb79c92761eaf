import pytest

from tidings.contract.export import shapes
from tidings.contract.export.descriptions import kind_of, limits_of, sentence
from tidings.contract.export.shapes import Shape

TEXT = shapes.Text()


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (TEXT, "text"),
        (shapes.Number(), "number"),
        (shapes.Number(whole=True), "whole number"),
        (shapes.Flag(), "true or false"),
        (shapes.Nothing(), "null"),
        (shapes.Anything(), "anything"),
        (shapes.Named("Trade"), "Trade"),
        (shapes.Choice(("a", 1)), '"a" or 1'),
        (shapes.Either((TEXT, shapes.Nothing())), "text or null"),
        (shapes.Array(items=TEXT), "array of text"),
        (shapes.Row(items=(TEXT, shapes.Flag()), shortest=1, closed=True), "array of text, true or false"),
        (shapes.Mapping(values=shapes.Number()), "object of number"),
        (shapes.Structure(fields=()), "object"),
    ],
)
def test_kinds(shape: Shape, words: str) -> None:
    assert kind_of(shape) == words


def test_definitions_are_called_as_one_likes() -> None:
    assert kind_of(shapes.Array(items=shapes.Named("a.Trade")), str.upper) == "array of A.TRADE"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (TEXT, ""),
        (shapes.Text(shortest=1, longest=128), "1–128 characters"),
        (shapes.Text(shortest=1), "at least 1 character"),
        (
            shapes.Text(longest=2000, pattern="^a$", format="date"),
            "at most 2,000 characters, matches `^a$`, a date such as 2025-07-30",
        ),
        (shapes.Text(format="hostname"), "hostname"),
        (shapes.Number(least=0, most=100), "0–100"),
        (shapes.Number(least=0, most=2**63 - 1), "at least 0"),
        (shapes.Number(least=-(2**63), most=2**63 - 1), ""),
        (shapes.Number(most=5, above=1, multiple_of=2), "at most 5, above 1, a multiple of 2"),
        (shapes.Number(below=1.5), "below 1.5"),
        (shapes.Array(items=TEXT, shortest=1, longest=3), "1–3 items"),
        (shapes.Mapping(values=TEXT, most=1), "at most 1 member"),
        (
            shapes.Either((shapes.Text(longest=1), shapes.Number(least=1), shapes.Nothing())),
            "at most 1 character; at least 1",
        ),
        (shapes.Either((shapes.Text(longest=1), shapes.Nothing())), "at most 1 character"),
    ],
)
def test_limits(shape: Shape, words: str) -> None:
    assert limits_of(shape) == words


def test_a_sentence_begins_and_ends() -> None:
    assert sentence("at least 0") == "At least 0."
    assert sentence("") == ""
