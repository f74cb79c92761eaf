"""`/v1/operations` and `/v1/operation-names`: listing, showing and cancelling operations (docs/protocol/http.md)."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from tidings.access.subjects import Subject
from tidings.exceptions import AccessError, Draining, NotFound, OperationUnknown
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.operations.status import OperationStatus
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.protocol.near_names import find_near
from tidings.protocol.payloads import encode_payload
from tidings.server.asgi.scope import headers_of, query_of, request_address, route_path
from tidings.server.http.access import identify_again, identity_of, subject_of
from tidings.server.http.body import BodyReader, check_json_type
from tidings.server.http.limits import client_of
from tidings.server.http.long_poll import wait_for_wakeup, wait_until_known, wake
from tidings.server.http.operation_listing import list_names, list_operations
from tidings.server.http.operation_views import OperationViewBuilder, newest_lines
from tidings.server.http.operations_query import (
    parse_operation_path,
    read_cancel,
    read_filter,
    read_operation_id,
    read_wait,
)
from tidings.server.http.query import check_count
from tidings.server.http.responses import Answer, method_refusal, to_response
from tidings.server.running_hub import HubHost, RunningHub

_MAX_COMPARED: Final = 1_000
"""Newest operations whose ids are compared with an unknown id: a millisecond."""

_encode = msgspec.json.Encoder().encode


class OperationRoutes:
    """The routes that list, show and cancel operations."""

    def __init__(self, host: HubHost, bodies: BodyReader, turns: asyncio.Semaphore) -> None:
        self._host = host
        self._bodies = bodies
        self._turns = turns

    async def listing(self, request: Request) -> Response:
        """Answer `GET /v1/operations`."""
        running = self._host.running()
        hub, subject = running.hub, subject_of(request.scope)
        qualify = str if subject is None else subject.qualify
        query = read_filter(query_of(request.scope), hub.now_ns(), hub.contract.channels, qualify)
        with running.limits.reads.taken(client_of(request.scope)):
            page = await list_operations(hub, query, self._turns, subject)
        return to_response(Answer(200, page))

    async def names(self, request: Request) -> Response:
        """Answer `GET /v1/operation-names`."""
        running = self._host.running()
        values = read_values(query_of(request.scope), ("name",))
        check_count("name", len(values.get("name", ())))
        with running.limits.reads.taken(client_of(request.scope)):
            page = await list_names(running.hub, values, self._turns, subject_of(request.scope))
        return to_response(Answer(200, page))

    async def one(self, request: Request) -> Response:
        """Answer `GET /v1/operations/{id}` and `POST /v1/operations/{id}/cancel`.

        Raises:
            NotFound: The path names no operation.
        """
        target = parse_operation_path(request.scope)
        path = route_path(request.scope)
        if target is None:
            raise NotFound(f"no such route: {path[:200]!r}")
        if request.method not in target.allowed.split(", "):
            return to_response(method_refusal(path, target.allowed))
        values = read_values(query_of(request.scope), () if target.cancels else ("wait",))
        if target.cancels:
            return await self._cancel(request, target.operation_id)
        return await self._show(request, target.operation_id, read_wait(values))

    async def show(self, request: Request) -> Response:
        """Answer `GET /v1/operation`."""
        values = read_values(query_of(request.scope), ("operation_id", "wait"))
        return await self._show(request, read_operation_id(values), read_wait(values))

    async def cancel(self, request: Request) -> Response:
        """Answer `POST /v1/operation/cancel`."""
        values = read_values(query_of(request.scope), ("operation_id",))
        return await self._cancel(request, read_operation_id(values))

    async def _show(self, request: Request, operation_id: str, wait_s: float) -> Response:
        running = self._host.running()
        hub = running.hub
        subject = subject_of(request.scope)
        # Whether it exists changes nothing for those who may not read it: they do not wait, either.
        if wait_s and OperationViewBuilder(hub, subject).may_read(operation_id):
            with running.limits.waits.taken(client_of(request.scope)):
                subject = await running.long_polls.wait_ended(
                    operation_id, wait_s, request.receive, identity_of(request.scope)
                )
        views = OperationViewBuilder(hub, subject)
        if not wait_s and views.may_read(operation_id):
            await wait_until_known(hub, operation_id)
        status = _find(hub, operation_id, views)
        # Not counted as a read: up to `waits_of_client` answers become due together.
        async with self._turns:
            lines = await newest_lines(hub, status, None if subject is None else subject.grants)
            await asyncio.sleep(0)
        return to_response(Answer(200, _encode(views.detail(status, lines))))

    async def _cancel(self, request: Request, operation_id: str) -> Response:
        body = await self._bodies.read(request.receive)
        if body is None:  # the client is gone
            return Response()
        headers = headers_of(request.scope)
        if body or b"content-type" in headers:  # a form without fields has a type and no body
            check_json_type(headers)
        cancel = read_cancel(operation_id, body)
        running = self._host.running()
        subject = subject_of(await identify_again(running.hub, request.scope))
        views = OperationViewBuilder(running.hub, subject)
        if views.may_read(operation_id):
            await wait_until_known(running.hub, operation_id)
        record = partial(
            running.hub.audit.record,
            "cancel",
            subject="" if subject is None else subject.name,
            address=request_address(request.scope).client,
            operation_id=operation_id,
        )
        try:
            _find(running.hub, operation_id, views)
            outcome = await self._wait_outcome(running, cancel, request, subject, partial(record, "accepted"))
        except (AccessError, OperationUnknown) as error:
            record("refused", code=error.code)
            raise
        return to_response(Answer(200, encode_payload(outcome)))

    async def _wait_outcome(
        self,
        running: RunningHub,
        cancel: Cancel,
        request: Request,
        subject: Subject | None,
        accepted: Callable[[], object],
    ) -> CancelOutcome:
        with running.limits.waits.taken(client_of(request.scope)):
            return await _outcome(running, cancel, request, subject, accepted)


def find_allowed_methods(scope: Scope) -> str | None:
    """Return the methods of an operation's path, or None if the path names no operation."""
    target = parse_operation_path(scope)
    return None if target is None else target.allowed


async def _outcome(
    running: RunningHub, cancel: Cancel, request: Request, subject: Subject | None, accepted: Callable[[], object]
) -> CancelOutcome:
    """Cancel an operation, call `accepted`, and return the outcome.

    Raises:
        OperationUnknown: The operation does not exist.
        Forbidden: The subject may not cancel it.
        RateLimited: The subject sends more commands each second than it may.
        Draining: The hub shuts down before there is an outcome.
    """
    outcomes: list[CancelOutcome] = []
    with running.long_polls.wakeup() as settled:

        def done(outcome: CancelOutcome) -> None:
            outcomes.append(outcome)
            wake(settled)

        if subject is not None:
            running.hub.rates.check_command(subject)
        await _wait_for_staged(running.hub)
        running.hub.cancellations.request(cancel, done, subject=subject)
        accepted()
        await wait_for_wakeup(settled, request.receive)
    if not outcomes:
        raise Draining(
            "the hub is shutting down, and the operation has not ended yet",
            hint="Cancel it again when the hub is back: requests to cancel do not survive a restart.",
        )
    return outcomes[0]


async def _wait_for_staged(hub: Hub) -> None:
    """Wait until all events that are staged now are settled: the operation may begin with one of them."""
    if hub.staged:
        settled = asyncio.get_running_loop().create_future()
        hub.after_staged(partial(wake, settled))
        await settled


def _find(hub: Hub, operation_id: str, views: OperationViewBuilder) -> OperationStatus:
    """Return an operation.

    Raises:
        OperationUnknown: The operation does not exist for the reader; the hint names similar ids that do.
    """
    status = hub.operations.get(operation_id)
    if status is not None and views.may_read(operation_id):
        return status
    near = _nearest(hub, operation_id, views)
    meant = f"Did you mean {' or '.join(repr(other) for other in near)}? " if near else ""
    raise OperationUnknown(
        f"no such operation: {operation_id[:80]!r}",
        operation_id=operation_id,
        hint=f"{meant}`GET /v1/operations` lists all operations.",
    )


def _nearest(hub: Hub, operation_id: str, views: OperationViewBuilder) -> list[str]:
    """Return up to three ids that begin with `operation_id`, or else are spelled similarly."""
    compared = hub.operations.before(None, _MAX_COMPARED)
    newest = [status.operation_id for status in compared if views.may_read(status.operation_id)]
    prefixed = [other for other in newest if other.startswith(operation_id)]
    return (prefixed or find_near(operation_id, newest, limit=3))[:3]
