"""The command `tidings watch`."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from tidings.cli.failure import FAILED
from tidings.cli.target import UrlOption

_SCREEN_PACE_MS = 100


def watch(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="operations, operations/op-42, operations/acme.*, … Default: everything.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
    json: Annotated[bool, typer.Option("--json", help="One v1 envelope a line.")] = False,
    since: Annotated[str, typer.Option(metavar="SINCE", help="snapshot, now, first, or a position.")] = "snapshot",
    pace: Annotated[
        int | None,
        typer.Option(
            metavar="MS",
            min=0,
            max=5000,
            show_default=False,
            help=f"At most one delivery in so many milliseconds. Default: {_SCREEN_PACE_MS} on a terminal, else 0.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that is not there yet.")] = False,
    exit_when_done: Annotated[
        bool,
        typer.Option("--exit-when-done", help="Exit when no operation runs any more; with 1 if one failed."),
    ] = False,
) -> None:
    """See operations as they run, and everything else as it happens.

    On a terminal: bars. In a pipe: lines, or with --json the envelopes themselves.
    """
    # rich and the client take a while to load; help and completion do not wait for them.
    from tidings.cli.watch.session import Form, WatchRequest, run_watch

    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    form = Form.JSON if json else Form.SCREEN if terminal else Form.LINES
    if pace is None:
        pace = _SCREEN_PACE_MS if form is Form.SCREEN else 0
    request = WatchRequest(
        url=url,
        paths=tuple(paths or ()),
        since=since,
        pace_ms=pace,
        wait_for_hub=wait,
        exit_when_done=exit_when_done,
    )
    well = asyncio.run(run_watch(request, form))
    if not well:
        raise typer.Exit(FAILED)
