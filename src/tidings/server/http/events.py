"""`GET /v1/events` and `GET /v1/snapshot`: reading the log over HTTP (docs/protocol/http.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tidings.access.grants import Grants
from tidings.exceptions import InvalidParameter, LogError, NotFound
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
from tidings.server.http.backwards import BackwardsReading
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
_MIN_WINDOW: Final = 256
"""Offsets that are read first for the newest events: few enough that large events do not keep others waiting."""
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
        until = _end(hub.log, query)
        max_bytes = min(_MAX_BYTES, max(_PAGE_BYTES, (_MAX_UNSENT_BYTES - self._unsent) // 4))
        self._unsent += max_bytes
        try:
            read = _read_newest if query.is_last else _read_oldest
            part = await read(hub, query, after, until, max_bytes, self._turns)
            grants = grants_of(await identify_again(hub, scope))  # the read may have waited for others
            if grants is not None:
                grants.check_read(query.paths)
            body = _history(_encoded(hub.log, part.records, grants), hub.log, part, gap)
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


class _Part(Struct, frozen=True):
    """The part of a range that one answer has."""

    records: Sequence[Record]
    """In log order."""
    scanned: int
    """The offset to read on after."""
    earlier: int = 0
    """The offset up to which events were not searched, if the newest are asked for; 0 if all were."""


def _history(events: bytes, log: Log, part: _Part, gap: Gap | None) -> bytes:
    members = b""
    if part.earlier:
        members = b',"earlier":"%b"' % str(log.position(part.earlier)).encode()
    elif gap is not None:
        members = b',"gap":%b' % encode_payload(gap)
    return b'{"events":[%b],"next":"%b","position":"%b"%b}' % (
        events,
        str(log.position(part.scanned)).encode(),
        str(log.position(log.head)).encode(),
        members,
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
            scanned, part = page.scanned, b""
            if page.records:
                part = separator + _encoded(log, page.records, None if session is None else session.subject.grants)
                separator = b","
            del page  # a client that does not read would hold hundreds of records
            if part:
                yield part
            if scanned >= query.until:
                break
            query = msgspec.structs.replace(query, after=scanned)
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


def _end(log: Log, query: HistoryQuery) -> int:
    """Return the offset of the last event of the range.

    Raises:
        NotFound: `until` is from another log.
    """
    if query.until is None:
        return log.head
    offset = log.resolve(query.until)
    if offset is None:
        raise NotFound(
            f"the position {query.until} is from another log", hint="Leave `until` out to read from the end."
        )
    return min(offset, log.head)


async def _read_oldest(
    hub: Hub, query: HistoryQuery, after: int, until: int, max_bytes: int, turns: asyncio.Semaphore
) -> _Part:
    """Read up to the limit, the end of the range or the time budget."""
    clock = hub.clock
    deadline = clock.monotonic() + _BUDGET_S
    records: list[Record] = []
    size = 0
    if not query.paths:  # as with channels=none: nothing to read, up to the head
        return _Part(records, until)
    while after < until:
        page = await _read_in_turn(hub.log, _part_of(query, after, until, query.limit - len(records)), turns)
        after = page.scanned
        records.extend(page.records)
        size += sum(len(record.event.data) for record in page.records)
        if len(records) >= query.limit or size >= max_bytes or clock.monotonic() >= deadline:
            break
    return _Part(records, after)


async def _read_newest(
    hub: Hub, query: HistoryQuery, after: int, until: int, max_bytes: int, turns: asyncio.Semaphore
) -> _Part:
    """Read backwards, down to the limit, the beginning of the range or the time budget."""
    clock = hub.clock
    deadline = clock.monotonic() + _BUDGET_S

    async def read(first: int, last: int) -> tuple[Sequence[Record], int]:
        page = await _read_in_turn(hub.log, _part_of(query, first, last, last - first), turns)
        return page.records, page.scanned

    if not query.paths:
        return _Part([], until)
    newest = await BackwardsReading(
        read=read,
        first=after,
        last=until,
        limit=query.limit,
        max_bytes=max_bytes,
        window=max(query.limit, _MIN_WINDOW),
        is_late=lambda: clock.monotonic() >= deadline,
    ).newest(lambda record: record)
    return _Part(newest.found, max(after, until), newest.reached if newest.reached > after else 0)


def _part_of(query: HistoryQuery, after: int, until: int, limit: int) -> Query:
    return Query(
        after=after,
        until=until,
        paths=query.paths,
        conflate=False,
        types=query.types,
        trace_id=query.trace_id,
        limit=limit,
        max_bytes=_PAGE_BYTES,
    )


def _encoded(log: Log, records: Sequence[Record], grants: Grants | None) -> bytes:
    encode = form_for(_EVENT, grants).event
    return b",".join([encode(record.event, str(log.position(record.offset))) for record in records])
