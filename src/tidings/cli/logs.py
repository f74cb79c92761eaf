"""The command `tidings logs`: the log lines of an operation, and new ones as they happen."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from datetime import tzinfo
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error
from tidings.cli.options import UrlOption
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.cli.show import log_line
from tidings.client.client import connect
from tidings.client.events import Live, ReceivedEvent
from tidings.client.http import HTTPClient
from tidings.operations.views import LogLineView
from tidings.protocol.message_types import ChannelType
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationLogData,
)

EPILOG = exit_codes_epilog(ExitCode.SUCCESS, ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB)


def logs(
    id: OperationArgument = None,
    last: LastOption = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the operation ends.")] = False,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", metavar="N", min=0, help="Only the newest N lines.", show_default=False),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Print the log lines of an operation."""
    with exit_on_error():
        with HTTPClient(url) as client:
            operation_id = client.operation(resolve_id(client, id, last=last)).operation_id
        asyncio.run(_print(url, operation_id, lines, follow=follow))


async def _print(url: str | None, operation_id: str, lines: int | None, *, follow: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    stored: deque[LogLineView] = deque(maxlen=lines)
    live = False
    async for line in _read(url, operation_id, follow=follow):
        if line is not None and not live:
            stored.append(line)
            continue
        live = True
        for each in stored if line is None else (line,):
            console.print(_format(each, None))
        sys.stdout.flush()


async def _read(url: str | None, operation_id: str, *, follow: bool) -> AsyncIterator[LogLineView | None]:
    """Yield the stored lines, then None, and with `follow` new lines until the operation ends."""
    ended = False
    async with connect(url) as client:
        watch = client.watch(f"{ChannelType.OPERATIONS}/{operation_id}", since="first", notices=True)
        live = False
        async for item in watch:
            if isinstance(item, Live) and not live:
                live = True
                yield None
            if isinstance(item, ReceivedEvent):
                payload = item.payload
                if isinstance(payload, OperationLogData):
                    yield LogLineView(at=item.timestamp, level=payload.level, message=payload.message)
                else:
                    ended = isinstance(payload, OperationCompleteData | OperationFailedData | OperationCancelledData)
            if live and (ended or not follow):
                return


def _format(line: LogLineView, zone: tzinfo | None) -> Text:
    return Text(" ").join(cell for cell in log_line(line, zone) if cell.plain)
