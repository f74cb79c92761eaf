"""The command `tidings watch`: one watch from its connection to its end, on a screen or into a pipe."""

import asyncio
import contextlib
import os
import secrets
import sys
import time
from enum import Enum
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console

from tidings.cli.errors import FAILED
from tidings.cli.options import UrlOption
from tidings.cli.units import format_duration
from tidings.cli.watch.pipe import StdoutPipe, v1_envelope
from tidings.cli.watch.plain_view import PlainView
from tidings.cli.watch.screen import FRAME_S, LiveScreen
from tidings.cli.watch.view import ConnectionState, WatchView
from tidings.client.client import connect
from tidings.client.events import Item, ReceivedEvent
from tidings.client.status import State, Status
from tidings.client.watch import Watch
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import check_paths
from tidings.protocol.positions import parse_since
from tidings.protocol.timestamps import from_nanoseconds

_SCREEN_PACE_MS = 100


def watch(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Paths to watch: operations, operations/op-42, operations/acme.*. Default: all.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one v1 envelope per line.")] = False,
    since: Annotated[
        str, typer.Option(metavar="SINCE", help="Where to start: snapshot, now, first, or a position.")
    ] = "snapshot",
    pace: Annotated[
        int | None,
        typer.Option(
            metavar="MS",
            min=0,
            max=5000,
            show_default=False,
            help=f"Minimum milliseconds between two deliveries. Default: {_SCREEN_PACE_MS} on a terminal, else 0.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a hub that does not run yet.")] = False,
    exit_when_done: Annotated[
        bool,
        typer.Option("--exit-when-done", help="Exit when no operation runs any more, with code 1 if one failed."),
    ] = False,
) -> None:
    """Show operations as they run, and all other events as they happen.

    Output is bars on a terminal, lines in a pipe, and envelopes with --json.
    """
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
    if not asyncio.run(run_watch(request, form)):
        raise typer.Exit(FAILED)


class Form(Enum):
    """Output form of a watch."""

    SCREEN = "screen"
    LINES = "lines"
    JSON = "json"


class WatchRequest(Struct, frozen=True, kw_only=True):
    """The options of one watch."""

    url: str | None
    paths: tuple[str, ...]
    since: str
    pace_ms: int
    wait_for_hub: bool
    exit_when_done: bool

    @property
    def verbose(self) -> bool:
        """Whether a path names the system channel."""
        return any(path.partition("/")[0] == ChannelType.SYSTEM for path in self.paths)


async def run_watch(request: WatchRequest, form: Form) -> bool:
    """Watch until Ctrl-C, until the reader of our output exits, or until all operations have ended.

    Returns:
        False if `exit_when_done` is set and an operation failed.

    Raises:
        ContractError: A path or `since` is not valid.
        ClientError: No hub answers, or it ended the watch for good.
    """
    parse_since(request.since)
    if request.paths:
        check_paths(request.paths)
    async with connect(request.url, wait_for_hub=request.wait_for_hub) as client:
        watch = client.watch(*request.paths, since=request.since, pace_ms=request.pace_ms, notices=True)
        if form is Form.SCREEN:
            view = WatchView(verbose=request.verbose)
            await _on_screen(request, watch, view, client.url)
        else:
            plain = PlainView(verbose=request.verbose)
            view = plain.view
            await _into_pipe(request, watch, plain, json=form is Form.JSON)
        return not request.exit_when_done or view.operations.failed == 0


async def _on_screen(request: WatchRequest, watch: Watch[Item], view: WatchView, url: str) -> None:
    now = asyncio.get_running_loop().time
    with LiveScreen(view, lambda: connection_state(watch.status, url, now()), Console()) as screen:
        due = now()
        while True:
            try:
                # A cancelled `take_batch` has removed nothing.
                async with asyncio.timeout_at(due):
                    batch = await watch.take_batch()
                if not batch:
                    return
            except TimeoutError:
                batch = []
            for item in batch:
                line = view.apply(item) if isinstance(item, ReceivedEvent) else view.note(item)
                if line is not None:
                    screen.add(line)
            if request.exit_when_done and view.done:
                return
            if now() >= due:
                screen.draw()
                due = now() + FRAME_S


async def _into_pipe(request: WatchRequest, watch: Watch[Item], plain: PlainView, *, json: bool) -> None:
    loop = asyncio.get_running_loop()
    pipe = StdoutPipe()

    def reader_gone() -> None:
        loop.call_soon_threadsafe(watch.link.cancel)

    pipe.on_reader_gone(reader_gone)
    with contextlib.suppress(BrokenPipeError):
        while batch := await watch.take_batch():
            lines = [plain.apply(item) for item in batch]
            if json:
                now, trace_id = from_nanoseconds(time.time_ns()), secrets.token_hex(16)
                pipe.write(v1_envelope(item, timestamp=now, trace_id=trace_id) for item in batch)
            else:
                pipe.write(line.encode(errors="replace") for line in lines if line is not None)
            if request.exit_when_done and plain.view.done:
                return


def connection_state(status: Status, url: str, now: float) -> ConnectionState:
    """Return the state of a watch's connection for the status line; `now` is the loop's time."""
    state = str(status.state)
    if status.state is State.STALE and status.age_s is not None:
        return ConnectionState(url, state, format_duration(int(status.age_s)))
    if status.state is State.CONNECTING and status.error is not None:
        wait = "" if status.retry_at is None else f"again in {max(0, round(status.retry_at - now))} s"
        return ConnectionState(url, "reconnecting", f"{wait} ({status.error})".strip())
    return ConnectionState(url, state)
