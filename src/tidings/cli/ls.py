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
from tidings.cli.show import MARKS, STYLES
from tidings.cli.summary import age_s, describe_attempt, describe_progress, describe_remaining, format_ago
from tidings.cli.text import aligned, sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.exceptions import ConfigError
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import NameView, OperationSummary

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
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of operations.")] = _DEFAULT_LIMIT,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="One line per name: newest run, last success, usual duration.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    url: UrlOption = None,
) -> None:
    """List operations, the newest first.

    Prints a table on a terminal, and tab-separated columns in a pipe.
    """
    states = [str(each) for each in state or ()]
    states += ["queued", "running"] if running else []
    states += ["failed"] if failed else []
    if by_name and (states or since or parent):
        raise ConfigError("--by-name combines with --name only", option="by-name", hint="Remove the other filters.")

    format: Format = "json" if as_json else "table" if sys.stdout.isatty() else "lines"
    listing = Listing(format, time.time())
    with exit_on_error(), HTTPClient(url) as client:
        if by_name:
            listing.print_names(client.names(name)[:limit])
            return
        query = [("state", each) for each in dict.fromkeys(states)]
        query += [(key, value) for key, value in (("name", name), ("since", since), ("parent", parent)) if value]
        # One more than is printed shows whether there are more.
        found = list(client.operations([*query], limit + 1))
    listing.print_operations(found[:limit])
    if len(found) > limit:
        print_stderr(f"note: there are more operations; pass --limit {limit * 2} to list twice as many")


Format = Literal["table", "lines", "json"]
_MIN_COLUMNS_FOR_ID = 110
"""Columns of a terminal below which ids, which are long, get a line of their own."""
_MAX_NAME_CHARACTERS = 40
"""Characters of a name, which leave space for the status."""


class Listing:
    """Prints operations.

    Args:
        format: Output format.
        now_s: Current time, seconds since 1970.
    """

    def __init__(self, format: Format, now_s: float) -> None:
        self._format = format
        self._now_s = now_s

    def print_operations(self, operations: Sequence[OperationSummary]) -> None:
        """Print operations, one per line."""
        if self._format == "json":
            _print_json(operations)
        elif self._format == "lines":
            for each in operations:
                _print_line(self._columns(each))
        elif operations:
            self._print_table(operations)
        else:
            typer.echo("no operations")

    def print_names(self, names: Sequence[NameView]) -> None:
        """Print operation names, one per line."""
        if self._format == "json":
            _print_json(names)
        elif self._format == "lines":
            for each in names:
                _print_line(self._name_columns(each))
        elif names:
            self._print_names_table(names)
        else:
            typer.echo("no operation has ended yet")

    def _columns(self, each: OperationSummary) -> list[str]:
        """Return the columns for a pipe: id, state, name, percentage, start, seconds, status."""
        took_s = _took_s(each, self._now_s)
        share = "" if each.progress is None or each.indeterminate else f"{each.progress:g}"
        return [
            each.operation_id,
            str(each.state),
            each.name,
            share,
            each.started_at or each.queued_at or "",
            "" if took_s is None else f"{took_s:.1f}",
            describe_status(each, self._now_s),
        ]

    def _name_columns(self, each: NameView) -> list[str]:
        """Return the columns for a pipe: name, newest state and id, last success, usual seconds, runs, failures."""
        newest = each.newest
        return [
            each.name,
            "" if newest is None else str(newest.state),
            "" if newest is None else newest.operation_id,
            each.last_success_at or "",
            "" if each.median_duration_s is None else f"{each.median_duration_s:.1f}",
            str(each.runs),
            str(each.failed),
        ]

    def _print_table(self, operations: Sequence[OperationSummary]) -> None:
        console = Console(highlight=False, soft_wrap=True)
        wide = console.width >= _MIN_COLUMNS_FOR_ID
        ids = [Text(sanitize(each.operation_id), "dim") for each in operations]
        rows = [
            [*self._cells(each), *([id] if wide else []), self._status(each)]
            for each, id in zip(operations, ids, strict=True)
        ]
        for line, id in zip(aligned(rows, right=(2, 3), width=console.width), ids, strict=True):
            console.print(line)
            if not wide:
                console.print(Text("   ").append_text(id))

    def _cells(self, each: OperationSummary) -> list[Text]:
        began_s = age_s(each.started_at or each.queued_at, self._now_s)
        took_s = _took_s(each, self._now_s)
        name = Text(sanitize(each.name) or sanitize(each.operation_id), "bold")
        name.truncate(_MAX_NAME_CHARACTERS, overflow="ellipsis")
        return [
            Text(MARKS[each.state], STYLES[each.state]),
            name,
            Text("" if began_s is None else format_ago(began_s), "dim"),
            Text("" if took_s is None else describe_span(took_s)),
        ]

    def _status(self, each: OperationSummary) -> Text:
        return Text(describe_status(each, self._now_s), "red" if each.state is OperationState.FAILED else "")

    def _print_names_table(self, names: Sequence[NameView]) -> None:
        console = Console(highlight=False, soft_wrap=True)
        rows = [[Text(title, "dim") for title in ("name", "newest", "last success", "usually", "ended", "failed")]]
        for each in names:
            since = age_s(each.last_success_at, self._now_s)
            name = Text(sanitize(each.name), "bold")
            name.truncate(_MAX_NAME_CHARACTERS, overflow="ellipsis")
            usual_s = each.median_duration_s
            rows.append(
                [
                    name,
                    self._newest(each.newest),
                    Text("never" if since is None else format_ago(since)),
                    Text("" if usual_s is None else describe_span(usual_s)),
                    Text(str(each.runs)),
                    Text(str(each.failed), "red" if each.failed else "dim"),
                ]
            )
        for line in aligned(rows, right=(2, 3, 4, 5), width=console.width):
            console.print(line)

    def _newest(self, newest: OperationSummary | None) -> Text:
        if newest is None:
            return Text()
        when = age_s(newest.ended_at or newest.started_at, self._now_s)
        text = str(newest.state) if when is None else f"{newest.state} {format_ago(when)}"
        return Text(f"{MARKS[newest.state]} {text}", STYLES[newest.state])


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
    if each.presence == "away":
        yield "its producer is away"
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
        typer.echo(msgspec.json.encode(record))


def _print_line(columns: Iterable[str]) -> None:
    # A tab or a line end in a name would be a column or a line of its own.
    typer.echo("\t".join(sanitize(column) for column in columns))
