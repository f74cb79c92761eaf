"""Text for terminals: other people's text made safe, and columns."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.text import Text

from tidings.printable import escape_unprintable

_MAX_CHARACTERS = 500
"""Characters of one text that are worth showing on a line."""
_GAP = "  "


def sanitize(text: str | None) -> str:
    """Return `text` for one line of a terminal, at most 500 characters of it.

    Text from events must not move the cursor, ring the bell or reverse the direction of writing: characters that are
    not printable become spaces, and runs of spaces become one.
    """
    return " ".join(blank_unprintable((text or "")[:_MAX_CHARACTERS]).split())


def blank_unprintable(text: str) -> str:
    """Return `text` with a space for each character that is not printable; keeps the indentation of a stack trace."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def join_lines(lines: Iterable[str]) -> str:
    """Return lines as one text, each escaped and ended by a newline."""
    return "".join(f"{escape_unprintable(line)}\n" for line in lines)


def aligned(rows: Sequence[Sequence[Text]], *, right: Collection[int] = (), width: int | None = None) -> Iterator[Text]:
    """Yield a line for each row, with its cells in columns, without spaces at the end.

    Args:
        rows: Rows with the same number of cells.
        right: Columns that are aligned to the right.
        width: Columns of the terminal, where a line is cut with an ellipsis; None cuts no line.
    """
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text()
        for index, (cell, cell_width) in enumerate(zip(row, widths, strict=True)):
            if not cell_width:
                continue
            if line.plain:
                line.append(_GAP)
            padding = " " * (cell_width - cell.cell_len)
            line.append_text(Text(padding) + cell if index in right else cell + Text(padding))
        line.rstrip()
        if width is not None:
            line.truncate(width, overflow="ellipsis")
        yield line
