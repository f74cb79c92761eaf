"""`GET /v1/events` and `GET /v1/snapshot`: reading the log over HTTP (docs/protocol/http.md)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tidings.exceptions import InvalidParameter, LogError
from tidings.hub.connection_query import PATH_PARAMETERS, read_values
from tidings.hub.hub import Hub
from tidings.log.base import Log, Page, Query, Record
from tidings.protocol.envelope import encode_event_v1
from tidings.protocol.messages import Gap
from tidings.protocol.payloads import encode_payload
from tidings.protocol.positions import NOW, Position
from tidings.server.asgi.scope import query_of
from tidings.server.http.query import HistoryQuery, read_history_query, read_paths
from tidings.server.http.responses import JSON, Answer, to_response
from tidings.server.running_hub import HubHost

_MAX_BYTES: Final = 4 << 20
"""Size of the data in one answer; the event that crosses it is still included."""
_PAGE_BYTES: Final = 256 << 10
"""Size of one read, encoded in about a millisecond; then other requests have their turn."""
_BUDGET_S: Final = 0.25
"""Seconds in which one request may skip events that do not match, before it answers with where to continue."""


async def read_page(log: Log, query: Query) -> Page:
    """Read one page of the log.

    Raises:
        LogError: The log cannot be read.
    """
    reading: asyncio.Future[Page | LogError] = asyncio.get_running_loop().create_future()

    def done(result: Page | LogError) -> None:
        if not reading.done():
            reading.set_result(result)

    log.read(query, done)
    page = await reading
    if isinstance(page, LogError):
        raise page
    return page


class ReadingRoutes:
    """The routes that read the log."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    async def history(self, request: Request) -> Response:
        """Answer `GET /v1/events`: all events of a range, without conflation."""
        hub = self._host.running().hub
        query = read_history_query(query_of(request.scope), hub.contract)
        after, gap = _start(hub.log, query)
        records, scanned = await _read_history(hub, query, after)
        position = hub.log.position
        body = b'{"events":[%b],"next":"%b","position":"%b"' % (
            _encoded(hub.log, records),
            str(position(scanned)).encode(),
            str(position(hub.log.head)).encode(),
        )
        if gap is not None:
            body += b',"gap":%b' % encode_payload(gap)
        return to_response(Answer(200, body + b"}"))

    async def snapshot(self, request: Request) -> Response:
        """Answer `GET /v1/snapshot`: the newest event of each key, in log order."""
        hub = self._host.running().hub
        query_text = query_of(request.scope)
        paths = read_paths(query_text, hub.contract)
        read_values(query_text, PATH_PARAMETERS)
        if not paths:
            raise InvalidParameter("channels=none selects no events", hint="Name a channel, or leave `channels` out.")
        query = Query(after=0, until=hub.log.head, paths=paths, newest_only=True, max_bytes=_PAGE_BYTES)
        first = await read_page(hub.log, query)
        return StreamingResponse(_snapshot_parts(hub.log, query, first), media_type=JSON)


async def _snapshot_parts(log: Log, query: Query, page: Page) -> AsyncIterator[bytes]:
    """Yield the snapshot's JSON page by page: the whole may be too large for memory."""
    yield b'{"events":['
    separator = b""
    while True:
        if page.records:
            yield separator + _encoded(log, page.records)
            separator = b","
        if page.scanned >= query.until:
            break
        query = msgspec.structs.replace(query, after=page.scanned)
        page = await read_page(log, query)
    yield b'],"position":"%b"}' % str(log.position(query.until)).encode()


def _start(log: Log, query: HistoryQuery) -> tuple[int, Gap | None]:
    """Return the offset to read after, and the gap behind it if there is one."""
    since = query.since
    if since == NOW:
        return log.head, None
    offset = log.resolve(since) if isinstance(since, Position) else 0
    if offset is None or offset > log.head:
        reason = "epoch" if offset is None else "future"
        return 0, Gap(after=str(since), until=str(log.position(log.head)), reason=reason)
    until = log.trimmed(offset, query.paths)
    if until is None:
        return offset, None
    return offset, Gap(after=str(log.position(offset)), until=str(log.position(until)), reason="trimmed")


async def _read_history(hub: Hub, query: HistoryQuery, after: int) -> tuple[Sequence[Record], int]:
    """Read up to the limit, the head or the time budget; return the events and the offset that was reached."""
    until = hub.log.head
    clock = hub.clock
    deadline = clock.monotonic() + _BUDGET_S
    records: list[Record] = []
    size = 0
    if not query.paths:  # as with channels=none: nothing to read, up to the head
        return records, until
    while after < until:
        page = await read_page(
            hub.log,
            Query(
                after=after,
                until=until,
                paths=query.paths,
                conflate=False,
                types=query.types,
                trace_id=query.trace_id,
                limit=query.limit - len(records),
                max_bytes=_PAGE_BYTES,
            ),
        )
        after = page.scanned
        records.extend(page.records)
        size += sum(len(record.event.data) for record in page.records)
        if len(records) >= query.limit or size >= _MAX_BYTES or clock.monotonic() >= deadline:
            break
        await asyncio.sleep(0)
    return records, after


def _encoded(log: Log, records: Sequence[Record]) -> bytes:
    return b",".join([encode_event_v1(record.event, str(log.position(record.offset))) for record in records])
