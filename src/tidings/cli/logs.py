"""The command `tidings logs`: the log lines of an operation, and new ones as they happen."""

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import Mapping
from datetime import tzinfo
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error, print_stderr
from tidings.cli.options import UrlOption
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.cli.show import log_line
from tidings.cli.summary import summarize
from tidings.cli.wait import LOST_AFTER_S, lost_error, lost_note
from tidings.client.client import connect
from tidings.client.events import Gap, Live, ReceivedEvent
from tidings.client.http import HTTPClient
from tidings.exceptions import TidingsError
from tidings.operations.views import LogLineView
from tidings.protocol.message_types import ChannelType
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
)

EPILOG = exit_codes_epilog(
    ExitCode.FAILED,
    ExitCode.CANCELLED,
    ExitCode.UNKNOWN_OPERATION,
    ExitCode.NO_HUB,
    failed="the hub lost the operation; or another error",
)


def logs(
    id: OperationArgument = None,
    last: LastOption = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Print new lines until the operation ends; the exit code is its outcome."),
    ] = False,
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
        end = asyncio.run(print_lines(url, operation_id, lines, follow=follow))
    if follow and end is not None:
        _report_end(url, operation_id)
        raise typer.Exit(_EXIT_CODES[end])


End = type[OperationCompleteData | OperationFailedData | OperationCancelledData]
_EXIT_CODES: Mapping[End, ExitCode] = {
    OperationCompleteData: ExitCode.SUCCESS,
    OperationFailedData: ExitCode.FAILED,
    OperationCancelledData: ExitCode.CANCELLED,
}


def _report_end(url: str | None, operation_id: str) -> None:
    """Print on stderr how the operation ended, if the hub still answers."""
    with contextlib.suppress(TidingsError), HTTPClient(url) as client:
        print_stderr(f"tidings: {summarize(client.operation(operation_id), time.time())}")


async def print_lines(
    url: str | None, operation_id: str, lines: int | None, *, follow: bool, lost_after_s: float = LOST_AFTER_S
) -> End | None:
    """Print the stored lines, and with `follow` new lines until the operation ends; return its end, if it has one.

    Raises:
        ClientError: The hub had the operation, and has lost it; or no hub answers.
    """
    try:
        async with asyncio.timeout(None) as lost:
            return await _follow(url, operation_id, lines, lost, lost_after_s, follow=follow)
    except TimeoutError:
        if not lost.expired():
            raise
        raise lost_error(operation_id) from None


async def _follow(
    url: str | None, operation_id: str, lines: int | None, lost: asyncio.Timeout, lost_after_s: float, *, follow: bool
) -> End | None:
    console = Console(highlight=False, soft_wrap=True)
    stored: deque[LogLineView] = deque(maxlen=lines)
    end: End | None = None
    live = doubtful = False
    async with connect(url) as client:
        # The watch reconnects, and resumes exactly: no line comes twice, and none is lost while the hub has it.
        watch = client.watch(f"{ChannelType.OPERATIONS}/{operation_id}", since="first", notices=True)
        async for item in watch:
            if isinstance(item, Live) and not live:
                live = True
                for line in stored:
                    console.print(_format(line, None))
                sys.stdout.flush()
            elif isinstance(item, Gap) and live:
                doubtful = True
                print_stderr(f"tidings: some lines may be missing here ({item.reason})")
            elif isinstance(item, Live) and doubtful:
                # The snapshot after a gap holds events of every operation that the hub has.
                print_stderr(f"tidings: {lost_note(operation_id)}")
                lost.reschedule(asyncio.get_running_loop().time() + lost_after_s)
            elif isinstance(item, ReceivedEvent):
                doubtful = False
                lost.reschedule(None)
                payload = item.payload
                if isinstance(payload, OperationLogData):
                    line = LogLineView(at=item.timestamp, level=payload.level, message=payload.message)
                    if live:
                        console.print(_format(line, None))
                        sys.stdout.flush()
                    else:
                        stored.append(line)
                elif isinstance(payload, OperationCompleteData | OperationFailedData | OperationCancelledData):
                    end = type(payload)
                elif isinstance(payload, OperationStartData | OperationProgressData):
                    end = None  # the next attempt
            if live and (end is not None or not follow):
                break
    return end


def _format(line: LogLineView, zone: tzinfo | None) -> Text:
    return Text(" ").join(cell for cell in log_line(line, zone) if cell.plain)
