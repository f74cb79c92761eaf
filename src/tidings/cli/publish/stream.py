"""Publishing of a whole stream of envelopes: many on their way at once, their answers in order."""

import asyncio
import sys
import threading
from collections import deque
from typing import BinaryIO

import typer

from tidings.cli.failure import show_failure
from tidings.cli.publish.source import read_envelopes
from tidings.client.client import Client
from tidings.exceptions import ContractError, TidingsError
from tidings.protocol.envelope import Envelope
from tidings.protocol.messages import Accepted

_IN_FLIGHT = 500
"""Events that wait for their answer; half of what one connection may have unacknowledged (CONTRACT §6)."""
_READ_AHEAD = 500

_Line = tuple[int, Envelope | ContractError]


async def publish_stream(client: Client, lines: BinaryIO | None = None) -> bool:
    """Publish every envelope of an NDJSON stream, and print a position for each, in order.

    What is refused is told on stderr with its line's number, and the rest goes on.

    Returns:
        Whether all were accepted.

    Raises:
        ClientError: The hub is gone for good.
    """
    queue: asyncio.Queue[_Line | None] = asyncio.Queue(_READ_AHEAD)
    _read_in_thread(lines or sys.stdin.buffer, asyncio.get_running_loop(), queue)
    pending: deque[tuple[int, asyncio.Task[Accepted]]] = deque()
    well = True
    while (line := await queue.get()) is not None:
        number, envelope = line
        if isinstance(envelope, ContractError):
            # After the answers to the lines before it, so that both outputs are in order.
            await _settle(pending, leave=0)
            well = _refused(number, envelope)
            continue
        pending.append((number, asyncio.ensure_future(_publish(client, envelope))))
        well = await _settle(pending, leave=_IN_FLIGHT - 1 if not queue.empty() else 0) and well
    return await _settle(pending, leave=0) and well


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
    """Tell of the oldest until only `leave` are on their way; return whether those were accepted."""
    well = True
    while len(pending) > leave:
        number, task = pending.popleft()
        try:
            typer.echo((await task).position)
        except TidingsError as error:
            well = _refused(number, error)
    return well


def _refused(number: int, error: TidingsError) -> bool:
    show_failure(error, prefix=f"line {number}: ")
    return False


def _read_in_thread(lines: BinaryIO, loop: asyncio.AbstractEventLoop, queue: "asyncio.Queue[_Line | None]") -> None:
    """Read in a thread that nobody waits for: a read of a terminal or a pipe cannot be cancelled."""

    def read() -> None:
        try:
            for line in read_envelopes(lines):
                asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(None), loop).result()
        except RuntimeError:
            return  # the loop is closed: nobody wants the rest

    threading.Thread(target=read, name="tidings-stdin", daemon=True).start()
