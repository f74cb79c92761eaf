"""Columns of text, aligned, without spaces at the ends of lines.

Text from elsewhere, on a terminal that obeys escape sequences.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.text import Text

_GAP = "  "


def aligned(rows: Sequence[Sequence[Text]], *, right: Collection[int] = (), width: int | None = None) -> Iterator[Text]:
    """Yield a line for each row, its cells below those of the row before.

    Args:
        rows: Cells, as many in each row.
        right: Columns whose cells end below each other.
        width: Columns of a terminal, at which a line is cut with an ellipsis; None cuts none.
    """
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text()
        for index, (cell, room) in enumerate(zip(row, widths, strict=True)):
            if not room:
                continue
            if line.plain:
                line.append(_GAP)
            padding = " " * (room - cell.cell_len)
            line.append_text(Text(padding) + cell if index in right else cell + Text(padding))
        line.rstrip()
        if width is not None:
            line.truncate(width, overflow="ellipsis")
        yield line


def printable(lines: Iterable[str]) -> str:
    """Return lines as one text, each with a newline, what is not printable escaped: recordings may hold anything."""
    return "".join(f"{_escaped(line)}\n" for line in lines)


def _escaped(line: str) -> str:
    return line if line.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
