"""A net for sentences that read as translated, over docstrings, comments, help texts, errors and hints."""

import re

import pytest
from tests.conventions.source_tree import modules

PATTERNS = {
    "write 'is not a valid X', 'has no X' or 'there is no X'": (
        r"(?<!there )\b(?:is|are|was|were) no (?!longer|more than|other)[a-z]+"
    ),
    "name the person or the component": r"\b(?:nobody|somebody|anybody|whoever|whomever)\b",
    "use the common word": r"\b(?:anew|likewise|meanwhile|reckon\w*|mend(?:s|ed|ing)?|wish(?:es|ed)?|thereby)\b",
    "write 'immediately' or 'at a time'": r"\bat once\b",
    "name the amount or the time": r"\b(?:for so long|so many|so long(?! as))\b",
    "begin with the subject, not with 'Of'": r"(?:^|[.!?:] )Of (?!course)[a-z]",
    "begin with the subject, not with a 'What' clause": r"(?:^|[.!?] )(?:What|Who|Whom|Whose) (?!\w+[^.?]*\?)[a-z]",
    "components send, publish, report, log and receive": r"\b(?:tell(?:s|ing)?|told|say(?:s|ing)?|said|hears?|heard)\b",
    "components need, request or accept": r"\b(?:want(?:s|ed|ing)?|mind(?:s|ed))\b",
    "components have, store or keep": r"\b(?:knows|knew)\b",
    "write what the component does": r"\bis (?:then )?to be \w+ed\b",
    "name what is missing": r"\bthere is nothing (?:at|to)\b",
    "name a document of the repository": r"\bCONTRACT(?: §|,)|\bDESIGN\b",
}


@pytest.mark.parametrize("advice", PATTERNS)
def test_source_texts_use_plain_english(advice: str) -> None:
    pattern = re.compile(PATTERNS[advice], re.MULTILINE)
    found = [
        (module.file, line + text.count("\n", 0, match.start()), text[max(0, match.start() - 40) : match.end() + 40])
        for module in modules()
        for line, text in module.texts
        for match in pattern.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("sentence", "advice"),
    [
        ("'7x' is no duration", "write 'is not a valid X', 'has no X' or 'there is no X'"),
        ("Default: nobody asks.", "name the person or the component"),
        ("It is read anew.", "use the common word"),
        ("Of one connection: bytes.", "begin with the subject, not with 'Of'"),
        ("What one operation sends.", "begin with the subject, not with a 'What' clause"),
        ("The hub tells its clients.", "components send, publish, report, log and receive"),
    ],
)
def test_pattern_finds_its_example(sentence: str, advice: str) -> None:
    assert re.search(PATTERNS[advice], sentence, re.MULTILINE)
