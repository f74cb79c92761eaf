"""`/v1/operations` and `/v1/operation-names`: what the hub knows of operations, and having them end (CONTRACT §4)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from tidings.exceptions import Draining, NotFound, OperationUnknown
from tidings.hub.hub import Hub
from tidings.operations.status import OperationStatus
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.protocol.payloads import encode_payload
from tidings.server.asgi.scope import headers_of, route_path
from tidings.server.http.body import check_json_type, read_body
from tidings.server.http.events import query_string
from tidings.server.http.long_poll import wait_for_wakeup, wake
from tidings.server.http.operation_views import OperationViewBuilder, newest_lines
from tidings.server.http.operations_query import (
    TEXT_PARAMETERS,
    OperationPath,
    OperationQuery,
    matches_name,
    parse_operation_path,
    read_cancel,
    read_filter,
    read_wait,
)
from tidings.server.http.query import read_values
from tidings.server.http.responses import Answer, method_refusal, to_response
from tidings.server.running_hub import HubHost, RunningHub

_AT_ONCE: Final = 200
"""Operations looked at before others have their turn: a millisecond, or a few where all of them are shown."""
_BUDGET_S: Final = 0.25
"""Seconds that one request may look through operations that are not asked for, before it answers with where to go
on."""
_MAX_BYTES: Final = 4 << 20
"""Of one answer, and the one operation that crosses it."""
_NEAR: Final = 200
"""Operations, the newest, whose ids are compared with one that is unknown: 10 ms."""
_NEAR_BEGINNINGS: Final = 2_000
"""Those whose ids are looked at for one that begins so."""

_Item = TypeVar("_Item")
_encode = msgspec.json.Encoder().encode


class OperationRoutes:
    """The routes that tell of operations, and cancel them."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    async def listing(self, request: Request) -> Response:
        """Answer `GET /v1/operations`."""
        hub = self._host.running().hub
        wanted = read_filter(query_string(request), hub.now_ns())
        summaries, following = await _list(hub, wanted)
        after = b"" if following is None else b',"next":"%d"' % following
        return to_response(Answer(200, b'{"operations":[%b]%b}' % (b",".join(summaries), after)))

    async def names(self, request: Request) -> Response:
        """Answer `GET /v1/operation-names`."""
        hub = self._host.running().hub
        values = read_values(query_string(request), texts=TEXT_PARAMETERS)
        histories = [history for name, history in hub.operations.names.items() if matches_name(values, name)]
        sight = OperationViewBuilder(hub)
        names = [_encode(sight.name(history)) async for history in _in_turns(histories[::-1], sight)]
        return to_response(Answer(200, b'{"names":[%b]}' % b",".join(names)))

    async def one(self, request: Request) -> Response:
        """Answer what is asked of one operation: `GET /v1/operations/{id}`, `POST /v1/operations/{id}/cancel`.

        Raises:
            NotFound: The path names none.
        """
        place = parse_operation_path(request.scope)
        path = route_path(request.scope)
        if place is None:
            raise NotFound(f"there is nothing at {path[:200]!r}")
        if request.method not in place.allowed.split(", "):
            return to_response(method_refusal(path, place.allowed))
        return await (self._cancel(request, place) if place.cancels else self._show(request, place))

    async def _show(self, request: Request, place: OperationPath) -> Response:
        running = self._host.running()
        hub, operation_id = running.hub, place.operation_id
        wait_s = read_wait(query_string(request))
        if wait_s:
            await running.long_polls.wait_ended(operation_id, wait_s, request.receive)
        status = _known(hub, operation_id)
        lines = await newest_lines(hub, status)
        return to_response(Answer(200, _encode(OperationViewBuilder(hub).detail(status, lines))))

    async def _cancel(self, request: Request, place: OperationPath) -> Response:
        body = await read_body(request.receive)
        if body is None:  # the client is gone
            return Response()
        if body:
            check_json_type(headers_of(request.scope))
        cancel = read_cancel(place.operation_id, body)
        running = self._host.running()
        _known(running.hub, place.operation_id)
        outcome = await _outcome(running, cancel, request)
        return to_response(Answer(200, encode_payload(outcome)))


def find_allowed_methods(scope: Scope) -> str | None:
    """Return the methods that one operation's path takes, or None where the path names none."""
    place = parse_operation_path(scope)
    return None if place is None else place.allowed


async def _list(hub: Hub, wanted: OperationQuery) -> tuple[list[bytes], int | None]:
    """Return the summaries of one page, encoded, and the cursor of the next page if there may be one."""
    deadline = hub.clock.monotonic() + _BUDGET_S
    sight = OperationViewBuilder(hub)
    summaries: list[bytes] = []
    size, number = 0, wanted.after
    while True:
        looked = hub.operations.before(number, _AT_ONCE)
        for status in looked:
            number = status.number
            if not wanted.matches(status):
                continue
            summary = _encode(sight.summary(status))
            summaries.append(summary)
            size += len(summary)
            if len(summaries) >= wanted.limit or size >= _MAX_BYTES or sight.looked_at >= _AT_ONCE:
                break
        sight.looked_at = 0
        more = bool(hub.operations.before(number, 1))
        is_full = len(summaries) >= wanted.limit or size >= _MAX_BYTES
        if not more or is_full or hub.clock.monotonic() >= deadline:
            return summaries, number if more else None
        await asyncio.sleep(0)


async def _in_turns(items: Sequence[_Item], sight: OperationViewBuilder) -> AsyncIterator[_Item]:
    """Yield items, letting others have their turn when enough was looked at."""
    for item in items:
        if sight.looked_at >= _AT_ONCE:
            sight.looked_at = 0
            await asyncio.sleep(0)
        yield item


async def _outcome(running: RunningHub, cancel: Cancel, request: Request) -> CancelOutcome:
    """Have an operation end, and return what came of it.

    Raises:
        OperationUnknown: There is none.
        Draining: The hub shuts down, and nobody knows yet.
    """
    told: list[CancelOutcome] = []
    with running.long_polls.moment() as settled:

        def done(outcome: CancelOutcome) -> None:
            told.append(outcome)
            wake(settled)

        running.hub.cancellations.request(cancel, done)
        await wait_for_wakeup(settled, request.receive)
    if not told:
        raise Draining(
            "the hub is shutting down, and the operation has not ended yet",
            hint="Cancel it again when the hub is back: what was asked of it does not outlive the hub.",
        )
    return told[0]


def _known(hub: Hub, operation_id: str) -> OperationStatus:
    """Return an operation.

    Raises:
        OperationUnknown: There is none; the hint names those that are called almost so.
    """
    status = hub.operations.get(operation_id)
    if status is not None:
        return status
    near = _nearest(hub, operation_id)
    meant = f"Did you mean {' or '.join(repr(other) for other in near)}? " if near else ""
    raise OperationUnknown(
        f"no such operation: {operation_id[:80]!r}",
        operation_id=operation_id,
        hint=f"{meant}`GET /v1/operations` lists those there are.",
    )


def _nearest(hub: Hub, operation_id: str) -> list[str]:
    """Return up to three ids that begin so, or that are spelled almost so."""
    newest = [status.operation_id for status in hub.operations.before(None, _NEAR_BEGINNINGS)]
    begin_so = [other for other in newest if other.startswith(operation_id)]
    return (begin_so or get_close_matches(operation_id[:255], newest[:_NEAR]))[:3]
