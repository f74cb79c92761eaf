"""`POST /v1/events`: publishing over HTTP (docs/protocol/http.md, "POST /v1/events").

The hot route: a handful of dictionary look-ups on either side of `Hub.publish`, and one future per request, however
many events it brings.
"""

import asyncio
import re
from collections.abc import Iterable
from functools import partial
from typing import Final
from urllib.parse import quote

import msgspec
import structlog
from msgspec import Struct, structs
from starlette.types import Receive, Scope, Send

from tidings.exceptions import (
    AccessError,
    Draining,
    InternalError,
    InvalidEventID,
    InvalidParameter,
    LogBusy,
    LogError,
    OperationError,
    TidingsError,
)
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.hub.staging import PublishCallback
from tidings.log.base import Outcome, PublishResult
from tidings.operations.lifecycle import TRANSITIONS
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope, Event, check_event_id, decode_envelope
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import LeaseSeconds, ProducerID
from tidings.protocol.payloads import encode_payload
from tidings.server.asgi.scope import Headers, header, headers_of, query_of, request_address
from tidings.server.http.access import identify_again, subject_of
from tidings.server.http.body import MAX_BATCH_EVENTS, BodyReader, split_body
from tidings.server.http.limits import client_of
from tidings.server.http.query import read_seconds
from tidings.server.http.responses import Answer, RefusalLog, error_answer
from tidings.server.running_hub import HubHost

log = structlog.get_logger("tidings.server.http.app")

DEPRECATED_SINCE: Final = b"@1753833600"
"""2025-07-30, when the old names were replaced, in the date format of RFC 9745."""
MAX_BATCH_KEY_CHARS: Final = 64 - len(f"#{MAX_BATCH_EVENTS - 1}")
"""Characters of a batch's `Idempotency-Key`, which leaves room for the index of an event."""
_MAX_CANCEL_BYTES: Final = 4_096
"""Bytes of `Tidings-Cancel`: common clients accept 8 KiB of headers. Further ids follow in a later answer."""
_TURN_BYTES: Final = 512 << 10
"""Bytes of events that one post stages in a turn of the event loop: reading a megabyte takes up to 20 ms."""
# W3C Trace Context §3.2: version ff and ids of zeros are invalid; a later version may append fields.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

HeaderFields = tuple[tuple[bytes, bytes], ...]


class PostOptions(Struct, frozen=True, gc=False):
    """Options in the headers of a post."""

    key: str | None
    """`Idempotency-Key`: the event id of events that have none of their own."""
    trace_id: str
    """Trace id of `traceparent`, or ""."""
    producer_id: str
    """`Tidings-Producer`: the producer that holds the operations that the post begins, or ""."""
    lease_s: float | None
    """`Tidings-Lease`: the lease of those operations after the post, in seconds; None without the header."""


def read_post_options(headers: Headers) -> PostOptions:
    """Read the options in the headers of a post.

    Raises:
        InvalidParameter: `Tidings-Producer` or `Tidings-Lease` is not valid.
    """
    key = header(headers, b"idempotency-key")
    if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]  # written as a structured field's string
    # An invalid trace context is ignored, as W3C requires.
    parent = headers.get(b"traceparent")
    trace = _TRACEPARENT.fullmatch(parent) if parent is not None else None
    producer_id, lease_s = _read_holder(headers)
    return PostOptions(key, "" if trace is None else trace[1].decode(), producer_id, lease_s)


def _read_holder(headers: Headers) -> tuple[str, float | None]:
    producer_id = header(headers, b"tidings-producer")
    lease = header(headers, b"tidings-lease")
    if producer_id is None:
        if lease is not None:
            raise InvalidParameter(
                "Tidings-Lease without Tidings-Producer",
                hint="Send Tidings-Producer too: 1–64 printable ASCII characters, new for each process.",
            )
        return "", None
    try:
        msgspec.convert(producer_id, ProducerID)
    except msgspec.ValidationError as cause:
        raise InvalidParameter(
            f"invalid Tidings-Producer {producer_id[:80]!r}: expected 1–64 printable ASCII characters without spaces",
            hint="Use a UUID, new for each process.",
        ) from cause
    if lease is None:
        return producer_id, None
    try:
        return producer_id, msgspec.convert(read_seconds(lease), LeaseSeconds)
    except msgspec.ValidationError as cause:
        raise InvalidParameter(
            f"invalid Tidings-Lease {lease[:40]!r}: expected 1–86400 seconds", hint="Send a number such as 30."
        ) from cause


def check_batch_key(key: str) -> None:
    """Check that a batch's key leaves room for the index of each event.

    Raises:
        InvalidEventID: The key is too long, or not a valid event id.
    """
    try:
        check_event_id(key)
    except InvalidEventID as cause:
        raise InvalidEventID(
            f"invalid Idempotency-Key {key[:64]!r}: expected 16–{MAX_BATCH_KEY_CHARS} printable ASCII characters",
            hint=f"Use 16–{MAX_BATCH_KEY_CHARS} printable ASCII characters; a UUIDv7 is a good choice.",
        ) from cause
    if len(key) > MAX_BATCH_KEY_CHARS:
        raise InvalidEventID(
            f"Idempotency-Key of {len(key)} characters: at most {MAX_BATCH_KEY_CHARS} are allowed for a batch",
            hint="Use a shorter key: each event's id is the key, `#` and the event's index, at most 64 characters.",
        )


def deprecation_headers(types: set[str]) -> HeaderFields:
    """Return the headers that report old names among `types`, with their replacements."""
    old = sorted(types & LEGACY_TYPES.keys())
    if not old:
        return ()
    text = ", ".join(f"{name} is the old name of {LEGACY_TYPES[name]}" for name in old)
    return (b"deprecation", DEPRECATED_SINCE), (b"tidings-notice", text.encode())


def cancel_headers(operation_ids: Iterable[str]) -> HeaderFields:
    """Return the header with the operations that are being cancelled, if there are any."""
    value = ""
    for operation_id in operation_ids:
        longer = f"{value},{quote(operation_id, safe='')}" if value else quote(operation_id, safe="")
        if len(longer) > _MAX_CANCEL_BYTES:
            break
        value = longer
    return ((b"tidings-cancel", value.encode()),) if value else ()


class PublishEndpoint:
    """The ASGI application for `POST /v1/events`."""

    def __init__(self, host: HubHost, bodies: BodyReader, refusals: RefusalLog) -> None:
        self._host = host
        self._bodies = bodies
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one post."""
        await self.serve(scope, headers_of(scope), receive, send)

    async def serve(self, scope: Scope, headers: Headers, receive: Receive, send: Send, hub: Hub | None = None) -> None:
        """Serve one post.

        Args:
            scope: The post.
            headers: Its headers.
            receive: Receives its body.
            send: Sends the answer.
            hub: The hub that identified the sender; None if it did not, or identifies no one.
        """
        try:
            if scope.get("query_string"):
                read_values(query_of(scope), ())
            answer = await self._answer(scope, headers, receive, hub)
        except TidingsError as error:
            self._refusals.add(log.info, "post refused", error)
            answer = error_answer(error)
        except Exception:
            log.exception("a post failed")
            answer = error_answer(InternalError("internal error while publishing"))
        if answer is not None:
            await answer.send(send)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, hub: Hub | None) -> Answer | None:
        body = await self._bodies.read(receive)
        if body is None:
            return None
        options = read_post_options(headers)
        items = split_body(body, headers)
        if hub is None or hub.closed:
            hub = self._host.running().hub
        post = _Post(hub, options, await identify_again(hub, scope))
        if post.producer_id:
            hub.leases.post(post.producer_id, options.lease_s)
        if items is None:
            return await _publish_one(hub, body, post)
        return await _Batch(hub, post).publish(items)


async def _publish_one(hub: Hub, body: bytes, post: "_Post") -> Answer:
    envelope = decode_envelope(body)
    key = post.options.key
    if key is not None:
        event_id = check_event_id(key)
        if envelope.event_id is None:
            envelope = structs.replace(envelope, event_id=event_id)
    settling: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def settled(result: Outcome) -> None:
        if not settling.done():  # the server may have cancelled the request
            settling.set_result(result)

    if hub.room.full:
        await post.wait_for_room()
    event = post.publish(envelope, settled, body)
    result = await settling
    if isinstance(result, TidingsError):
        post.record_refused(envelope.type, result)
        raise result
    cancelled = hub.cancellations.pending(_operations_of([(event, result)]), post.producer_id)
    return Answer(200, _accepted(hub, result), deprecation_headers({envelope.type}) + cancel_headers(cancelled))


def _operations_of(results: Iterable[tuple[Event, Outcome | None]]) -> list[str]:
    """Return the ids of the operations that published events belong to."""
    found = []
    for event, result in results:
        key = result.operation_id if event.key is None and isinstance(result, PublishResult) else event.key
        if key is not None and event.type in TRANSITIONS and not isinstance(result, OperationError):
            found.append(key)
    return found


class _Post:
    """A publisher that waits for room in the stage, as a connection does, but for a bounded time."""

    __slots__ = (
        "_address",
        "_hub",
        "_request",
        "_room",
        "_scope",
        "_subject",
        "options",
        "producer_id",
        "right_lost",
        "staged",
        "staged_bytes",
    )

    def __init__(self, hub: Hub, options: PostOptions, request: Scope) -> None:
        self._hub = hub
        self._request = request
        self._subject = subject = subject_of(request)
        self.right_lost = False
        """Whether the right to publish was lost while the post waited."""
        self.options = options
        # A producer belongs to its subject: no other subject's post may renew its lease or end its operations.
        own = options.producer_id
        self.producer_id = own if subject is None or not own else subject.qualify(own)
        self._scope = self.producer_id or ("" if subject is None else subject.scope)
        limited = subject is None and hub.config.posted_events_per_s > 0
        self._address = client_of(request) if limited else ""
        self._room: asyncio.Future[None] | None = None
        self.staged = 0
        """Number of its events that wait for the log."""
        self.staged_bytes = 0

    def may_publish(self) -> bool:
        """See `HeldPublisher.may_publish`."""
        return self._hub.room.admits(self.staged, self.staged_bytes)

    def publish_held(self) -> None:
        """See `HeldPublisher.publish_held`."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def publish(self, envelope: Envelope, settled: PublishCallback, body: bytes) -> Event:
        """Publish an event of the post; see `Hub.publish`."""
        if self._address:
            self._hub.rates.check_posted(self._address)
        try:
            return self._hub.publish(
                envelope,
                settled,
                scope=self._scope,
                trace_id=self.options.trace_id,
                producer_id=self.producer_id,
                body=body,
                subject=self._subject,
            )
        except AccessError as error:
            self.record_refused(envelope.type, error)
            raise

    def record_refused(self, type: str, error: TidingsError) -> None:
        """Record in the audit trail that the subject may not publish an event; other errors are not recorded."""
        if isinstance(error, AccessError):
            self._hub.audit.record(
                "publish",
                "refused",
                subject="" if self._subject is None else self._subject.name,
                address=request_address(self._request).client,
                code=error.code,
                type=type,
            )

    async def wait_for_room(self) -> None:
        """Wait until the next event may be published.

        Raises:
            LogBusy: The stage stayed full for `HubConfig.room_wait_s`.
            AccessError: The right to publish was lost in that time.
        """
        room = self._hub.room
        try:
            async with asyncio.timeout(self._hub.config.room_wait_s):
                while not self.may_publish():
                    self._room = asyncio.get_running_loop().create_future()
                    room.wait(self)
                    await self._room
        except TimeoutError:
            raise LogBusy("too many events are waiting for the log") from None
        finally:
            room.leave(self)
        try:
            self._request = await identify_again(self._hub, self._request)
        except AccessError:
            self.right_lost = True
            raise
        self._subject = subject_of(self._request)


class _Batch:
    """The events of one post while they are published: each is accepted or refused on its own."""

    __slots__ = ("_events", "_hub", "_options", "_pending", "_post", "_results", "_settling")

    def __init__(self, hub: Hub, post: _Post) -> None:
        if post.options.key is not None:
            check_batch_key(post.options.key)
        self._hub = hub
        self._post = post
        self._options = post.options
        self._events: dict[int, Event] = {}
        """The events that were staged, by their index."""
        self._results: list[Outcome | None] = []
        # One more while events are staged, so that events which settle immediately do not complete the batch.
        self._pending = 1
        self._settling: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def publish(self, items: list[bytes]) -> Answer:
        """Publish `items`, undecoded envelopes, and return the result of each.

        Raises:
            Draining: The hub accepts no new events.
            LogBusy: The hub accepts none of the events now.
        """
        self._results = [None] * len(items)
        legacy = await self._stage(items)
        self._pending -= 1
        if self._pending:
            await self._settling
        prefix = self._hub.log.epoch.encode()
        results = b",".join([self._encode_result(result, prefix) for result in self._results])
        published = ((event, self._results[index]) for index, event in self._events.items())
        cancelled = self._hub.cancellations.pending(_operations_of(published), self._post.producer_id)
        return Answer(200, b'{"results":[%b]}' % results, deprecation_headers(legacy) + cancel_headers(cancelled))

    async def _stage(self, items: list[bytes]) -> set[str]:
        """Stage all valid items, as there is room; return the old names among their types."""
        legacy = set()
        post = self._post
        publish, events = post.publish, self._events
        in_turn = 0
        for index, item in enumerate(items):
            self._pending += 1
            try:
                in_turn += len(item)
                if in_turn > _TURN_BYTES:
                    in_turn = len(item)
                    await asyncio.sleep(0)
                    self._check_earlier(index)
                envelope = self._envelope(item, index)
                if not post.may_publish():
                    await post.wait_for_room()
                    self._check_earlier(index)
                settled = partial(self._published, index, len(item))
                events[index] = publish(envelope, settled, item)
                self._count(1, len(item))
            except TidingsError as error:
                if not (isinstance(error, Draining | LogError) or post.right_lost):
                    self._settled(index, error)
                    continue
                if not index:
                    raise
                # The events after it fail too, or they would overtake it.
                self._results[index:] = [error] * (len(items) - index)
                self._pending -= 1
                break
            else:
                if envelope.type in LEGACY_TYPES:
                    legacy.add(envelope.type)
        return legacy

    def _envelope(self, item: bytes, index: int) -> Envelope:
        envelope = decode_envelope(item)
        if self._options.key is None or envelope.event_id is not None:
            return envelope
        return structs.replace(envelope, event_id=f"{self._options.key}#{index}")

    def _check_earlier(self, index: int) -> None:
        """Check, after a wait, that the log took what was staged before: later items must not be stored without it.

        Raises:
            LogError: It did not.
        """
        for result in self._results[:index]:
            if isinstance(result, LogError):
                raise result

    def _count(self, events: int, size: int) -> None:
        before = self._post.staged
        self._post.staged += events
        self._post.staged_bytes += size
        if not before or not self._post.staged:
            self._hub.room.count_active(events)

    def _published(self, index: int, size: int, result: Outcome) -> None:
        self._count(-1, -size)
        if isinstance(result, AccessError):
            self._post.record_refused(self._events[index].type, result)
        self._settled(index, result)

    def _settled(self, index: int, result: Outcome) -> None:
        self._results[index] = result
        self._pending -= 1
        if not self._pending and not self._settling.done():
            self._settling.set_result(None)

    def _encode_result(self, result: Outcome | None, epoch: bytes) -> bytes:
        assert result is not None
        if not isinstance(result, PublishResult):
            return b'{"error":%b}' % encode_payload(error_data(result))
        if (
            result.duplicate or result.attempt is not None
        ):  # a duplicate may be of an earlier epoch; a start has its attempt
            return _accepted(self._hub, result)
        return b'{"position":"%b:%d"}' % (epoch, result.offset)


def _accepted(hub: Hub, result: PublishResult) -> bytes:
    attempt = b"" if result.attempt is None else b',"attempt":%d' % result.attempt
    duplicate = b',"duplicate":true' if result.duplicate else b""
    return b'{"position":"%b"%b%b}' % (str(hub.log.position(result.offset)).encode(), attempt, duplicate)
