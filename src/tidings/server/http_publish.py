"""`POST /v1/events`: publishing over HTTP (CONTRACT §5).

The hot route: a handful of dictionary look-ups on either side of `Hub.publish`, and one future a request, however many
events it brings.
"""

import asyncio
import re
from functools import partial
from typing import Final

import structlog
from msgspec import Struct, structs
from starlette.types import Receive, Scope, Send

from tidings.contract.codes import error_data
from tidings.contract.envelope import Envelope, check_event_id, decode_envelope
from tidings.contract.payloads import encode_payload
from tidings.contract.vocabulary import LEGACY_TYPES
from tidings.exceptions import (
    Draining,
    InternalError,
    InvalidEventID,
    LogBusy,
    NotSupported,
    TidingsError,
)
from tidings.hub.hub import Hub
from tidings.hub.staging import Accepted
from tidings.server.asgi_scope import Headers, header, headers_of
from tidings.server.http_answers import Answer, error_answer
from tidings.server.http_body import MAX_EVENTS, read_body, split_body
from tidings.server.running import Host

DEPRECATED_SINCE: Final = b"@1753833600"
"""2025-07-30, when the old names were replaced, as RFC 9745 writes a date."""
_LONGEST_BATCH_KEY: Final = 64 - len(f"#{MAX_EVENTS - 1}")
# W3C Trace Context §3.2: version ff and ids of zeros are invalid; a later version may append fields.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_LEASE_HEADERS: Final = (b"tidings-producer", b"tidings-lease")

log = structlog.get_logger("tidings.server.http")


class _Options(Struct, frozen=True, gc=False):
    """What the headers of a post ask for."""

    key: str | None
    """`Idempotency-Key`: the event_id of what has none of its own."""
    trace_id: str
    """`traceparent`'s, or ""."""


class PublishEndpoint:
    """The ASGI application behind `POST /v1/events`."""

    def __init__(self, host: Host) -> None:
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
        options = _read_options(headers)
        items = split_body(body, headers)
        hub = self._host.running().hub
        if items is None:
            return await _publish_one(hub, body, options)
        return await _Batch(hub, options).publish(items)


async def _publish_one(hub: Hub, body: bytes, options: _Options) -> Answer:
    envelope = decode_envelope(body)
    if options.key is not None:
        event_id = check_event_id(options.key)
        if envelope.event_id is None:
            envelope = structs.replace(envelope, event_id=event_id)
    settling: asyncio.Future[Accepted | TidingsError] = asyncio.get_running_loop().create_future()

    def settled(result: Accepted | TidingsError) -> None:
        if not settling.done():  # the server may have cancelled the request
            settling.set_result(result)

    hub.publish(envelope, settled, trace_id=options.trace_id)
    result = await settling
    if isinstance(result, TidingsError):
        raise result
    return Answer(200, _accepted(hub, result), _notices({envelope.type}))


class _Batch:
    """The events of one post on their way into the log: each is accepted or refused alone."""

    __slots__ = ("_hub", "_options", "_pending", "_results", "_settling")

    def __init__(self, hub: Hub, options: _Options) -> None:
        if options.key is not None:
            _check_batch_key(options.key)
        self._hub = hub
        self._options = options
        self._results: list[Accepted | TidingsError | None] = []
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
        return Answer(200, b'{"results":[%b]}' % results, _notices(legacy))

    def _stage(self, items: list[bytes]) -> set[str]:
        """Stage every item that can be; return the old names among their types."""
        legacy = set()
        publish = self._hub.publish
        trace_id = self._options.trace_id
        for index, item in enumerate(items):
            self._pending += 1
            try:
                envelope = self._envelope(item, index)
                publish(envelope, partial(self._settled, index), trace_id=trace_id)
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

    def _settled(self, index: int, result: Accepted | TidingsError) -> None:
        self._results[index] = result
        self._pending -= 1
        if not self._pending and not self._settling.done():
            self._settling.set_result(None)

    def _told(self, result: Accepted | TidingsError | None, epoch: bytes) -> bytes:
        assert result is not None
        if not isinstance(result, Accepted):
            return b'{"error":%b}' % encode_payload(error_data(result))
        if result.duplicate:  # of any epoch
            return _accepted(self._hub, result)
        return b'{"position":"%b:%d"}' % (epoch, result.offset)


def _accepted(hub: Hub, result: Accepted) -> bytes:
    duplicate = b',"duplicate":true' if result.duplicate else b""
    return b'{"position":"%b"%b}' % (str(hub.log.position(result.offset)).encode(), duplicate)


def _notices(types: set[str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that tell of old names among `types`, and what replaces them."""
    old = sorted(name for name in types if name in LEGACY_TYPES)
    if not old:
        return ()
    told = ", ".join(f"{name} is the old name of {LEGACY_TYPES[name]}" for name in old)
    return (b"deprecation", DEPRECATED_SINCE), (b"tidings-notice", told.encode())


def _read_options(headers: Headers) -> _Options:
    """Read what the headers ask for.

    Raises:
        NotSupported: They ask for a lease, which this hub does not give.
    """
    for name in _LEASE_HEADERS:
        if name in headers:
            raise NotSupported(
                f"this hub gives no leases: {name.decode()}", hint="Leave the header out; the operation has no lease."
            )
    key = header(headers, b"idempotency-key")
    if key is not None and len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]  # written as a structured field's string
    # What is no trace context is none, as W3C has it.
    parent = headers.get(b"traceparent")
    trace = _TRACEPARENT.fullmatch(parent) if parent is not None else None
    return _Options(key, "" if trace is None else trace[1].decode())


def _check_batch_key(key: str) -> None:
    try:
        check_event_id(key)
    except InvalidEventID as cause:
        raise InvalidEventID(f"Idempotency-Key: {key[:64]!r} is not 16–{_LONGEST_BATCH_KEY} printable ASCII") from cause
    if len(key) > _LONGEST_BATCH_KEY:
        raise InvalidEventID(
            f"Idempotency-Key is {len(key)} characters long; {_LONGEST_BATCH_KEY} are allowed for a batch",
            hint="Each event's id is the key with `#` and its place behind it, and at most 64 characters long.",
        )
