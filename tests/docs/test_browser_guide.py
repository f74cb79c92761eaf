"""The guide to browsers: what it shows of the examples is in them, and what it names of the package exists."""

import json
import re

import pytest
from tests.transcripts.markdown import ROOT, Document

GUIDE = Document("docs/browser.md")
EXAMPLES = ROOT / "examples" / "browser"
CLIENT = ROOT / "clients" / "typescript" / "src"


def lines(text: str) -> list[str]:
    """Return the lines that are not blank, without indentation."""
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("language", "file"),
    [("html", "plain.html"), ("tsx", "react/main.tsx"), ("python fragment", "notebook.ipynb")],
)
def test_fragments_are_those_of_the_examples(language: str, file: str) -> None:
    text = (EXAMPLES / file).read_text()
    if file.endswith(".ipynb"):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    (block,) = GUIDE.blocks_in(language)
    shown, known = lines(block.text), lines(text)
    begin = known.index(shown[0])
    assert known[begin : begin + len(shown)] == shown


def test_hooks_and_elements_that_it_names_exist() -> None:
    hooks = set(re.findall(r"export function (use\w+)", (CLIENT / "react.ts").read_text()))
    assert set(re.findall(r"`(use\w+)\(", GUIDE.text)) == hooks
    style = (CLIENT / "elements" / "styles.ts").read_text()
    properties = re.findall(r"`(--tidings-[\w-]+|-[a-z][\w-]*)`", GUIDE.text)
    assert {f"--tidings-{name.removeprefix('--tidings-').removeprefix('-')}" for name in properties} == set(
        re.findall(r"var\((--tidings-[\w-]+)", style)
    )
    parts = (CLIENT / "elements" / "row.ts").read_text()
    assert all(f'"{part}"' in parts for part in re.findall(r"::part\((\w+)\)", GUIDE.text))
