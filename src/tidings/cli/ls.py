"""The command `tidings ls`: lists operations as a table, as lines, or as JSON."""

import sys
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error, print_stderr
from tidings.cli.options import UrlOption
from tidings.cli.resolve import resolve_id
from tidings.cli.short_ids import shorten_ids
from tidings.cli.show import MARKS, STYLES
from tidings.cli.summary import (
    age_s,
    describe_attempt,
    describe_cancel,
    describe_progress,
    describe_remaining,
    format_ago,
)
from tidings.cli.text import aligned, sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.exceptions import ConfigError
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import NameView, OperationSummary
from tidings.printable import escape_json

_DEFAULT_LIMIT = 50
EPILOG = exit_codes_epilog(ExitCode.NO_HUB)


class StateName(StrEnum):
    """A state to filter by."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


def ls(
    state: Annotated[
        list[StateName] | None,
        typer.Option(
            metavar="|".join(StateName), help="Only operations in this state; repeatable.", show_default=False
        ),
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="Only running and queued operations.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed operations.")] = False,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only operations of this name; 'Import*' is a prefix.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only operations that began or ended since: 6h, or an RFC 3339 time.",
            show_default=False,
        ),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only children of this operation.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help=f"Maximum number of operations. Default: what fits the terminal, {_DEFAULT_LIMIT} in a pipe.",
            show_default=False,
        ),
    ] = None,
    all: Annotated[bool, typer.Option("--all", "-a", help="List all operations.")] = False,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="One line per name: newest run, last success, usual duration.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    url: UrlOption = None,
) -> None:
    """List operations: the newest last on a terminal, and first in a pipe.

    Prints a table on a terminal, and tab-separated columns in a pipe.
    """
    states = [str(each) for each in state or ()]
    states += ["queued", "running"] if running else []
    states += ["failed"] if failed else []
    states = list(dict.fromkeys(states))
    if by_name and (states or since or parent):
        raise ConfigError("--by-name combines with --name only", option="by-name", hint="Remove the other filters.")
    if all and limit is not None:
        raise ConfigError("--all and --limit exclude each other", option="limit", hint="Remove one of them.")

    format: Format = "json" if as_json else "table" if sys.stdout.isatty() else "lines"
    most = _MAX_OPERATIONS if all else limit
    with exit_on_error(), HTTPClient(url) as client:
        if by_name:
            names = [each for each in client.names(name) if each.runs]
            found: Sequence[OperationSummary] = ()
        else:
            parent_id = None if parent is None else resolve_id(client, parent)
            query = [("state", each) for each in states]
            query += [(key, value) for key, value in (("name", name), ("since", since), ("parent", parent_id)) if value]
            found = list(client.operations([*query], (most or _COUNTED) + 1))
    if format == "table":
        asked = describe_query(states, name, since, parent)
        table = OperationsTable(Console(highlight=False, soft_wrap=True), time.time())
        if by_name:
            table.print_names(names, most, asked)
        else:
            table.print_operations(found, most, asked)
        return
    most = most or _DEFAULT_LIMIT
    if by_name:
        (_print_json if as_json else print_name_lines)(names[:most])
    else:
        (_print_json if as_json else print_lines)(found[:most])
    left_out = len(names if by_name else found) > most
    if left_out and limit is None:
        print_stderr(f"note: these are the newest {most}; --all lists all of them")
    elif left_out:
        print_stderr(f"note: there are more operations; pass --limit {most * 2} to list twice as many")


def describe_query(states: Sequence[str], name: str | None, since: str | None, parent: str | None) -> str:
    """Return what was asked for: `failed operations of 'Import*' since 6h`."""
    text = f"{' or '.join(states)} operations".strip()
    text += f" named {sanitize(name)!r}" if name else ""
    text += f" below {sanitize(parent)!r}" if parent else ""
    return text + (f" since {sanitize(since)}{'' if 'T' in since else ' ago'}" if since else "")


Format = Literal["table", "lines", "json"]
_MAX_OPERATIONS = 1_000_000
"""Operations that `--all` lists: more than a hub remembers."""
_COUNTED = 1_000
"""Operations that are counted at most for the line about those left out."""
_NAME_SHARE, _MIN_NAME, _MAX_NAME = 0.4, 12, 40
"""Columns of a name, which leave space for the status."""
_MAX_STATUS_LINES = 3
"""Lines of a status that does not fit beside its operation."""
_INDENT = "    "


def print_lines(operations: Sequence[OperationSummary]) -> None:
    """Print operations for a pipe: id, state, name, percentage, start, seconds, status."""
    now_s = time.time()
    for each in operations:
        took_s = _took_s(each, now_s)
        share = "" if each.progress is None or each.indeterminate else f"{each.progress:g}"
        _print_line(
            [
                each.operation_id,
                str(each.state),
                each.name,
                share,
                each.started_at or each.queued_at or "",
                "" if took_s is None else f"{took_s:.1f}",
                describe_status(each, now_s),
            ]
        )


def print_name_lines(names: Sequence[NameView]) -> None:
    """Print names for a pipe: name, newest state and id, last success, usual seconds, runs, failures."""
    for each in names:
        newest = each.newest
        _print_line(
            [
                each.name,
                "" if newest is None else str(newest.state),
                "" if newest is None else newest.operation_id,
                each.last_success_at or "",
                "" if each.median_duration_s is None else f"{each.median_duration_s:.1f}",
                str(each.runs),
                str(each.failed),
            ]
        )


class OperationsTable:
    """Prints operations on a terminal, the newest last.

    Args:
        console: The terminal.
        now_s: Current time, seconds since 1970.
    """

    def __init__(self, console: Console, now_s: float) -> None:
        self._console = console
        self._now_s = now_s

    def print_operations(self, operations: Sequence[OperationSummary], limit: int | None, asked: str) -> None:
        """Print operations that are given newest first.

        Args:
            operations: The operations; one more than `limit` means that there are more.
            limit: Maximum number of operations; None prints what fits the terminal.
            asked: What was asked for, in words.
        """
        if not operations:
            self._console.print(f"no {asked}")
            return
        fitting = operations[: limit or self._console.height]
        rows = self._rows(fitting)
        if limit is None:
            rows = rows[: _count_fitting(rows, self._console.height)]
        hidden = operations[len(rows) :]
        if hidden:
            # The prompt follows the newest operation; so the others are mentioned above.
            counted = f"{len(hidden):,}{' or more' if len(operations) > (limit or _COUNTED) else ''}"
            urgent = sum(each.presence == "away" or bool(each.stalled) for each in hidden)
            attention = f", of which {urgent} need{'s' if urgent == 1 else ''} attention" if urgent else ""
            self._console.print(Text(f"… {counted} older {asked}{attention}; --all lists them", "dim"))
        for lines in reversed(rows):
            for line in lines:
                self._console.print(line)

    def _rows(self, operations: Sequence[OperationSummary]) -> list[list[Text]]:
        """Return the lines of each operation: one, or more if its status does not fit beside it."""
        width = self._console.width
        short = shorten_ids(each.operation_id for each in operations)
        cells = [self._cells(each, short[each.operation_id]) for each in operations]
        heads = list(aligned(cells, right=(3, 4), width=width))
        # A head ends with the widest duration, or with spaces up to there.
        edge = max(head.cell_len for head in heads)
        rows: list[list[Text]] = []
        for each, head in zip(operations, heads, strict=True):
            status = self._status(each)
            if status.plain and edge + 2 + status.cell_len <= width:
                head.append(" " * (edge + 2 - head.cell_len)).append_text(status)
                rows.append([head])
            else:
                rows.append([head, *self._wrap(status)])
        return rows

    def _wrap(self, status: Text) -> list[Text]:
        if not status.plain:
            return []
        lines = list(status.wrap(self._console, max(1, self._console.width - len(_INDENT))))
        if len(lines) > _MAX_STATUS_LINES:
            del lines[_MAX_STATUS_LINES:]
            lines[-1].append("…")
        for line in lines:
            line.rstrip()
        return [Text(_INDENT).append_text(line) for line in lines]

    def _cells(self, each: OperationSummary, short: str) -> list[Text]:
        began_s = age_s(each.started_at or each.queued_at, self._now_s)
        took_s = _took_s(each, self._now_s)
        name = Text(sanitize(each.name) or sanitize(each.operation_id), "bold")
        room = int(self._console.width * _NAME_SHARE)
        name.truncate(min(_MAX_NAME, max(_MIN_NAME, room)), overflow="ellipsis")
        return [
            Text(MARKS[each.state], STYLES[each.state]),
            Text("" if short == each.name else sanitize(short), "dim"),
            name,
            Text("" if began_s is None else format_ago(began_s), "dim"),
            Text("" if took_s is None else describe_span(took_s)),
        ]

    def _status(self, each: OperationSummary) -> Text:
        return Text(describe_status(each, self._now_s), "red" if each.state is OperationState.FAILED else "")

    def print_names(self, names: Sequence[NameView], limit: int | None, asked: str) -> None:
        """Print names that are given newest first; see `print_operations`."""
        if not names:
            self._console.print(f"no ended {asked}")
            return
        shown = names[: limit or max(1, self._console.height - _SPARE_LINES - 1)]
        if len(shown) < len(names):
            hidden = len(names) - len(shown)
            self._console.print(Text(f"… {hidden:,} older name{'s' if hidden > 1 else ''}; --all lists them", "dim"))
        rows = [[Text(title, "dim") for title in ("newest", "last success", "usually", "ended", "failed")]]
        rows += [self._figures(each) for each in reversed(shown)]
        figures = list(aligned(rows, right=(1, 2, 3, 4)))
        # The figures are what the list is for: they stay, and long names are cut.
        room = max(_MIN_NAME, self._console.width - max(line.cell_len for line in figures) - 2)
        titles = [Text("name", "dim"), *(Text(sanitize(each.name), "bold") for each in reversed(shown))]
        for title in titles:
            title.truncate(min(_MAX_NAME, room), overflow="ellipsis")
        for line in aligned(list(zip(titles, figures, strict=True)), width=self._console.width):
            self._console.print(line)

    def _figures(self, each: NameView) -> list[Text]:
        since_s, usual_s = age_s(each.last_success_at, self._now_s), each.median_duration_s
        return [
            self._newest(each.newest),
            Text("never" if since_s is None else format_ago(since_s)),
            Text("" if usual_s is None else describe_span(usual_s)),
            Text(str(each.runs)),
            Text(str(each.failed), "red" if each.failed else "dim"),
        ]

    def _newest(self, newest: OperationSummary | None) -> Text:
        if newest is None:
            return Text()
        when = age_s(newest.ended_at or newest.started_at, self._now_s)
        text = str(newest.state) if when is None else f"{newest.state} {format_ago(when)}"
        return Text(f"{MARKS[newest.state]} {text}", STYLES[newest.state])


_SPARE_LINES = 2
"""Lines of a terminal for the command above the list, or the line about what is left out, and the prompt below it."""


def _count_fitting(rows: Sequence[list[Text]], height: int) -> int:
    """Return how many of the rows fit, at least one."""
    left = height - _SPARE_LINES
    for count, lines in enumerate(rows):
        left -= len(lines)
        if left < 0:
            return max(1, count)
    return len(rows)


def describe_status(each: OperationSummary, now_s: float) -> str:
    """Return the most relevant fact about an operation in a list."""
    attempt = describe_attempt(each)
    if each.state is OperationState.RUNNING:
        parts = [attempt, *_running(each, now_s)]
    elif each.state is OperationState.FAILED and each.error is not None:
        parts = [attempt, f"{sanitize(each.error.code)}: {sanitize(each.error.message)}"]
    elif each.state is OperationState.CANCELLED:
        by = f"by {sanitize(each.cancelled_by)}" if each.cancelled_by else ""
        parts = [attempt, by, sanitize(each.reason)]
    elif each.state is OperationState.QUEUED:
        parts = [attempt, "not started"]
    else:
        parts = [attempt, sanitize(each.message)]
    return ", ".join(part for part in parts if part)


def _running(each: OperationSummary, now_s: float) -> Iterable[str]:
    yield describe_cancel(each)
    if each.presence == "away":
        away_s = age_s(each.away_since, now_s)
        yield "its producer is away" if away_s is None else f"its producer is away for {describe_span(away_s)}"
    if each.stalled:
        idle_s = age_s(each.advanced_at or each.started_at, now_s)
        yield "stalled" if idle_s is None else f"stalled for {describe_span(idle_s)}"
    yield describe_progress(each)
    yield describe_remaining(each)
    yield sanitize(each.message)


def _took_s(each: OperationSummary, now_s: float) -> float | None:
    if each.duration_s is not None or each.ended_at is not None:
        return each.duration_s
    return age_s(each.started_at, now_s)


def _print_json(records: Iterable[Struct]) -> None:
    for record in records:
        typer.echo(escape_json(msgspec.json.encode(record)))


def _print_line(columns: Iterable[str]) -> None:
    # A tab or a line end in a name would be a column or a line of its own.
    typer.echo("\t".join(sanitize(column) for column in columns))
