"""The headers of a post, and of its answer (CONTRACT §4 and §5)."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tidings.exceptions import InvalidEventID, InvalidParameter
from tidings.protocol.envelope import check_event_id
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import LeaseSeconds, ProducerID
from tidings.server.asgi_scope import Headers, header
from tidings.server.http_body import MAX_EVENTS
from tidings.server.http_query import read_seconds

DEPRECATED_SINCE: Final = b"@1753833600"
"""2025-07-30, when the old names were replaced, as RFC 9745 writes a date."""
LONGEST_BATCH_KEY: Final = 64 - len(f"#{MAX_EVENTS - 1}")
_LONGEST_CANCEL: Final = 4_096
"""Bytes of `Tidings-Cancel`: common clients take 8 KiB of headers. What does not fit is in a later answer."""
# W3C Trace Context §3.2: version ff and ids of zeros are invalid; a later version may append fields.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

Fields = tuple[tuple[bytes, bytes], ...]


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
        raise InvalidEventID(f"Idempotency-Key: {key[:64]!r} is not 16–{LONGEST_BATCH_KEY} printable ASCII") from cause
    if len(key) > LONGEST_BATCH_KEY:
        raise InvalidEventID(
            f"Idempotency-Key is {len(key)} characters long; {LONGEST_BATCH_KEY} are allowed for a batch",
            hint="Each event's id is the key with `#` and its place behind it, and at most 64 characters long.",
        )


def notices(types: set[str]) -> Fields:
    """Return the headers that tell of old names among `types`, and what replaces them."""
    old = sorted(name for name in types if name in LEGACY_TYPES)
    if not old:
        return ()
    told = ", ".join(f"{name} is the old name of {LEGACY_TYPES[name]}" for name in old)
    return (b"deprecation", DEPRECATED_SINCE), (b"tidings-notice", told.encode())


def wishes(operation_ids: Iterable[str]) -> Fields:
    """Return the header that names operations which are to end, if there are any."""
    told = ""
    for operation_id in operation_ids:
        longer = f"{told},{quote(operation_id, safe='')}" if told else quote(operation_id, safe="")
        if len(longer) > _LONGEST_CANCEL:
            break
        told = longer
    return ((b"tidings-cancel", told.encode()),) if told else ()
