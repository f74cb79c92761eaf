import re

import msgspec
import pytest
from rich.text import Text

from tidings.cli.text import aligned, blank_unprintable, join_lines, sanitize
from tidings.printable import escape_json, escape_unprintable


def lines(*rows: tuple[str, ...], right: tuple[int, ...] = (), width: int | None = None) -> list[str]:
    cells = [[Text(cell) for cell in row] for row in rows]
    return [line.plain for line in aligned(cells, right=right, width=width)]


def test_cells_are_aligned_without_trailing_spaces() -> None:
    assert lines(("a", "bb", "x"), ("aaa", "", "")) == ["a    bb  x", "aaa"]


def test_numbers_are_aligned_to_the_right() -> None:
    assert lines(("a", "7"), ("b", "42"), right=(1,)) == ["a   7", "b  42"]


def test_an_empty_column_has_no_width() -> None:
    assert lines(("a", "", "x"), ("b", "", "y")) == ["a  x", "b  y"]


def test_wide_characters_have_their_width() -> None:
    assert lines(("価格", "x"), ("ab", "y")) == ["価格  x", "ab    y"]


def test_a_line_is_truncated_at_the_width() -> None:
    assert lines(("name", "a long story"), width=10) == ["name  a l…"]


def test_no_rows_yield_no_lines() -> None:
    assert lines() == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, ""),
        ("plain  text ", "plain text"),
        ("\x1b[31mred\x07\n\tnext", "[31mred next"),
        ("left \u202eright", "left right"),
        ("x" * 600, "x" * 500),
    ],
)
def test_sanitized_text_is_one_printable_line(text: str | None, line: str) -> None:
    assert sanitize(text) == line


def test_unprintable_characters_are_blanked_or_escaped() -> None:
    assert blank_unprintable("    at\x1b line") == "    at  line"
    assert escape_unprintable("a\x1b\u202eb") == "a\\x1b\\u202eb"
    assert join_lines(["a\n", "b"]) == "a\\n\nb\n"


def test_json_for_a_terminal_has_no_control_characters() -> None:
    texts = ["".join(map(chr, range(0x7F, 0xA1))), "é ü 🚀 \u2028"]
    escaped = escape_json(msgspec.json.encode(texts)).decode()
    assert msgspec.json.decode(escaped) == texts
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", escaped)
    assert "é ü 🚀" in escaped
