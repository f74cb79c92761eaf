"""The newest lines of an operation's log, read backwards: nobody walks over all of the log for them."""

import asyncio
from typing import Final

import msgspec

from tidings.hub.hub import Hub
from tidings.log.base import Query, Record
from tidings.operations.status import OperationStatus
from tidings.operations.views import LogLineView
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.payloads import OperationLogData
from tidings.server.http_log import read_page

MOST_LINES: Final = 100
_FIRST_WINDOW: Final = 2_000
"""Offsets looked at first, the newest: a read of so many takes a millisecond or two, in any log."""
_LAST_WINDOW: Final = 32_000
"""Each further window is twice as long, up to this."""
_BUDGET_S: Final = 0.25
"""Seconds that one request may look for lines among everything else that the log holds."""
_CHANNELS: Final = (ChannelType.OPERATIONS, ChannelType.GLOBAL)
_TYPE: Final = str(MessageType.OPERATION_LOG)

_decode = msgspec.json.Decoder(OperationLogData).decode


async def newest_lines(hub: Hub, status: OperationStatus) -> list[LogLineView]:
    """Return the newest `MOST_LINES` lines of an operation, oldest first; fewer where looking for them takes too long.

    Raises:
        LogError: The log cannot be read.
    """
    operation_id, log = status.operation_id, hub.log
    paths = PathSet.of((Path(channel, operation_id) for channel in _CHANNELS), with_global=False)
    # A hub that crashed may have lost the operation's own note of it.
    newest = max(status.log_offset, *(log.newest.offset(channel, _TYPE, operation_id) or 0 for channel in _CHANNELS))
    if not newest:
        return []
    # The newest line stays where the range was trimmed.
    first = min(newest - 1, max(status.first_offset, log.statistics().first) - 1)
    deadline = hub.clock.monotonic() + _BUDGET_S
    found: list[Record] = []
    until, window = newest, _FIRST_WINDOW
    while until > first and len(found) < MOST_LINES and hub.clock.monotonic() < deadline:
        after = max(first, until - window)
        found[:0] = await _newest_between(hub, paths, after, until)
        until, window = after, min(2 * window, _LAST_WINDOW)
        await asyncio.sleep(0)
    return [line for record in found[-MOST_LINES:] if (line := _line(record)) is not None]


async def _newest_between(hub: Hub, paths: PathSet, after: int, until: int) -> list[Record]:
    """Return the newest lines on `paths` with an offset after `after` and up to `until`, in log order."""
    found: list[Record] = []
    while after < until:
        query = Query(after=after, until=until, paths=paths, conflate=False, types=frozenset({_TYPE}))
        page = await read_page(hub.log, query)
        found = [*found[-MOST_LINES:], *page.records]
        after = page.scanned
        if after < until:
            await asyncio.sleep(0)
    return found


def _line(record: Record) -> LogLineView | None:
    try:
        said = _decode(record.event.data)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a log may hold what another contract took
        return None
    return LogLineView(at=record.event.timestamp, level=said.level, message=said.message)
