"""The command `tidings watch`: one watch from its connection to its end, on a screen or into a pipe."""

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated

import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option, parse_since_option, resolve_since
from tidings.cli.resolve import find_id
from tidings.cli.units import format_duration
from tidings.cli.watch.history import History, describe_left_out
from tidings.cli.watch.keyboard import KeyReader
from tidings.cli.watch.pipe import StdoutPipe, v1_envelope
from tidings.cli.watch.plain_view import PlainView
from tidings.cli.watch.screen import FRAME_S, MAX_HISTORY_LINES, LiveScreen
from tidings.cli.watch.view import ConnectionState, EventFilter, WatchView, list_names
from tidings.client.client import Client, connect
from tidings.client.events import Item, ReceivedEvent
from tidings.client.http import HTTPClient, Query
from tidings.client.status import State, Status
from tidings.client.watch import Watch
from tidings.exceptions import ConfigError, HubUnreachable, LicenseExpired, TidingsError
from tidings.operations.views import OperationSummary
from tidings.printable import escape_json
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import check_paths, parse_paths
from tidings.protocol.positions import SNAPSHOT, Moment, parse_since
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

_CHANNELS = frozenset(ChannelType)
_SCREEN_PACE_MS = 100
_MAX_PACE_S = 5.0
_MAX_PIPED_HISTORY_LINES = 1_000
"""Lines about what happened before the watch that a pipe receives, if the watch begins with a snapshot."""
_MAX_CHOSEN_HISTORY_LINES = 1_000
"""Lines about the past that a terminal shows, if --since asks for it."""
_MAX_BEGUN = 10_000
"""Operations that a watch from a time asks the hub for, because they began before."""
_WAITING_NOTE_S = 1.0
"""Seconds without a hub after which `--wait` reports that it waits."""
_MAX_TIMEOUT_S = 36_525 * 86_400.0
EPILOG = exit_codes_epilog(
    ExitCode.NO_HUB,
    ExitCode.TIMED_OUT,
    failed="with --exit-when-done, an operation failed or vanished; or another error",
)


def watch(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Paths to watch: operations, operations/op-42, operations/acme.*, or an operation's name or the "
            "beginning of its id. Default: all.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only operations of this name, with their children; 'Import*' is a prefix.",
            show_default=False,
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only operations that fail.")] = False,
    since: Annotated[
        str,
        typer.Option(
            metavar="SINCE",
            help="Where to start: snapshot, now, first, a position, an age such as 6h, or an RFC 3339 time.",
        ),
    ] = "snapshot",
    exit_when_done: Annotated[
        bool,
        typer.Option(
            "--exit-when-done",
            help="Exit when no operation on the paths runs, with code 1 if one failed or the hub lost one since the "
            "watch began.",
        ),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait for a hub that does not run yet; with --exit-when-done, for a first operation too."
        ),
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Exit with code 124 after this time. Default: no limit.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one v1 envelope per line.")] = False,
    pace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help=f"Minimum time between two deliveries. Default: {_SCREEN_PACE_MS}ms on a terminal, else 0.",
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Show operations as they run, and all other events as they happen.

    Output is bars on a terminal, lines in a pipe, and envelopes with --json. On a terminal, q quits.
    """
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    form = Form.JSON if json else Form.SCREEN if terminal else Form.LINES
    if pace is None:
        pace_ms = _SCREEN_PACE_MS if form is Form.SCREEN else 0
    else:
        pace_ms = round(1_000 * parse_duration_option("pace", pace, 0.0, _MAX_PACE_S))
    start = parse_since_option(since)
    chosen = _find_operations(paths or (), url)
    request = WatchRequest(
        url=url,
        paths=chosen,
        since=start,
        pace_ms=pace_ms,
        wait=wait,
        exit_when_done=exit_when_done,
        selection=EventFilter(name=name, failed=failed, exact=_name_single_operations(chosen)),
    )
    timeout_s = None if timeout is None else parse_duration_option("timeout", timeout, 0.0, _MAX_TIMEOUT_S)
    code = asyncio.run(_run_in_time(request, form, timeout_s))
    if code == ExitCode.TIMED_OUT:
        print_stderr(f"error: timed out after {timeout}")
    if code:
        raise typer.Exit(code)


def _find_operations(paths: Sequence[str], url: str | None) -> tuple[str, ...]:
    """Return paths, with the path of an operation in place of each text that is not a channel and names one.

    Raises:
        ConfigError: A text names neither a channel nor an operation, or several operations.
    """
    if all(path in _CHANNELS or "/" in path or path.endswith("*") for path in paths):
        return tuple(paths)
    found: list[str] = []
    # Without a hub, the connection of the watch reports it, or waits for it.
    with contextlib.suppress(HubUnreachable), HTTPClient(url) as client:
        channels = {*_CHANNELS, *client.contract()["channels"]}
        for path in paths:
            known = "/" in path or path.endswith("*") or path in channels
            id = None if known else find_id(client, path)
            if id is None and not known:
                raise ConfigError(
                    f"there is no channel and no operation {path[:80]!r}",
                    option="PATH",
                    source="argument",
                    hint=f"The channels are {', '.join(sorted(channels))}; `tidings ls` lists the operations. "
                    "For an operation that begins later, write operations/ID.",
                )
            found.append(path if id is None else f"{ChannelType.OPERATIONS}/{id}")
    return tuple(found) if len(found) == len(paths) else tuple(paths)


class Form(Enum):
    """Output form of a watch."""

    SCREEN = "screen"
    LINES = "lines"
    JSON = "json"


class WatchRequest(Struct, frozen=True, kw_only=True):
    """The options of one watch."""

    url: str | None
    paths: tuple[str, ...]
    since: str | float
    """Where to start: as the hub reads it, or the age of the first events in seconds."""
    pace_ms: int
    wait: bool
    exit_when_done: bool
    selection: EventFilter = EventFilter()

    @property
    def verbose(self) -> bool:
        """Whether a path names the system channel."""
        return any(path.partition("/")[0] == ChannelType.SYSTEM for path in self.paths)

    def is_done(self, view: WatchView) -> bool:
        """Return whether the watch exits now."""
        return self.exit_when_done and view.idle and (view.has_begun or not self.wait)

    def awaits_first(self, view: WatchView) -> bool:
        """Return whether the watch waits for the first operation."""
        return self.exit_when_done and self.wait and view.live and not view.has_begun


def _name_single_operations(paths: tuple[str, ...]) -> bool:
    return bool(paths) and all("/" in path and not path.endswith("*") for path in paths)


async def _run_in_time(request: WatchRequest, form: Form, timeout_s: float | None) -> int:
    """Return the exit code of a watch that ends in time, or that of a timeout."""
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return await run_watch(request, form)
    except TimeoutError:
        if not limit.expired():
            raise
        return ExitCode.TIMED_OUT


async def run_watch(request: WatchRequest, form: Form) -> int:
    """Watch until `q` or Ctrl-C, until the reader of our output exits, or until all operations have ended.

    Returns:
        The exit code: 0, 1 if `exit_when_done` is set and an operation failed or vanished, or that of a signal.

    Raises:
        ContractError: A path or `since` is not valid.
        ClientError: No hub answers, or it ended the watch for good.
    """
    if request.paths:
        check_paths(request.paths)
    view = WatchView(verbose=request.verbose, selection=request.selection)
    with _report_waiting(request):
        client = await connect(request.url, wait_for_hub=request.wait)
    async with contextlib.aclosing(client):
        since = resolve_since(request.since, _hub_time_s(client))
        if isinstance(parse_since(since), Moment):
            for each in await asyncio.to_thread(_list_begun, client.url, since, request.paths):
                view.operations.add_begun(each, _hub_time_s(client))
        watch = client.watch(
            *request.paths,
            since=since,
            pace_ms=request.pace_ms,
            notices=True,
            on_change=None if form is Form.SCREEN else _LicenseNote(),
        )
        if form is Form.SCREEN:
            code = await _on_screen(request, watch, view, client.url)
        else:
            code = await _into_pipe(request, watch, PlainView(view), json=form is Form.JSON)
    if request.exit_when_done and view.vanished:
        print_stderr(f"error: the hub no longer has {list_names(view.vanished)}: it may have restarted without its log")
    return code or (FAILED if request.exit_when_done and (view.failures or view.vanished) else 0)


def _list_begun(url: str, since: str, paths: Sequence[str]) -> list[OperationSummary]:
    """Return the operations on `paths` that were running or queued at a time, oldest first.

    A watch that reads from then on receives no event with their names and starts.
    """
    channels = {path.partition("/")[0] for path in paths} - {"*"}
    wanted = parse_paths(paths or ("*",), {*_CHANNELS, *channels})
    at_ns, begun = to_nanoseconds(since), dict[str, tuple[int, OperationSummary]]()
    # The watch works without them, and reports itself that a hub is unreachable.
    with contextlib.suppress(TidingsError), HTTPClient(url) as client:
        queries: tuple[Query, ...] = [("state", "running"), ("state", "queued")], [("since", since)]
        for query in queries:
            for each in client.operations(query, _MAX_BEGUN):
                began_at = each.started_at or each.queued_at
                if began_at is None or not wanted.matches(ChannelType.OPERATIONS, each.operation_id):
                    continue
                began_ns = to_nanoseconds(began_at)
                if began_ns < at_ns and (each.ended_at is None or to_nanoseconds(each.ended_at) >= at_ns):
                    begun[each.operation_id] = began_ns, each
    return [each for _, each in sorted(begun.values(), key=lambda pair: pair[0])]


@contextlib.contextmanager
def _report_waiting(request: WatchRequest) -> Iterator[None]:
    """Report on stderr that there is no hub yet, if that takes a while."""
    timer = asyncio.get_running_loop().call_later(
        _WAITING_NOTE_S, print_stderr, "tidings: no hub answers yet; waiting for it"
    )
    try:
        yield
    finally:
        timer.cancel()


def _hub_time_s(source: Client | Watch[Item]) -> float:
    """Return the time by the hub's clock; before the hub has sent it, by this machine's."""
    hub_s = source.hub_time_s()
    return time.time() if hub_s is None else hub_s


async def _on_screen(request: WatchRequest, watch: Watch[Item], view: WatchView, url: str) -> int:
    now = asyncio.get_running_loop().time
    history: History[Text] = History(MAX_HISTORY_LINES if request.since == SNAPSHOT else _MAX_CHOSEN_HISTORY_LINES)
    ending: list[int] = []

    def quit(signal_number: int | None) -> None:
        ending.append(0 if signal_number is None else 128 + signal_number)

    def note() -> str:
        waiting = "waiting for the first operation" if request.awaits_first(view) else ""
        return "  ".join(part for part in (waiting, "q quits" if keyboard.reads else "") if part)

    screen = LiveScreen(
        view, lambda: connection_state(watch.status, url, now()), Console(), lambda: _hub_time_s(watch), note
    )
    keyboard = KeyReader(quit, screen.suspend, screen.resume)
    with keyboard, screen:
        due = now()
        while not ending:
            try:
                # A cancelled `take_batch` has removed nothing.
                async with asyncio.timeout_at(due):
                    batch = await watch.take_batch()
                if not batch:
                    return 0
            except TimeoutError:
                batch = []
            now_s = _hub_time_s(watch)
            for item in batch:
                line = view.apply(item, now_s) if isinstance(item, ReceivedEvent) else view.note(item)
                for shown in history.add([] if line is None else [line]):
                    screen.add(shown)
                if view.live:
                    for shown in _flush(history):
                        screen.add(shown)
            if request.is_done(view):
                return 0
            if now() >= due:
                screen.draw()
                due = now() + FRAME_S
    return ending[0]


def _flush(history: History[Text]) -> Iterator[Text]:
    left_out, kept = history.close()
    if left_out:
        yield Text(describe_left_out(left_out), "dim")
    yield from kept


async def _into_pipe(request: WatchRequest, watch: Watch[Item], plain: PlainView, *, json: bool) -> int:
    loop = asyncio.get_running_loop()
    pipe, view = StdoutPipe(), plain.view
    history: History[str] = History(None if json or request.since != SNAPSHOT else _MAX_PIPED_HISTORY_LINES)
    reported_waiting = False

    def reader_gone() -> None:
        loop.call_soon_threadsafe(watch.link.cancel)

    pipe.on_reader_gone(reader_gone)
    with contextlib.suppress(BrokenPipeError):
        while batch := await watch.take_batch():
            now_s = _hub_time_s(watch)
            lines: list[bytes] = []
            now, trace_id = from_nanoseconds(time.time_ns()), secrets.token_hex(16)
            for item in batch:
                shown = not isinstance(item, ReceivedEvent) or view.is_shown(item)
                line = plain.apply(item, now_s)
                if json:
                    lines += [escape_json(v1_envelope(item, timestamp=now, trace_id=trace_id))] if shown else []
                    continue
                ready = history.add([] if line is None else [line])
                if view.live:
                    left_out, kept = history.close()
                    ready = [*([describe_left_out(left_out)] if left_out else []), *kept, *ready]
                lines += [each.encode(errors="replace") for each in ready]
            pipe.write(lines)
            if request.is_done(view):
                break
            if request.awaits_first(view) and not reported_waiting:
                reported_waiting = True
                print_stderr("tidings: no operation runs yet; waiting for the first")
    return 0


class _LicenseNote:
    """Reports on stderr, once, that the watch waits for the hub's license: an outage of days."""

    def __init__(self) -> None:
        self._reported = False

    def __call__(self, status: Status) -> None:
        waits = isinstance(status.error, LicenseExpired)
        if waits and not self._reported:
            print_stderr(f"tidings: {status.error}; waiting for its renewal")
        # Between two attempts the error is away for a moment.
        self._reported = waits or (self._reported and status.state is not State.LIVE)


def connection_state(status: Status, url: str, now: float) -> ConnectionState:
    """Return the state of a watch's connection for the status line; `now` is the loop's time."""
    state = str(status.state)
    if status.state is State.STALE and status.age_s is not None:
        return ConnectionState(url, state, format_duration(int(status.age_s)))
    if status.state is State.CONNECTING and status.error is not None:
        wait = "" if status.retry_at is None else f"again in {max(0, round(status.retry_at - now))} s"
        return ConnectionState(url, "reconnecting", f"{wait} ({status.error})".strip())
    return ConnectionState(url, state)
