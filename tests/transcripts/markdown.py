"""Reader of Markdown documents: their headings, and the tables and fenced blocks below each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]

_HEADING = re.compile(r"(?P<marks>#{1,6}) (?P<title>.+)")
_RULE = re.compile(r"[|: -]+")
_CODE = re.compile(r"^`([^`]*)`$")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    language: str
    heading: str
    line: int
    """Number of its first line, from 1."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. Cells are stripped, also of backticks around a whole cell."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Document:
    """A Markdown file of the repository."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.text = self.path.read_text()
        self._lines = self.text.splitlines()
        self.headings: list[str] = []
        self._levels: list[int] = []
        self.blocks: list[Block] = []
        self.tables: list[Table] = []
        self._read()

    def table(self, heading: str) -> Table:
        """Return the only table right below a heading."""
        [found] = [table for table in self.tables if table.heading == heading]
        return found

    def headings_below(self, heading: str) -> list[str]:
        """Return the headings of the sections within a section, in order."""
        start = self.headings.index(heading)
        within = takewhile(lambda level: level > self._levels[start], self._levels[start + 1 :])
        return self.headings[start + 1 : start + 1 + len(list(within))]

    def tables_with(self, *columns: str) -> list[Table]:
        """Return the tables whose first columns are these."""
        return [table for table in self.tables if table.columns[: len(columns)] == columns]

    def blocks_in(self, language: str) -> list[Block]:
        """Return the fenced blocks of one language."""
        return [block for block in self.blocks if block.language == language]

    def _read(self) -> None:
        lines = enumerate(self._lines, 1)
        heading = ""
        for number, line in lines:
            match = _HEADING.fullmatch(line)
            if match:
                heading = match["title"].replace("`", "")
                self.headings.append(heading)
                self._levels.append(len(match["marks"]))
            elif line.startswith("```"):
                body = _until_fence(lines)
                self.blocks.append(Block(language=line[3:].strip(), heading=heading, line=number + 1, text=body))
            elif line.startswith("|"):
                rows = [_cells(line), *_rows(lines)]
                self.tables.append(Table(heading=heading, columns=rows[0], rows=tuple(rows[1:])))


def _until_fence(lines: Iterator[tuple[int, str]]) -> str:
    body: list[str] = []
    for _, line in lines:
        if line.startswith("```"):
            return "\n".join(body)
        body.append(line)
    raise ValueError("a fenced block has no end")


def _rows(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[str, ...]]:
    for _, line in lines:
        if not line.startswith("|"):
            return
        if not _RULE.fullmatch(line):
            yield _cells(line)


def _cells(line: str) -> tuple[str, ...]:
    cells = _CELL_BORDER.split(line.strip())[1:-1]
    return tuple(_CODE.sub(r"\1", cell.strip()).replace("\\|", "|") for cell in cells)


def anchor(heading: str) -> str:
    """Return the fragment under which GitHub finds a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")
