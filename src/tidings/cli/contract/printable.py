"""Text from elsewhere, on a terminal that obeys escape sequences."""

from collections.abc import Iterable


def printable(lines: Iterable[str]) -> str:
    """Return lines as one text, each with a newline, what is not printable escaped: recordings may hold anything."""
    return "".join(f"{_escaped(line)}\n" for line in lines)


def _escaped(line: str) -> str:
    return line if line.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
