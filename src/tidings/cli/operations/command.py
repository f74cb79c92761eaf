"""The command `tidings operations`."""

import sys
import time
from enum import StrEnum
from typing import Annotated

import typer

from tidings.cli.exit_codes import ExitCode, epilog, telling_errors
from tidings.cli.failure import write_lines
from tidings.cli.target import UrlOption
from tidings.exceptions import ConfigError

_LIMIT = 50
EPILOG = epilog(ExitCode.NO_HUB)


class StateName(StrEnum):
    """A state that can be asked for."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


def operations(
    state: Annotated[
        list[StateName] | None, typer.Option(help="Only those in it; repeatable.", show_default=False)
    ] = None,
    running: Annotated[bool, typer.Option("--running", help="Only those that run, or wait to.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only those called so; 'Import*' is a prefix.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what began or ended since: 6h ago, or RFC 3339.", show_default=False),
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="ID", help="Only the parts of this operation.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many, the newest.")] = _LIMIT,
    by_name: Annotated[
        bool, typer.Option("--by-name", help="One line a name: its newest run, its last success, its usual duration.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: UrlOption = None,
) -> None:
    """List operations, the newest first.

    On a terminal: a table. In a pipe: lines of columns, a tab between them.
    """
    states = [str(each) for each in state or ()]
    states += ["queued", "running"] if running else []
    states += ["failed"] if failed else []
    if by_name and (states or since or parent):
        raise ConfigError("with --by-name, only --name chooses", option="by-name", hint="Leave the other options out.")
    # rich and the HTTP client take a while to load; help and completion do not wait for them.
    from tidings.cli.hub_api import HubAPI
    from tidings.cli.operations.listing import Form, Listing

    form: Form = "json" if as_json else "table" if sys.stdout.isatty() else "lines"
    listing = Listing(form, time.time())
    with telling_errors(), HubAPI(url) as api:
        if by_name:
            listing.print_names(api.names(name)[:limit])
            return
        query = [("state", each) for each in dict.fromkeys(states)]
        query += [(key, value) for key, value in (("name", name), ("since", since), ("parent", parent)) if value]
        # One more than is shown tells whether there are more.
        found = list(api.operations([*query], limit + 1))
    listing.print_operations(found[:limit])
    if len(found) > limit:
        write_lines(f"note: there are more; --limit {limit * 2} shows twice as many")
