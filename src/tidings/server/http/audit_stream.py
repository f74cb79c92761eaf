"""`GET /v1/admin/audit`: the audit trail as `system:audit` events, for administrators (docs/protocol/http.md).

They are sent directly, and not on a channel, because every subject that may read `system` would read them there.
"""

import asyncio
import secrets
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from tidings.access.audit import encode_record
from tidings.access.audit_feed import AuditFeed
from tidings.exceptions import InvalidParameter, NotFound, TidingsError
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.protocol.codes import error_data
from tidings.protocol.message_types import MessageType
from tidings.server.asgi.scope import header, headers_of, query_of
from tidings.server.http.access import RequestSession, identity_of, require_admin, watched
from tidings.server.http.long_poll import Wakeup, wake
from tidings.server.http.responses import error_answer
from tidings.server.running_hub import HubHost, RunningHub

AUDIT: Final = "/v1/admin/audit"
_HEARTBEAT_S: Final = 25.0
_COMMENT: Final = b":\n"
_FINAL_RETRY: Final = b"retry: 60000\n"
"""Delay before an EventSource comes back whose right was lost."""
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class AuditStreamEndpoint:
    """The ASGI application for `GET /v1/admin/audit`."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream."""
        try:
            running = self._host.running()
            if running.hub.access is None:
                raise NotFound("this hub has no authentication", hint="Start it with `tidings serve --auth keys`.")
            require_admin(running.hub, scope)
            after = _read_start(scope, running.audit)
        except TidingsError as error:
            await error_answer(error).send(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] != "HEAD":
            await _Stream(running, scope, send, after).run(receive)
        await send({"type": "http.response.body", "body": b""})


def _read_start(scope: Scope, feed: AuditFeed) -> int:
    """Return the number of the record behind which a stream begins.

    Raises:
        InvalidParameter: `since` is not `first` or `now`.
    """
    values = read_values(query_of(scope), ("since",))
    since = values["since"][-1] if "since" in values else "first"
    if since not in ("first", "now"):
        raise InvalidParameter(f"invalid since={since[:40]!r}", hint="Use first or now.")
    last = header(headers_of(scope), b"last-event-id") or ""
    if last.isascii() and last.isdigit() and len(last) < 20 and int(last) <= feed.newest:
        return int(last)
    return 0 if since == "first" else feed.newest


class _Stream:
    """One stream of records."""

    def __init__(self, running: RunningHub, scope: Scope, send: Send, after: int) -> None:
        self._running = running
        self._identity = identity_of(scope)
        self._send = send
        self._after = after
        self._wakeup: Wakeup | None = None

    async def run(self, receive: Receive) -> None:
        """Serve until the client leaves, the right is lost, or the hub drains."""
        leaving = asyncio.create_task(_wait_gone(receive))
        hub = self._running.hub
        try:
            with (
                watched(hub, self._identity, self._wake, changed=self._wake) as session,
                self._running.audit.waking(self._wake),
            ):
                while not (hub.draining or leaving.done()):
                    _check(session)
                    await self._send_new()
                    await self._wait(leaving)
        except TidingsError as error:
            await self._write(
                _FINAL_RETRY + _block(hub, MessageType.AUTH_FAILED, msgspec.json.encode(error_data(error)))
            )
        except OSError:
            return  # the client is gone
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _send_new(self) -> None:
        hub, parts = self._running.hub, []
        for number, record in self._running.audit.after(self._after):
            parts.append(b"id: %d\n" % number + _block(hub, "system:audit", encode_record(record), record.at))
            self._after = number
        await self._write(b"".join(parts) or _COMMENT)

    async def _wait(self, leaving: asyncio.Task[None]) -> None:
        feed = self._running.audit
        with self._running.long_polls.wakeup() as wakeup:
            self._wakeup = wakeup
            if feed.newest == self._after:
                await asyncio.wait((wakeup, leaving), timeout=_HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            self._wakeup = None

    def _wake(self) -> None:
        if self._wakeup is not None:
            wake(self._wakeup)

    async def _write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})


def _check(session: RequestSession | None) -> None:
    """Check that a stream may go on.

    Raises:
        AccessError: The credential has expired or was revoked, or its grants have changed.
    """
    if session is not None:
        session.check()
        session.subject.grants.check_admin()


def _block(hub: Hub, type: str, data: bytes, at: str = "") -> bytes:
    head = {"type": type, "timestamp": at or hub.timestamp(), "trace_id": secrets.token_hex(16)}
    return b"data: " + msgspec.json.encode({**head, "data": msgspec.Raw(data)}) + b"\n\n"


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
