"""Translated patterns, matched by Node, compared with Python's `re` on the same texts."""

import json
import re
from pathlib import Path

import pytest
from tests.contract.export.toolchains import Node

from tidings.contract.export.regex import to_ecmascript

PATTERNS = [
    r"^[!-~]{1,64}$",
    r"^[A-Z]+$",
    r"(?P<a>x|y)(?P=a)",
    r"(?:a|b)(?=c)(?!cd)",
    r"(?<=a)b(?<!cb)",
    r"^a{,3}b{2,}c{2}$",
    r"a{b}",
    r"\Aab\Z",
    r"^[]a\w-]+$",
    r"^[^]\]]$",
    r"a+?b??c*?",
    r"\-\_\ é\/",
    r"^.\d\b",
    r"^a\B.",
    r"^\W\S\s$",
    r"^[\d\s]+$",
    r"\x41\u00e9\U0001F600",
    r"^\w{2}$",
    r"[a-z]]",
    r"a|}",
    r"\n|\t",
    r"(a)\1",
    r"^\D$",
    r"",
]
TEXTS = [
    "",
    "a",
    "b",
    "ab",
    "abc",
    "abcd",
    "aaabbcc",
    "aaaabbcc",
    "bbcc",
    "a{b}",
    "xx",
    "xy",
    "yy",
    "ABC",
    "]",
    "]a_é-",
    "a]",
    "-_ é/",
    "é1",
    "x١ ",
    "٣٤",
    "12 \t",
    "Aé😀",
    "😀",
    "\n",
    "\t",
    "aa",
    "! \u00a0",
    "!x ",
    "}",
    "日本",
    "a b",
    "\r",
]
UNKNOWN = [r"(?i)a", r"a++", r"(?>a)", r"[\W]", r"(?(1)a|b)", r"\Ba\N{DASH}", r"[\b]", "(", "a(?#x)b", r"\07"]


@pytest.mark.timeout(900)
def test_translated_pattern_matches_the_same_texts(node: Node, tmp_path: Path) -> None:
    script = tmp_path / "match.mjs"
    script.write_text(
        'import { readFileSync } from "node:fs";\n'
        'const { patterns, texts } = JSON.parse(readFileSync(0, "utf8"));\n'
        'const found = patterns.map((each) => texts.map((text) => new RegExp(each, "u").test(text)));\n'
        "process.stdout.write(JSON.stringify(found));\n"
    )
    translated = [to_ecmascript(pattern) for pattern in PATTERNS]
    assert None not in translated
    done = node.run(script, stdin=json.dumps({"patterns": translated, "texts": TEXTS}))
    for pattern, found in zip(PATTERNS, json.loads(done.stdout), strict=True):
        assert found == [re.search(pattern, text) is not None for text in TEXTS], pattern


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_pattern_without_an_ecmascript_form_is_none(pattern: str) -> None:
    assert to_ecmascript(pattern) is None


def test_every_pattern_matches_some_text_and_not_all() -> None:
    """A pattern that matches no text, or every text, would prove nothing."""
    for pattern in filter(None, PATTERNS):
        assert 0 < sum(re.search(pattern, text) is not None for text in TEXTS) < len(TEXTS), pattern
