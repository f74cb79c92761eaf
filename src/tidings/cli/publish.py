"""The command `tidings publish`: one event, a stream of envelopes from stdin, or the list of event types."""

import asyncio
import sys
import threading
import types
import typing
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import typer
from msgspec import Meta, structs

from tidings.cli.errors import FAILED, print_error, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.recordings import LineReader
from tidings.client.client import Client, connect
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError, ContractError, InvalidJSON, TidingsError
from tidings.protocol.envelope import Envelope, decode_envelope
from tidings.protocol.messages import Accepted

_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 0.1, 3_600.0


def publish(
    type: Annotated[
        str | None,
        typer.Argument(
            metavar="TYPE",
            help="Event type, such as data:update; - reads envelopes from stdin, one per line.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(metavar="JSON", help="Data of the event; - reads stdin, @FILE a file.", show_default=False),
    ] = None,
    url: UrlOption = None,
    trace_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Trace id. Default: a new one.", show_default=False)
    ] = None,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="Channel: global. Default: the type's own.", show_default=False)
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Event id, 16-64 characters; an id is stored once.", show_default=False),
    ] = None,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="Maximum time to wait for the answer.")] = "30s",
    list_types: Annotated[bool, typer.Option("--list", help="List the event types with their fields.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """Publish an event, and print its position in the log."""
    timeout_s = parse_duration_option("timeout", timeout, _MIN_TIMEOUT_S, _MAX_TIMEOUT_S)
    if list_types:
        _print_list(as_json=as_json)
        return
    if type is None:
        raise ConfigError("missing TYPE", option="type", hint="Run `tidings publish --list` to see the event types.")
    if type == "-":
        _refuse_options(data, trace_id, channel, event_id)
        if not asyncio.run(_publish_lines(url)):
            raise typer.Exit(FAILED)
    else:
        asyncio.run(_publish_one(url, type, data, trace_id, channel, event_id, timeout_s))


def _print_list(*, as_json: bool) -> None:
    events = list_events()
    text = msgspec.json.format(msgspec.json.encode(events)).decode() + "\n" if as_json else format_events(events)
    typer.echo(text, nl=False)


def _refuse_options(*given: str | None) -> None:
    if any(value is not None for value in given):
        raise ConfigError(
            "TYPE - reads data, trace id, channel and event id from each line",
            option="type",
            hint='Remove the other arguments. Write lines like {"type": "data:update", "data": {"dataset": "prices"}}.',
        )


async def _publish_one(
    url: str | None,
    type: str,
    data: str | None,
    trace_id: str | None,
    channel: str | None,
    event_id: str | None,
    timeout_s: float,
) -> None:
    body = read_data(data)
    async with connect(url) as client:
        accepted = await client.publish(
            type, body, trace_id=trace_id, channel=channel, event_id=event_id, timeout_s=timeout_s
        )
    if accepted.duplicate:
        print_stderr("note: this event id was published before; the position is that of the first")
    typer.echo(accepted.position)


async def _publish_lines(url: str | None) -> bool:
    async with connect(url) as client:
        return await publish_stream(client)


STDIN = "-"


def read_data(argument: str | None) -> bytes:
    """Return the data of one event: JSON itself, `-` for standard input, or `@file`.

    Raises:
        ConfigError: The file cannot be read.
        InvalidJSON: The data is not JSON.
    """
    if argument is None:
        return b"null"
    if argument == STDIN:
        data = sys.stdin.buffer.read()
    elif argument.startswith("@"):
        data = _read_file(argument[1:])
    else:
        data = argument.encode(errors="surrogateescape")
    try:
        return bytes(msgspec.json.decode(data, type=msgspec.Raw))
    except (msgspec.DecodeError, RecursionError) as cause:
        raise InvalidJSON(
            f"the data is not JSON: {str(cause).removeprefix('JSON is malformed: ')}",
            hint="""Quote it for the shell: tidings publish data:update '{"dataset": "prices"}'""",
        ) from cause


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as cause:
        raise ConfigError(
            f"cannot read {name!r}: {cause.strerror}", option="data", source="argument", hint="Check the path after @."
        ) from cause


def read_envelopes(stream: BinaryIO) -> Iterator[tuple[int, Envelope | ContractError]]:
    """Yield the envelopes of an NDJSON stream as they arrive, each with its line number; empty lines are skipped.

    A line that is not an envelope yields its error, so that later lines can be published.
    """
    for number, (line, _) in enumerate(LineReader(stream), 1):
        if line.strip():
            try:
                yield number, decode_envelope(line.strip())
            except ContractError as error:
                yield number, error


_MAX_IN_FLIGHT = 500
"""Events that wait for their answer; half of what one connection may have unacknowledged: PROTOCOL.md, "Publishing"."""
_MAX_READ_AHEAD = 500
"""Lines that are read before they can be published."""

_Line = tuple[int, Envelope | ContractError]


async def publish_stream(client: Client, lines: BinaryIO | None = None) -> bool:
    """Publish every envelope of an NDJSON stream, and print a position for each, in order.

    A refused line is reported on stderr with its number, and the later lines are published.

    Returns:
        Whether the hub accepted every line.

    Raises:
        ClientError: The connection ended permanently.
    """
    queue: asyncio.Queue[_Line | None] = asyncio.Queue()
    room = threading.Semaphore(_MAX_READ_AHEAD)
    _read_in_thread(lines, asyncio.get_running_loop(), queue, room)
    pending: deque[tuple[int, asyncio.Task[Accepted]]] = deque()
    try:
        return await _publish_all(client, queue, room, pending)
    except asyncio.CancelledError:
        if pending:
            print_stderr(f"interrupted: {len(pending)} events have no answer yet, and may be in the log")
        raise
    finally:
        for _, task in pending:
            task.cancel()


async def _publish_all(
    client: Client,
    queue: "asyncio.Queue[_Line | None]",
    room: threading.Semaphore,
    pending: "deque[tuple[int, asyncio.Task[Accepted]]]",
) -> bool:
    accepted = True
    while (line := await queue.get()) is not None:
        room.release()
        number, envelope = line
        if isinstance(envelope, ContractError):
            # After the answers to the lines before it, so that both outputs are in order.
            await _settle(pending, leave=0)
            accepted = _report_refusal(number, envelope)
            continue
        pending.append((number, asyncio.ensure_future(_publish(client, envelope))))
        accepted = await _settle(pending, leave=_MAX_IN_FLIGHT - 1 if not queue.empty() else 0) and accepted
    return await _settle(pending, leave=0) and accepted


async def _publish(client: Client, envelope: Envelope) -> Accepted:
    return await client.publish(
        envelope.type,
        envelope.data,
        trace_id=envelope.trace_id or None,
        channel=envelope.channel or None,
        event_id=envelope.event_id,
        timestamp=envelope.timestamp or None,
    )


async def _settle(pending: "deque[tuple[int, asyncio.Task[Accepted]]]", *, leave: int) -> bool:
    """Print the oldest answers until `leave` events are in flight; return whether the hub accepted those."""
    accepted = True
    while len(pending) > leave:
        number, task = pending.popleft()
        try:
            typer.echo((await task).position)
        except TidingsError as error:
            accepted = _report_refusal(number, error)
    return accepted


def _report_refusal(number: int, error: TidingsError) -> bool:
    print_error(error, prefix=f"line {number}: ")
    return False


def _read_in_thread(
    lines: BinaryIO | None,
    loop: asyncio.AbstractEventLoop,
    queue: "asyncio.Queue[_Line | None]",
    room: threading.Semaphore,
) -> None:
    """Read in a daemon thread, because a read from a terminal or a pipe cannot be cancelled.

    Each line takes one place of `room`. No coroutine is submitted: one that a closing loop never starts would warn.
    """

    def read() -> None:
        try:
            # Without a buffer: a thread that waits inside a buffered read aborts the interpreter at its end.
            for line in read_envelopes(lines or open(0, "rb", buffering=0, closefd=False)):  # noqa: SIM115
                room.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, line)
            loop.call_soon_threadsafe(queue.put_nowait, None)
        except RuntimeError:
            return  # the loop is closed, and nothing reads the queue now

    threading.Thread(target=read, name="tidings-stdin", daemon=True).start()


class PayloadField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the data of an event type."""

    name: str
    form: str
    required: bool
    key: bool
    """Whether it is the key, which paths, conflation and snapshots use."""


class ListedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event type that clients may publish."""

    type: str
    channel: str
    event_class: str
    fields: list[PayloadField]


def list_events(contract: Contract | None = None) -> list[ListedEvent]:
    """Return every event type that clients may publish, with its fields."""
    found = []
    for event in (contract or Contract()).events.values():
        if event.publishable and event.channel is not None:
            hints = typing.get_type_hints(event.payload, include_extras=True)
            members = [
                PayloadField(
                    name=field.encode_name,
                    form=describe_form(hints[field.name]),
                    required=field.required,
                    key=field.name == event.key,
                )
                for field in structs.fields(event.payload)
            ]
            found.append(
                ListedEvent(type=event.type, channel=event.channel, event_class=str(event.event_class), fields=members)
            )
    return found


_WORDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any JSON"}


def describe_form(hint: Any) -> str:
    """Return the JSON that a type accepts, in words: `number, 0 to 100`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _with_limits(describe_form(arguments[0]), arguments[1:])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_form(each) for each in arguments if each is not type(None))
    if origin is list:
        return f"list of {describe_form(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {describe_form(arguments[1])}s"
    return _WORDS.get(hint, "object")


def _with_limits(form: str, metas: tuple[Any, ...]) -> str:
    for meta in metas:
        # The bounds of int64 mean "any whole number" to a person.
        if isinstance(meta, Meta) and meta.ge is not None and meta.ge > -(2**63):
            most = f" to {meta.le:g}" if meta.le is not None and meta.le < 2**62 else " or more"
            form += f", {meta.ge:g}{most}"
    return form


def format_events(events: list[ListedEvent]) -> str:
    """Return the list as text."""
    blocks = []
    for event in events:
        lines = [f"{event.type}  ({event.channel}, {event.event_class})"]
        names = [f"{field.name}{'' if field.required else '?'}{' *' if field.key else ''}" for field in event.fields]
        width = max(map(len, names), default=0)
        lines += [f"    {name:{width}}  {field.form}" for name, field in zip(names, event.fields, strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n\n? optional    * key: identifies the subject of the event\n"
