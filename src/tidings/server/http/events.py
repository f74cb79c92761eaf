"""`GET /v1/events` and `GET /v1/snapshot`: reading the log over HTTP (docs/protocol/http.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tidings.access.grants import Grants
from tidings.exceptions import InvalidParameter, LogError
from tidings.hub.connection_query import PATH_PARAMETERS, read_values
from tidings.hub.hub import Hub
from tidings.hub.reading_rights import form_for
from tidings.hub.wire import WireForm
from tidings.log.base import Log, Page, Query, Record
from tidings.protocol.envelope import encode_event_v1
from tidings.protocol.messages import Gap
from tidings.protocol.payloads import encode_payload
from tidings.protocol.positions import NOW, Moment, Position
from tidings.server.asgi.scope import query_of
from tidings.server.http.access import Identity, grants_of, identify_again, identity_of, watched
from tidings.server.http.limits import client_of
from tidings.server.http.query import HistoryQuery, read_history_query, read_paths
from tidings.server.http.responses import JSON
from tidings.server.running_hub import HubHost

_EVENT: Final = WireForm("v1 in an array", encode_event_v1, bytes)
_MAX_BYTES: Final = 4 << 20
"""Size of the data in one answer; the event that crosses it is still included."""
_MAX_UNSENT_BYTES: Final = 64 << 20
"""Size of all answers that are being read or sent; as they come near to it, each answer becomes smaller."""
_PART_BYTES: Final = 64 << 10
"""Bytes of an answer that its connection takes at a time: a client that does not read holds one such part there."""
READS_AT_A_TIME: Final = 4
"""Slices of work that requests do between two turns of the event loop, however many requests there are."""
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


async def _read_in_turn(log: Log, query: Query, turns: asyncio.Semaphore) -> Page:
    async with turns:
        page = await read_page(log, query)
        await asyncio.sleep(0)  # the embedded logs read within the call: others have their turn behind it
    return page


class ReadingRoutes:
    """The routes that read the log.

    Args:
        host: The owner of the hub.
        turns: Lets `READS_AT_A_TIME` requests work at a time.
    """

    def __init__(self, host: HubHost, turns: asyncio.Semaphore) -> None:
        self._host = host
        self._turns = turns
        self._unsent = 0

    async def history(self, request: Request) -> Response:
        """Answer `GET /v1/events`: all events of a range, without conflation."""
        running = self._host.running()
        hub = running.hub
        query = read_history_query(query_of(request.scope), hub.contract, grants_of(request.scope))
        with running.limits.reads.taken(client_of(request.scope)):
            return await self._read_history(hub, query, request.scope)

    async def _read_history(self, hub: Hub, query: HistoryQuery, scope: Scope) -> Response:
        after, gap = _start(hub.log, query)
        max_bytes = min(_MAX_BYTES, max(_PAGE_BYTES, (_MAX_UNSENT_BYTES - self._unsent) // 4))
        self._unsent += max_bytes
        try:
            records, scanned = await _read_history(hub, query, after, max_bytes, self._turns)
            grants = grants_of(await identify_again(hub, scope))  # the read may have waited for others
            if grants is not None:
                grants.check_read(query.paths)
            body = _history(_encoded(hub.log, records, grants), hub.log, scanned, gap)
        except BaseException:
            self._unsent -= max_bytes
            raise
        self._unsent += len(body) - max_bytes
        return _PartedResponse(body, self._sent)

    def _sent(self, size: int) -> None:
        self._unsent -= size

    async def snapshot(self, request: Request) -> Response:
        """Answer `GET /v1/snapshot`: the newest event of each key, in log order."""
        running = self._host.running()
        hub = running.hub
        query_text = query_of(request.scope)
        paths = read_paths(query_text, hub.contract, grants_of(request.scope))
        read_values(query_text, PATH_PARAMETERS)
        if not paths:
            raise InvalidParameter("channels=none selects no events", hint="Name a channel, or leave `channels` out.")
        query = Query(after=0, until=hub.log.head, paths=paths, newest_only=True, max_bytes=_PAGE_BYTES)
        release = running.limits.reads.hold(client_of(request.scope))
        try:
            first = await _read_in_turn(hub.log, query, self._turns)
        except BaseException:
            release()
            raise
        parts = _snapshot_parts(hub, query, first, self._turns, identity_of(request.scope))
        return HeldResponse(parts, release)


class HeldResponse(StreamingResponse):
    """An answer in parts that counts as a read until it is sent.

    Args:
        parts: The parts.
        release: Called in the end, whether it was sent or not.
        media_type: Its media type.
        headers: Further headers.
    """

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        release: Callable[[], None],
        *,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(parts, headers=headers, media_type=media_type)
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


class _PartedResponse(Response):
    """An answer that is sent in parts, so that one that is not read waits here and not in the connection.

    Args:
        body: The answer.
        sent: Called with its size in the end, whether it was sent or not.
    """

    def __init__(self, body: bytes, sent: Callable[[int], None]) -> None:
        super().__init__(body, media_type=JSON)
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        body = bytes(self.body)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(body), _PART_BYTES):
                end = start + _PART_BYTES
                await send({"type": "http.response.body", "body": body[start:end], "more_body": end < len(body)})
        finally:
            self._sent(len(body))


def _history(events: bytes, log: Log, scanned: int, gap: Gap | None) -> bytes:
    return b'{"events":[%b],"next":"%b","position":"%b"%b}' % (
        events,
        str(log.position(scanned)).encode(),
        str(log.position(log.head)).encode(),
        b"" if gap is None else b',"gap":%b' % encode_payload(gap),
    )


async def _snapshot_parts(
    hub: Hub, query: Query, page: Page, turns: asyncio.Semaphore, identity: Identity | None
) -> AsyncIterator[bytes]:
    """Yield the snapshot's JSON page by page: the whole may be too large for memory.

    Raises:
        AccessError: The right to read was lost in the middle, so that the answer breaks off.
    """
    log = hub.log
    yield b'{"events":['
    separator = b""
    with watched(hub, identity) as session:
        while True:
            if page.records:
                yield separator + _encoded(log, page.records, None if session is None else session.subject.grants)
                separator = b","
            if page.scanned >= query.until:
                break
            query = msgspec.structs.replace(query, after=page.scanned)
            page = await _read_in_turn(log, query, turns)
            if session is not None:
                session.check()
                session.subject.grants.check_read(query.paths)
    yield b'],"position":"%b"}' % str(log.position(query.until)).encode()


def _start(log: Log, query: HistoryQuery) -> tuple[int, Gap | None]:
    """Return the offset to read after, and the gap behind it if there is one."""
    since = query.since
    if since == NOW:
        return log.head, None
    if isinstance(since, Moment):
        offset: int | None = log.last_before(since.unix_ns)
    else:
        offset = log.resolve(since) if isinstance(since, Position) else 0
    if offset is None or offset > log.head:
        reason = "epoch" if offset is None else "future"
        return 0, Gap(after=str(since), until=str(log.position(log.head)), reason=reason)
    until = log.trimmed(offset, query.paths)
    if until is None:
        return offset, None
    return offset, Gap(after=str(log.position(offset)), until=str(log.position(until)), reason="trimmed")


async def _read_history(
    hub: Hub, query: HistoryQuery, after: int, max_bytes: int, turns: asyncio.Semaphore
) -> tuple[Sequence[Record], int]:
    """Read up to the limit, the head or the time budget; return the events and the offset that was reached."""
    until = hub.log.head
    clock = hub.clock
    deadline = clock.monotonic() + _BUDGET_S
    records: list[Record] = []
    size = 0
    if not query.paths:  # as with channels=none: nothing to read, up to the head
        return records, until
    while after < until:
        part = Query(
            after=after,
            until=until,
            paths=query.paths,
            conflate=False,
            types=query.types,
            trace_id=query.trace_id,
            limit=query.limit - len(records),
            max_bytes=_PAGE_BYTES,
        )
        page = await _read_in_turn(hub.log, part, turns)
        after = page.scanned
        records.extend(page.records)
        size += sum(len(record.event.data) for record in page.records)
        if len(records) >= query.limit or size >= max_bytes or clock.monotonic() >= deadline:
            break
    return records, after


def _encoded(log: Log, records: Sequence[Record], grants: Grants | None) -> bytes:
    encode = form_for(_EVENT, grants).event
    return b",".join([encode(record.event, str(log.position(record.offset))) for record in records])
