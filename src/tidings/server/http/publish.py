"""`POST /v1/events`: publishing over HTTP (CONTRACT §5).

The hot route: a handful of dictionary look-ups on either side of `Hub.publish`, and one future a request, however many
events it brings.

The headers of a post, and of its answer (CONTRACT §4 and §5).
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

from tidings.exceptions import Draining, InternalError, InvalidEventID, InvalidParameter, LogBusy, TidingsError
from tidings.hub.hub import Hub
from tidings.hub.staging import PublishResult
from tidings.operations.lifecycle import TRANSITIONS
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope, Event, check_event_id, decode_envelope
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import LeaseSeconds, ProducerID
from tidings.protocol.payloads import encode_payload
from tidings.server.asgi.scope import Headers, header, headers_of
from tidings.server.http.body import MAX_BATCH_EVENTS, read_body, split_body
from tidings.server.http.query import read_seconds
from tidings.server.http.responses import Answer, error_answer
from tidings.server.running_hub import HubHost

DEPRECATED_SINCE: Final = b"@1753833600"
"""2025-07-30, when the old names were replaced, as RFC 9745 writes a date."""
MAX_BATCH_KEY_CHARS: Final = 64 - len(f"#{MAX_BATCH_EVENTS - 1}")
_LONGEST_CANCEL: Final = 4_096
"""Bytes of `Tidings-Cancel`: common clients take 8 KiB of headers. What does not fit is in a later answer."""
# W3C Trace Context §3.2: version ff and ids of zeros are invalid; a later version may append fields.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

HeaderFields = tuple[tuple[bytes, bytes], ...]


class PostOptions(Struct, frozen=True, gc=False):
    """What the headers of a post ask for."""

    key: str | None
    """`Idempotency-Key`: the event_id of what has none of its own."""
    trace_id: str
    """`traceparent`'s, or ""."""
    producer_id: str
    """`Tidings-Producer`: who holds the operations that the post begins, or ""."""
    lease_s: float | None
    """`Tidings-Lease`: how long they outlive the post; None where it does not say."""


def read_post_options(headers: Headers) -> PostOptions:
    """Read what the headers of a post ask for.

    Raises:
        InvalidParameter: `Tidings-Producer` or `Tidings-Lease` cannot be used.
    """
    key = header(headers, b"idempotency-key")
    if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]  # written as a structured field's string
    # What is no trace context is none, as W3C has it.
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
                "Tidings-Lease without Tidings-Producer: a lease is somebody's",
                hint="Name the producer, in 1–64 printable ASCII characters that are new for each process.",
            )
        return "", None
    try:
        msgspec.convert(producer_id, ProducerID)
    except msgspec.ValidationError as cause:
        raise InvalidParameter(
            f"Tidings-Producer: {producer_id[:80]!r} is not 1–64 printable ASCII characters without spaces",
            hint="Use a UUID, new for each process.",
        ) from cause
    if lease is None:
        return producer_id, None
    try:
        return producer_id, msgspec.convert(read_seconds(lease), LeaseSeconds)
    except msgspec.ValidationError as cause:
        raise InvalidParameter(
            f"Tidings-Lease: {lease[:40]!r} is not 1–86400 seconds", hint="Write a number of seconds, such as 30."
        ) from cause


def check_batch_key(key: str) -> None:
    """Check that a batch's key leaves room for the places of its events.

    Raises:
        InvalidEventID: It does not, or is no event id.
    """
    try:
        check_event_id(key)
    except InvalidEventID as cause:
        raise InvalidEventID(
            f"Idempotency-Key: {key[:64]!r} is not 16–{MAX_BATCH_KEY_CHARS} printable ASCII"
        ) from cause
    if len(key) > MAX_BATCH_KEY_CHARS:
        raise InvalidEventID(
            f"Idempotency-Key is {len(key)} characters long; {MAX_BATCH_KEY_CHARS} are allowed for a batch",
            hint="Each event's id is the key with `#` and its place behind it, and at most 64 characters long.",
        )


def deprecation_headers(types: set[str]) -> HeaderFields:
    """Return the headers that tell of old names among `types`, and what replaces them."""
    old = sorted(name for name in types if name in LEGACY_TYPES)
    if not old:
        return ()
    told = ", ".join(f"{name} is the old name of {LEGACY_TYPES[name]}" for name in old)
    return (b"deprecation", DEPRECATED_SINCE), (b"tidings-notice", told.encode())


def cancel_headers(operation_ids: Iterable[str]) -> HeaderFields:
    """Return the header that names operations which are to end, if there are any."""
    told = ""
    for operation_id in operation_ids:
        longer = f"{told},{quote(operation_id, safe='')}" if told else quote(operation_id, safe="")
        if len(longer) > _LONGEST_CANCEL:
            break
        told = longer
    return ((b"tidings-cancel", told.encode()),) if told else ()


log = structlog.get_logger("tidings.server.http.app")


class PublishEndpoint:
    """The ASGI application behind `POST /v1/events`."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one post."""
        try:
            answer = await self._answer(headers_of(scope), receive)
        except TidingsError as error:
            log.info("post refused", code=error.code, error=str(error))
            answer = error_answer(error)
        except Exception:
            log.exception("a post failed")
            answer = error_answer(InternalError("the hub failed while it took the post"))
        if answer is not None:
            await answer.send(send)

    async def _answer(self, headers: Headers, receive: Receive) -> Answer | None:
        body = await read_body(receive)
        if body is None:
            return None
        options = read_post_options(headers)
        items = split_body(body, headers)
        hub = self._host.running().hub
        if options.producer_id:
            hub.leases.post(options.producer_id, options.lease_s)
        if items is None:
            return await _publish_one(hub, body, options)
        return await _Batch(hub, options).publish(items)


async def _publish_one(hub: Hub, body: bytes, options: PostOptions) -> Answer:
    envelope = decode_envelope(body)
    if options.key is not None:
        event_id = check_event_id(options.key)
        if envelope.event_id is None:
            envelope = structs.replace(envelope, event_id=event_id)
    settling: asyncio.Future[PublishResult | TidingsError] = asyncio.get_running_loop().create_future()

    def settled(result: PublishResult | TidingsError) -> None:
        if not settling.done():  # the server may have cancelled the request
            settling.set_result(result)

    producer_id = options.producer_id
    event = hub.publish(envelope, settled, scope=producer_id, trace_id=options.trace_id, producer_id=producer_id)
    result = await settling
    if isinstance(result, TidingsError):
        raise result
    wanted = hub.cancellations.pending(_operations_of([event]), producer_id)
    return Answer(200, _accepted(hub, result), (*deprecation_headers({envelope.type}), *cancel_headers(wanted)))


def _operations_of(events: list[Event]) -> list[str]:
    """Return the operations that events are of."""
    return [event.key for event in events if event.key is not None and event.type in TRANSITIONS]


class _Batch:
    """The events of one post on their way into the log: each is accepted or refused alone."""

    __slots__ = ("_events", "_hub", "_options", "_pending", "_results", "_settling")

    def __init__(self, hub: Hub, options: PostOptions) -> None:
        if options.key is not None:
            check_batch_key(options.key)
        self._hub = hub
        self._options = options
        self._events: list[Event] = []
        self._results: list[PublishResult | TidingsError | None] = []
        # One more than there are, while events are staged: those that settle at once do not complete the batch.
        self._pending = 1
        self._settling: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def publish(self, items: list[bytes]) -> Answer:
        """Publish `items`, envelopes unread, and return what became of each.

        Raises:
            Draining: The hub takes nothing new.
            LogBusy: It takes nothing of this now.
        """
        self._results = [None] * len(items)
        legacy = self._stage(items)
        self._pending -= 1
        if self._pending:
            await self._settling
        prefix = self._hub.log.epoch.encode()
        results = b",".join([self._told(result, prefix) for result in self._results])
        wanted = self._hub.cancellations.pending(_operations_of(self._events), self._options.producer_id)
        return Answer(200, b'{"results":[%b]}' % results, (*deprecation_headers(legacy), *cancel_headers(wanted)))

    def _stage(self, items: list[bytes]) -> set[str]:
        """Stage every item that can be; return the old names among their types."""
        legacy = set()
        publish, took = self._hub.publish, self._events.append
        trace_id, producer_id = self._options.trace_id, self._options.producer_id
        for index, item in enumerate(items):
            self._pending += 1
            try:
                envelope = self._envelope(item, index)
                settled = partial(self._settled, index)
                took(publish(envelope, settled, scope=producer_id, trace_id=trace_id, producer_id=producer_id))
            except (Draining, LogBusy) as error:
                if not index:
                    raise
                # Those after it share its fate, or they would overtake it.
                self._results[index:] = [error] * (len(items) - index)
                self._pending -= 1
                break
            except TidingsError as error:
                self._settled(index, error)
            else:
                if envelope.type in LEGACY_TYPES:
                    legacy.add(envelope.type)
        return legacy

    def _envelope(self, item: bytes, index: int) -> Envelope:
        envelope = decode_envelope(item)
        if self._options.key is None or envelope.event_id is not None:
            return envelope
        return structs.replace(envelope, event_id=f"{self._options.key}#{index}")

    def _settled(self, index: int, result: PublishResult | TidingsError) -> None:
        self._results[index] = result
        self._pending -= 1
        if not self._pending and not self._settling.done():
            self._settling.set_result(None)

    def _told(self, result: PublishResult | TidingsError | None, epoch: bytes) -> bytes:
        assert result is not None
        if not isinstance(result, PublishResult):
            return b'{"error":%b}' % encode_payload(error_data(result))
        if result.duplicate or result.attempt is not None:  # of any epoch; or the start of an operation
            return _accepted(self._hub, result)
        return b'{"position":"%b:%d"}' % (epoch, result.offset)


def _accepted(hub: Hub, result: PublishResult) -> bytes:
    attempt = b"" if result.attempt is None else b',"attempt":%d' % result.attempt
    duplicate = b',"duplicate":true' if result.duplicate else b""
    return b'{"position":"%b"%b%b}' % (str(hub.log.position(result.offset)).encode(), attempt, duplicate)
