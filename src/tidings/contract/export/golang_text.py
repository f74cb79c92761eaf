"""Pieces of Go as `gofmt` writes them."""

from collections.abc import Iterable, Sequence

_WORDS = """\
ACL API ASCII CPU CSS DNS EOF GPU GUID HTML HTTP HTTPS ID IP JSON PID QPS RAM RPC SLA SMTP SQL SSH TCP TLS TTL UDP UI
UID URI URL UTC UTF8 UUID VM XML
"""
_INITIALISMS = frozenset(_WORDS.split())
"""Words that Go writes in capitals."""


def comment(text: str) -> str:
    """Return a text as one line, so that nothing in it looks like a heading or a list to `gofmt`."""
    return " ".join(text.split())


def aligned(rows: Iterable[str | Sequence[str]]) -> str:
    """Return lines of cells, each column as wide as its widest; a text is a line of its own, and ends the columns."""
    lines: list[str] = []
    together: list[Sequence[str]] = []
    for row in rows:
        if isinstance(row, str):
            lines += [*_columns(together), row]
            together = []
        else:
            together.append(row)
    return "".join(f"{line}\n" for line in [*lines, *_columns(together)])


def _columns(rows: list[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "\t" + " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def exported(name: str) -> str:
    """Return a JSON name as an exported field's: `operation_id` is `OperationID`."""
    words = "".join(char if char.isascii() and char.isalnum() else " " for char in name).split()
    made = "".join(word.upper() if word.upper() in _INITIALISMS else word[:1].upper() + word[1:] for word in words)
    return made if made[:1].isalpha() else f"N{made}"
