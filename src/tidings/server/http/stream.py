"""`GET /v1/stream`: the log as Server-Sent Events (docs/protocol/http.md, "GET /v1/stream"; WHATWG HTML §9.2).

A stream is a subscriber like any other: it shares its lane with streams of the same paths and pace, and reads itself
forward when its client does not keep up.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import structs
from starlette.types import Receive, Scope, Send

from tidings.access.audit import AuditOutcome
from tidings.access.control import AccessControl
from tidings.access.grants import Grants
from tidings.access.subjects import Subject
from tidings.exceptions import (
    AccessError,
    Draining,
    Forbidden,
    InvalidParameter,
    InvalidPosition,
    LicenseExpired,
    TidingsError,
    TooManyConnections,
    TooManyFailures,
    TooManyRequests,
)
from tidings.hub.connection_query import ConnectionOptions, parse_connection_query
from tidings.hub.connection_registry import TOO_MANY_RETRY_MS
from tidings.hub.hub import Hub
from tidings.hub.interfaces import LICENSE_EXPIRED_CLOSE
from tidings.hub.lanes import Subscriber, SubscriberState
from tidings.hub.reading_rights import added_paths, apply_grants, form_for
from tidings.hub.wire import WireForm, revise_form
from tidings.protocol.codes import CLOSE_CODES, error_data, row_of
from tidings.protocol.messages import Gap, Live, Subscribed, encode_hub_message
from tidings.protocol.paths import PathSet
from tidings.protocol.payloads import AuthFailed, AuthRequired, AuthSuccess, ConnectionClosed, Payload
from tidings.protocol.positions import NOW, SNAPSHOT, Position, Since, parse_since
from tidings.protocol.timestamps import from_nanoseconds
from tidings.server.asgi.outlet import BufferedOutlet
from tidings.server.asgi.scope import header, headers_of, query_of, request_address
from tidings.server.http.access import Identity, grants_of, identify, identity_of, record_forbidden, subject_of
from tidings.server.http.query import read_paths
from tidings.server.http.responses import error_answer
from tidings.server.running_hub import HubHost, RunningHub
from tidings.server.wire_formats import EVENT_STREAM

_FORBIDDEN: Final = 4003
"""Close code of a stream whose paths may all no longer be read."""
_RETRY_MS: Final = 1_000
_RETRY_SPREAD_MS: Final = 2_000
"""The delay before a client reconnects is random, because a hub that restarts loses all clients together."""
_FINAL_RETRY_MS: Final = 60_000
"""Delay after a refusal that is final: an EventSource reconnects unless its page closes it."""
_COMMENT: Final = b":\n"
"""Without an empty line, at which parsers that are not browsers dispatch an event whenever an id was sent before."""
_COMPLETE: Final = ("live", "complete")
"""Outcomes after which a broken stream can be resumed where it began."""
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx holds events back until its buffer is full
)

log = structlog.get_logger("tidings.server.http.stream")


class StreamEndpoint:
    """The ASGI application for `GET /v1/stream`."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one stream, from its request to its end."""
        try:
            running = self._host.running()
            scope = await identify(running.hub, scope, allow_ticket=True)
            options = _read_stream_options(scope, running.hub)
            running.connections.check_limit(request_address(scope).client)
            if running.hub.access is not None:
                running.hub.access.check_room(subject_of(scope))
            if running.hub.license is not None:
                running.hub.license.check_read()
            if running.hub.draining:
                raise Draining("the hub is shutting down")
        except TidingsError as error:
            if isinstance(error, Forbidden):
                record_forbidden(self._host.running().hub, scope, error)
            if "text/event-stream" in (header(headers_of(scope), b"accept") or ""):
                log.info("stream refused", code=error.code)  # the text may repeat values of the URL
                await _refuse_in_band(error, send)
            else:
                await error_answer(error).send(send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        await _serve(running, options, scope, receive, send)


async def _refuse_in_band(error: TidingsError, send: Send) -> None:
    """Refuse a stream in its own format: an EventSource that gets any status but 200 gives up, and shows no reason."""
    row = row_of(error)
    over = isinstance(error, LicenseExpired)
    code = LICENSE_EXPIRED_CLOSE if over else row.close or (1013 if row.http in (429, 503, 507) else 1008)
    reconnect = CLOSE_CODES[code].reconnect
    retry_ms = _retry_ms(error) if reconnect else _FINAL_RETRY_MS
    closed = ConnectionClosed(
        code=code, reason=str(error), reconnect=reconnect, retry_after_ms=retry_ms if reconnect else None
    )
    now, trace_id = from_nanoseconds(time.time_ns()), secrets.token_hex(16)
    blocks = [
        EVENT_STREAM.message(encode_hub_message(data, timestamp=now, trace_id=trace_id))
        for data in (_explain(error), closed)
    ]
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _retry_field(retry_ms) + b"".join(blocks)})


def _explain(error: TidingsError) -> Payload:
    """Return the message for an error: `auth:failed` if the client was not identified, else `connection:error`."""
    data = error_data(error)
    identified = not isinstance(error, AccessError) or isinstance(error, Forbidden)
    return data if identified else AuthFailed(**structs.asdict(data))


def _retry_ms(error: TidingsError | None = None) -> int:
    least_ms = TOO_MANY_RETRY_MS if isinstance(error, TooManyConnections) else _RETRY_MS
    if isinstance(error, TooManyRequests | TooManyFailures | LicenseExpired):
        least_ms = max(least_ms, error.retry_after_ms)
    return least_ms + secrets.randbelow(_RETRY_SPREAD_MS)


def _retry_field(retry_ms: int) -> bytes:
    """Return the delay before a reconnect, as the beginning of the first block.

    A block of its own would be an event without data for parsers that are not browsers.
    """
    return b"retry: %d\n" % retry_ms


def _read_stream_options(scope: Scope, hub: Hub) -> ConnectionOptions:
    """Read the options of the request.

    Raises:
        ContractError: A parameter, or Last-Event-ID, is not valid.
        Forbidden: A path may not be read.
    """
    query, grants = query_of(scope), grants_of(scope)
    paths = read_paths(query, hub.contract, grants)
    options = parse_connection_query(query, hub.contract.channels, default_since=SNAPSHOT)
    options = structs.replace(options, paths=paths)  # `*` stands for what may be read
    if not options.paths:
        raise InvalidParameter("channels=none selects no events", hint="Name a channel, or leave `channels` out.")
    last = header(headers_of(scope), b"last-event-id")
    if not last:
        return options
    # A browser that reconnects sends the same URL as before, and its last position in this header.
    since = parse_since(last)
    if not isinstance(since, Position):
        raise InvalidPosition(f"invalid Last-Event-ID {last[:80]!r}: expected a position")
    return structs.replace(options, since=since)


async def _serve(running: RunningHub, options: ConnectionOptions, scope: Scope, receive: Receive, send: Send) -> None:
    outlet = BufferedOutlet()
    stream = EventStream(
        running.hub,
        outlet,
        options,
        connection_id=running.hub.mint()[:16],
        client=request_address(scope).client,
        identity=identity_of(scope),
    )
    outlet.attach(stream)

    async def send_part(body: bytes) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def wait_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        outlet.end()

    leaving = asyncio.create_task(wait_gone())
    running.connections.add(stream)
    try:
        stream.open()
        await outlet.send_all(send_part)
        if outlet.closing is not None:
            await send({"type": "http.response.body", "body": b""})
    except (OSError, TimeoutError) as error:  # the client is gone, or reads nothing more
        log.info("stream cut off", connection_id=stream.connection_id, error=repr(error))
    finally:
        outlet.end()
        stream.closed()
        running.connections.remove(stream)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


class EventStream:
    """One client of `/v1/stream`.

    Args:
        hub: The hub.
        outlet: The outlet to the client.
        options: Options of the request.
        connection_id: Id of the connection in logs.
        client: IP address of the client; "" where there is none.
        identity: Who reads it; None where the hub identifies no one.
    """

    producer_id = ""
    """A stream publishes nothing."""

    __slots__ = ("_first", "_hub", "_options", "_outlet", "_right", "client", "connection_id", "subscriber")

    def __init__(
        self,
        hub: Hub,
        outlet: BufferedOutlet,
        options: ConnectionOptions,
        *,
        connection_id: str,
        client: str = "",
        identity: Identity | None = None,
    ) -> None:
        self._hub = hub
        self._outlet = outlet
        self._options = options
        self._first = _retry_field(_retry_ms())
        self.connection_id = connection_id
        self.client = client
        grants = None if identity is None else identity.subject.grants
        form = form_for(revise_form(EVENT_STREAM, options.revision), grants)
        self.subscriber = Subscriber(outlet, form, pace_ms=options.pace_ms, on_gap=self._report_gap)
        self._right = None if identity is None or hub.access is None else _StreamSession(self, hub.access, identity)

    @property
    def subject(self) -> Subject | None:
        """The reader; None where the hub identifies no one."""
        return None if self._right is None else self._right.subject

    def open(self) -> None:
        """Start: send `channel:subscribed`, with the delay before a reconnect, then events."""
        log.info(
            "stream opened",
            connection_id=self.connection_id,
            client=self.client,
            channels=sorted({path.channel for path in self._options.paths.paths}),
        )
        license = self._hub.license
        notice = None if license is None else license.notice()
        if notice is not None:
            self._outlet.write(self.subscriber.form.message(notice))
        if self._right is not None:
            self._right.enter()
        self.record("accepted")
        self._hub.delivery.open(self.subscriber)
        self._subscribe(self._options.paths, self._options.since)

    def _subscribe(self, paths: PathSet, since: Since) -> None:
        self._hub.delivery.subscribe(
            self.subscriber,
            paths,
            since,
            on_subscribed=self._report_subscribed,
            on_live=self._report_live,
        )

    def closed(self) -> None:
        """Remove the client, which is gone."""
        if self._right is not None:
            self._right.leave()
        self._hub.delivery.close(self.subscriber)
        log.info("stream closed", connection_id=self.connection_id)

    def close(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Send `connection:closed` with the reason and end the stream; browsers reconnect by themselves."""
        if self._outlet.closing is not None:
            return
        self._hub.delivery.close(self.subscriber)
        row = CLOSE_CODES.get(code)
        reconnect = row is not None and row.reconnect
        closed = ConnectionClosed(code=code, reason=reason, reconnect=reconnect, retry_after_ms=retry_after_ms)
        # An EventSource reads neither member: it waits as long as the last `retry` field asks for.
        wait_ms = retry_after_ms if reconnect else _FINAL_RETRY_MS
        self.push(closed, b"" if wait_ms is None else _retry_field(wait_ms))
        self._outlet.close(code, reason)

    def drain(self, retry_after_ms: int) -> None:
        """See `RegisteredConnection.drain`."""
        self.close(4100, "the hub is shutting down", retry_after_ms=retry_after_ms)

    def send_heartbeat(self, position_frame: Callable[[WireForm, int], bytes], /) -> None:
        """Renew the client's resume position; see `HubConnection.send_heartbeat`."""
        subscriber = self.subscriber
        if subscriber.blocked:
            return
        lane = subscriber.lane
        if lane is None or subscriber.state is not SubscriberState.LIVE:
            self._outlet.write(_COMMENT)  # its position moves as it reads
        else:  # also while events come: a stream cannot ask for the time of the hub's clock
            offset = self._hub.delivery.reached(subscriber)
            self._outlet.write(self._id(offset) + position_frame(subscriber.form, offset))

    def record(self, outcome: AuditOutcome, *, code: str | None = None) -> None:
        """Record the beginning or the end of the right to read."""
        audit = self._hub.audit
        if self._right is not None or audit.sinks:
            audit.record(
                "connect",
                outcome,
                subject="" if self._right is None else self._right.subject.name,
                address=self.client,
                transport="stream",
                credential=None if self._right is None else self._right.credential.source,
                connection_id=self.connection_id,
                code=code,
            )

    def change_grants(self, grants: Grants) -> list[str]:
        """Stop reading what `grants` do not cover, and return those paths."""
        form = revise_form(EVENT_STREAM, self._options.revision)
        everything = self._options.everything
        return apply_grants(self._hub.delivery, self.subscriber, grants, form, everything=everything)

    def follow_grants(self, grants: Grants) -> None:
        """Read from now on what `grants` add to a stream of `*`."""
        added = added_paths(self.subscriber, grants)
        if added and self._options.everything:
            self._subscribe(added, NOW)

    def pause_writing(self) -> None:
        """Record that bytes are unsent."""
        self._hub.delivery.pause(self.subscriber)

    def resume_writing(self) -> None:
        """Record that all bytes are sent."""
        self._hub.delivery.resume(self.subscriber)

    def _report_subscribed(self, outcome: str, offset: int) -> None:
        names = self.subscriber.paths.names()
        position = str(self._hub.log.position(offset))
        # An id only if nothing older follows: a client that disconnects inside a snapshot has not read up to that
        # place.
        head = self._id(offset) if outcome in _COMPLETE else b""
        self.push(Subscribed(channels=names, position=position, outcome=outcome), head)

    def _report_live(self, offset: int) -> None:
        live = Live(channels=self.subscriber.paths.names(), position=str(self._hub.log.position(offset)))
        self.push(live, self._id(offset))

    def _report_gap(self, after: Position, until: Position, reason: str) -> None:
        self._hub.delivery.counters.gaps += 1
        self.push(Gap(after=str(after), until=str(until), reason=reason))

    def push(self, data: Payload, head: bytes = b"") -> None:
        """Send a message to this client only."""
        hub = self._hub
        body = encode_hub_message(data, timestamp=hub.timestamp(), trace_id=hub.mint())
        first, self._first = self._first, b""
        self._outlet.write(first + head + EVENT_STREAM.message(body))

    def _id(self, offset: int) -> bytes:
        return b"id: %b\n" % str(self._hub.log.position(offset)).encode()


class _StreamSession:
    """The right to read one stream; see `tidings.access.control.Session`."""

    __slots__ = ("_changes", "_control", "_stream", "_subject", "credential", "request")

    def __init__(self, stream: EventStream, control: AccessControl, identity: Identity) -> None:
        self._stream = stream
        self._control = control
        self._subject = identity.subject
        self._changes = identity.changes
        self.credential = identity.credential
        self.request = identity.request

    @property
    def subject(self) -> Subject:
        """See `Session.subject`."""
        return self._subject

    def enter(self) -> None:
        """Begin."""
        self._control.enter(self, self._changes)

    def leave(self) -> None:
        """End, because the client is gone."""
        self._control.leave(self)

    def reauthorized(self, subject: Subject) -> None:
        """See `Session.reauthorized`: the stream goes on with the paths that may still be read."""
        self._subject = subject
        self._control.enter(self)
        removed = self._stream.change_grants(subject.grants)
        self._stream.push(
            AuthSuccess(
                subject=subject.name,
                grants=subject.grants.names(),
                expires_at=subject.stated_expiry,
                removed=removed or None,
            )
        )
        self._stream.follow_grants(subject.grants)
        if not self._stream.subscriber.paths:
            self.ended(Forbidden("no grant to read any of the paths is left"))

    def expiring(self, deadline_s: float) -> None:
        """See `Session.expiring`: a page opens another stream, with another ticket and its last position."""
        self._stream.push(
            AuthRequired(methods=self._control.methods, reason="expiring", deadline_s=round(deadline_s, 3))
        )

    def ended(self, error: AccessError) -> None:
        """See `Session.ended`."""
        self._control.leave(self)
        self._stream.record("ended", code=error.code)
        self._stream.push(AuthFailed(**structs.asdict(error_data(error))))
        self._stream.close(row_of(error).close or _FORBIDDEN, error.message)
