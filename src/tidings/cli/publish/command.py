"""The command `tidings publish`."""

import asyncio
from typing import Annotated

import msgspec
import typer

from tidings.cli.failure import FAILED, write_lines
from tidings.cli.target import UrlOption
from tidings.exceptions import ConfigError

_TIMEOUT_S = 30.0


def publish(
    type: Annotated[
        str | None,
        typer.Argument(metavar="TYPE", help="Such as data:update; - reads envelopes, one a line.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Argument(metavar="[JSON]", help="The data; - is stdin, @FILE a file.", show_default=False)
    ] = None,
    url: UrlOption = None,
    trace_id: Annotated[str | None, typer.Option(metavar="ID", help="What it belongs to.", show_default=False)] = None,
    channel: Annotated[
        str | None, typer.Option(metavar="NAME", help="global, or leave it out.", show_default=False)
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="16-64 characters: the same again is stored once.", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long to wait for the hub's answer.")
    ] = _TIMEOUT_S,
    list_types: Annotated[bool, typer.Option("--list", help="Show the event types, with their fields.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: as JSON.")] = False,
) -> None:
    """Publish an event, and print its position in the log."""
    if list_types:
        _list(as_json=as_json)
        return
    if type is None:
        raise ConfigError("no TYPE was given", option="type", hint="`tidings publish --list` shows the event types.")
    if type == "-":
        _refuse_options(data, trace_id, channel, event_id)
        well = asyncio.run(_publish_lines(url))
    else:
        asyncio.run(_publish_one(url, type, data, trace_id, channel, event_id, timeout))
        well = True
    if not well:
        raise typer.Exit(FAILED)


def _list(*, as_json: bool) -> None:
    from tidings.cli.publish.catalogue import as_text, listed

    events = listed()
    text = msgspec.json.format(msgspec.json.encode(events)).decode() + "\n" if as_json else as_text(events)
    typer.echo(text, nl=False)


def _refuse_options(*given: str | None) -> None:
    if any(value is not None for value in given):
        raise ConfigError(
            "with TYPE -, data, trace id, channel and event id are read from each line",
            option="type",
            hint='Write lines like {"type": "data:update", "data": {"dataset": "prices"}}.',
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
    from tidings.cli.publish.source import read_data
    from tidings.client.client import connect

    body = read_data(data)
    async with connect(url) as client:
        accepted = await client.publish(
            type, body, trace_id=trace_id, channel=channel, event_id=event_id, timeout_s=timeout_s
        )
    if accepted.duplicate:
        write_lines("note: this event id was published before; the position is the first one's")
    typer.echo(accepted.position)


async def _publish_lines(url: str | None) -> bool:
    from tidings.cli.publish.stream import publish_stream
    from tidings.client.client import connect

    async with connect(url) as client:
        return await publish_stream(client)
