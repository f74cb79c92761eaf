"""`GET /v1/operation-log`: the lines that one operation logged, forwards or backwards, filtered, or as a text file."""

import asyncio
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tidings.access.grants import Grants
from tidings.exceptions import InvalidParameter, NotFound, OperationUnknown
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.log.base import Query, Record
from tidings.operations.status import OperationStatus
from tidings.operations.views import OperationLogPage, OperationLogView
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.payloads import OperationLogData
from tidings.protocol.positions import parse_position
from tidings.server.asgi.scope import query_of
from tidings.server.http.access import Identity, grants_of, identify_again, identity_of, subject_of, watched
from tidings.server.http.backwards import BackwardsReading
from tidings.server.http.events import HeldResponse, read_page
from tidings.server.http.limits import client_of
from tidings.server.http.long_poll import wait_until_known
from tidings.server.http.operation_views import OperationViewBuilder
from tidings.server.http.operations_query import MAX_SEARCH_CHARS, ORDERS, read_operation_id
from tidings.server.http.query import check_count, read_limit
from tidings.server.http.responses import Answer, to_response
from tidings.server.running_hub import HubHost

OPERATION_LOG: Final = "/v1/operation-log"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
FORMATS: Final = ("json", "text", "raw")
"""Values of `format`: pages of JSON, or all lines as a file, with time and level or as they are."""
_PARAMETERS: Final = ("operation_id", "order", "after", "until", "attempt", "level", "q", "limit", "format")
_ATTEMPT: Final = re.compile(r"[1-9][0-9]{0,9}")
_CHANNELS: Final = (ChannelType.OPERATIONS, ChannelType.GLOBAL)
_TYPE: Final = str(MessageType.OPERATION_LOG)
_MAX_BYTES: Final = 4 << 20
"""Size of the lines in one answer; the line that crosses it is still included."""
_PAGE_BYTES: Final = 128 << 10
"""Size of the lines that are read from the log in one turn."""
_PART_BYTES: Final = 64 << 10
"""The same for a file, in bytes: each client that does not read holds a part of it."""
_BUDGET_S: Final = 0.25
"""Seconds in which one request may pass lines that do not match, before it answers with where to continue."""
_FIRST_WINDOW: Final = 2_000
"""Offsets that a reader who goes backwards reads first: a millisecond or two, in any log."""

_decode = msgspec.json.Decoder(OperationLogData).decode
_encode = msgspec.json.Encoder().encode


class LogQuery(Struct, frozen=True, kw_only=True):
    """The query of one request."""

    operation_id: str
    descending: bool
    after: str | None
    """Position before the first line, in the order that is asked for."""
    until: str | None
    """Position of the last line."""
    attempt: int | None
    levels: frozenset[str]
    """Levels to read; empty for all."""
    text: str
    """Text that lines contain, in folded case."""
    limit: int
    format: str

    def matches(self, line: OperationLogView) -> bool:
        """Return whether a line is one to return."""
        if self.levels and line.level not in self.levels:
            return False
        if self.attempt is not None and line.attempt != self.attempt:
            return False
        return not self.text or self.text in line.message.casefold()


def read_log_query(query: str) -> LogQuery:
    """Read the query of `GET /v1/operation-log`.

    Raises:
        InvalidParameter: A parameter is missing or not valid.
        InvalidPosition: A position is not valid.
    """
    values = read_values(query, _PARAMETERS)
    single = {name: given[-1] for name, given in values.items()}
    operation_id = read_operation_id(values)
    attempt = single.get("attempt")
    if attempt is not None and _ATTEMPT.fullmatch(attempt) is None:
        raise InvalidParameter(f"invalid attempt={attempt[:40]!r}: expected a number from 1 on")
    check_count("level", len(values.get("level", ())))
    for level in values.get("level", ()):
        _check_choice("level", level, LEVELS)
    for name, known in (("order", ORDERS), ("format", FORMATS)):
        _check_choice(name, single.get(name, known[0]), known)
    text = single.get("q", "")
    if len(text) > MAX_SEARCH_CHARS:
        raise InvalidParameter(f"a search of {len(text)} characters: at most {MAX_SEARCH_CHARS} are allowed")
    for name in ("after", "until"):
        if name in single:
            parse_position(single[name])
    return LogQuery(
        operation_id=operation_id,
        descending=single.get("order") == "desc",
        after=single.get("after"),
        until=single.get("until"),
        attempt=None if attempt is None else int(attempt),
        levels=frozenset(values.get("level", ())),
        text=text.casefold(),
        limit=read_limit(values),
        format=single.get("format", FORMATS[0]),
    )


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidParameter(f"invalid {name}={value[:40]!r}", hint=f"Use one of {', '.join(known)}.")


class OperationLogRoute:
    """The route.

    Args:
        host: The owner of the hub.
        turns: Lets a few requests work at a time.
    """

    def __init__(self, host: HubHost, turns: asyncio.Semaphore) -> None:
        self._host = host
        self._turns = turns

    async def answer(self, request: Request) -> Response:
        """Answer `GET /v1/operation-log`.

        Raises:
            InvalidParameter: The query is not valid.
            NotFound: A position is from another log.
            OperationUnknown: The operation does not exist for the reader.
        """
        running = self._host.running()
        hub = running.hub
        query = read_log_query(query_of(request.scope))
        views = OperationViewBuilder(hub, subject_of(request.scope))
        if views.may_read(query.operation_id):
            await wait_until_known(hub, query.operation_id)
        status = _find(hub, query, views)
        reader = _LogReader(hub, query, status, self._turns, grants_of(request.scope))
        if query.format != FORMATS[0]:
            release = running.limits.reads.hold(client_of(request.scope))
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", query.operation_id).strip(".-") or "operation"
            headers = {
                "content-disposition": f"attachment; filename=\"{name}.log\"; filename*=UTF-8''{quote(name)}.log",
            }
            parts = reader.text(identity_of(request.scope))
            return HeldResponse(parts, release, media_type="text/plain; charset=utf-8", headers=headers)
        with running.limits.reads.taken(client_of(request.scope)):
            page = await (reader.backwards() if query.descending else reader.forwards())
        subject = subject_of(await identify_again(hub, request.scope))  # the read may have waited for others
        _find(hub, query, OperationViewBuilder(hub, subject))
        return to_response(Answer(200, _encode(page)))


def _find(hub: Hub, query: LogQuery, views: OperationViewBuilder) -> OperationStatus:
    status = hub.operations.get(query.operation_id)
    if status is None or not views.may_read(query.operation_id):
        raise OperationUnknown(
            f"no such operation: {query.operation_id[:80]!r}",
            operation_id=query.operation_id,
            hint="`GET /v1/operations` lists all operations.",
        )
    return status


class _LogReader:
    """Reads the lines of one operation.

    Args:
        hub: The hub.
        query: The query.
        status: The operation.
        turns: Lets a few requests work at a time.
        grants: What may be read; None for everything.

    Raises:
        NotFound: A position of the query is from another log.
    """

    def __init__(
        self, hub: Hub, query: LogQuery, status: OperationStatus, turns: asyncio.Semaphore, grants: Grants | None
    ) -> None:
        self._hub = hub
        self._query = query
        self._turns = turns
        operation_id, log = status.operation_id, hub.log
        readable = [name for name in _CHANNELS if grants is None or grants.may_read(name, operation_id)]
        self._paths = PathSet.of((Path(channel, operation_id) for channel in readable), with_global=False)
        # A hub that crashed may have lost the offset that the operation itself keeps.
        newest = max(status.log_offset, *(log.newest.offset(name, _TYPE, operation_id) or 0 for name in _CHANNELS))
        # The newest line stays in the log when its range is trimmed.
        self._first = max(0, min(newest - 1, max(status.first_offset, log.statistics().first) - 1))
        self._last = newest
        keep = hub.contract.keep_newest.get(_TYPE)
        is_thinned = keep is not None and status.lines > keep
        self._trimmed = is_thinned or log.trimmed(max(0, status.first_offset - 1), self._paths) is not None
        self._position = str(log.position(log.head))
        self._attempts = _first_offsets(status)
        after = None if query.after is None else self._resolve(query.after)
        until = None if query.until is None else self._resolve(query.until)
        if query.descending:
            self._last = min(self._last, self._last if after is None else after - 1)
            self._first = max(self._first, self._first if until is None else until - 1)
        else:
            self._first = max(self._first, self._first if after is None else after)
            self._last = min(self._last, self._last if until is None else until)

    def _resolve(self, position: str) -> int:
        offset = self._hub.log.resolve(parse_position(position))
        if offset is None:
            raise NotFound(
                f"the position {position[:40]!r} is from another log", hint="Leave it out to read from the end."
            )
        return offset

    async def forwards(self) -> OperationLogPage:
        """Return the page of the lines after the first offset, oldest first."""
        lines: list[OperationLogView] = []
        deadline = self._hub.clock.monotonic() + _BUDGET_S
        after, size = self._first, 0
        while after < self._last:
            records, scanned = await self._read(after, self._last)
            for record in records:
                line = self._matching_line(record)
                after = record.offset
                if line is not None:
                    lines.append(line)
                    size += len(record.event.data)
                    if len(lines) >= self._query.limit or size >= _MAX_BYTES:
                        return self._page(lines, after if after < self._last else None)
            after = scanned
            if self._hub.clock.monotonic() >= deadline:
                break
        return self._page(lines, after if after < self._last else None)

    async def backwards(self) -> OperationLogPage:
        """Return the page of the lines up to the last offset, newest first."""
        deadline = self._hub.clock.monotonic() + _BUDGET_S
        newest = await BackwardsReading(
            read=self._read,
            first=self._first,
            last=self._last,
            limit=self._query.limit,
            max_bytes=_MAX_BYTES,
            window=_FIRST_WINDOW,
            is_late=lambda: self._hub.clock.monotonic() >= deadline,
        ).newest(self._matching_line)
        return self._page(newest.found[::-1], newest.reached + 1 if newest.reached > self._first else None)

    async def text(self, identity: Identity | None) -> AsyncIterator[bytes]:
        """Yield all lines as text, oldest first.

        Raises:
            AccessError: The right to read was lost in the middle, so that the answer breaks off.
        """
        after = self._first
        with watched(self._hub, identity) as session:
            while after < self._last:
                part, after = await self._text_part(after)
                if session is not None:
                    session.check()
                    session.subject.grants.check_read(self._paths)
                if part:
                    yield part

    async def _text_part(self, after: int) -> tuple[bytes, int]:
        """Return some lines as text, and the offset to read on after.

        By itself, so that a client that does not read holds the text only, and not the records that it was made of.
        """
        write = _format_raw if self._query.format == "raw" else _format_line
        records, scanned = await self._read(after, self._last, _PART_BYTES)
        lines = (line for record in records if (line := self._line(record)) is not None)
        return "".join(write(line) for line in lines if self._query.matches(line)).encode(), scanned

    def _page(self, lines: Sequence[OperationLogView], following: int | None) -> OperationLogPage:
        return OperationLogPage(
            lines=list(lines),
            next=None if following is None else str(self._hub.log.position(following)),
            position=self._position,
            trimmed=self._trimmed,
        )

    async def _read(self, after: int, until: int, max_bytes: int = _PAGE_BYTES) -> tuple[Sequence[Record], int]:
        query = Query(
            after=after,
            until=until,
            paths=self._paths,
            conflate=False,
            types=frozenset({_TYPE}),
            max_bytes=max_bytes,
        )
        async with self._turns:
            page = await read_page(self._hub.log, query)
            await asyncio.sleep(0)  # the embedded logs read within the call: others have their turn behind it
        return page.records, page.scanned

    def _matching_line(self, record: Record) -> OperationLogView | None:
        line = self._line(record)
        return line if line is not None and self._query.matches(line) else None

    def _line(self, record: Record) -> OperationLogView | None:
        try:
            data = _decode(record.event.data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # a log may hold events that another contract accepted
            return None
        place = bisect_right(self._attempts, record.offset, key=lambda attempt: attempt[0])
        attempt = data.attempt or (self._attempts[place - 1][1] if place else None)
        return OperationLogView(
            position=str(self._hub.log.position(record.offset)),
            at=record.event.timestamp,
            level=data.level,
            message=data.message,
            attempt=attempt,
        )


def _first_offsets(status: OperationStatus) -> list[tuple[int, int]]:
    """Return the offset at which each attempt began, as far as it is known, and its number."""
    found: dict[int, int] = {}
    for change in status.timeline:
        if change.offset:
            found.setdefault(change.attempt, change.offset)
    return sorted((offset, attempt) for attempt, offset in found.items())


def _format_line(line: OperationLogView) -> str:
    return f"{line.at} {line.level:<8} {line.message}\n"


def _format_raw(line: OperationLogView) -> str:
    return f"{line.message}\n"
