"""Builds events to publish: encodes and checks them, and gives them a timestamp and an id."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import InvalidEnvelope, InvalidPayload, PayloadTooLarge, TooDeep
from tidings.protocol.envelope import (
    MAX_DATA_BYTES,
    MAX_DEPTH,
    check_body,
    check_event_id,
    check_trace_id,
    measure_depth,
)
from tidings.protocol.payloads import Payload, encode_payload
from tidings.protocol.timestamps import from_nanoseconds

PayloadLike = Struct | Mapping[str, Any] | Raw | bytes | None
"""Payload of an event to publish: a struct, a mapping, encoded JSON, or None."""


MAX_DATA_DEPTH = MAX_DEPTH - 1
"""Maximum levels of arrays and objects in `data`: the envelope around it is one more."""
_MAX_TEXT_CHARS = 1_000
"""Maximum characters of a type, a channel or a timestamp: with the longest data, a message stays below the 256 KiB
above which a hub closes the connection."""


class Draft(Struct, frozen=True, kw_only=True):
    """An event to publish."""

    type: str
    data: Raw
    timestamp: str
    event_id: str
    trace_id: str | None = None
    channel: str | None = None


def encode_data(payload: PayloadLike) -> Raw:
    """Return `payload` as the JSON that goes on the wire.

    Raises:
        InvalidPayload: It cannot be encoded as JSON.
        InvalidUTF8: It is JSON with bytes that are not UTF-8.
        InvalidJSON: It is JSON with half a surrogate pair.
        PayloadTooLarge: It is over 65,535 bytes.
        TooDeep: It nests over 63 levels.
    """
    try:
        if isinstance(payload, Payload):
            data = encode_payload(payload)
        elif isinstance(payload, bytes | Raw):
            check_body(b"" + payload)
            data = msgspec.json.encode(msgspec.json.decode(payload, type=Raw))
        else:
            data = msgspec.json.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as cause:
        raise InvalidPayload(
            f"$.data: {cause}", hint="Publish a payload struct or a mapping of JSON values."
        ) from cause
    check_data_limits(data)
    return Raw(data)


def check_data_limits(data: bytes | Raw) -> None:
    """Check that a hub accepts the size and the depth of `data`.

    Raises:
        PayloadTooLarge: It is over 65,535 bytes.
        TooDeep: It nests over 63 levels.
    """
    size = len(data)
    if size > MAX_DATA_BYTES:
        raise PayloadTooLarge(f"$.data is {size} bytes; {MAX_DATA_BYTES} are allowed", size=size, limit=MAX_DATA_BYTES)
    if size > 2 * MAX_DATA_DEPTH:  # each level costs two bytes
        body = b"" + data
        if body.count(b"{") + body.count(b"[") > MAX_DATA_DEPTH and measure_depth(body) > MAX_DATA_DEPTH:
            raise TooDeep(f"$.data nests deeper than {MAX_DATA_DEPTH} levels", path="$.data")


def uuid7(unix_ms: int, random: int) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7).

    Args:
        unix_ms: Milliseconds since 1970-01-01T00:00:00Z.
        random: At least 74 random bits; the lowest are used.
    """
    high = random >> 62 & 0xFFF
    low = random & (1 << 62) - 1
    digits = f"{unix_ms & (1 << 48) - 1:012x}{0x7000 | high:04x}{1 << 63 | low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def make_draft(
    type: str,
    payload: PayloadLike = None,
    *,
    trace_id: str | None = None,
    channel: str | None = None,
    event_id: str | None = None,
    timestamp: str | None = None,
) -> Draft:
    """Return an event to publish, with this machine's time and a new id unless given.

    Raises:
        InvalidEnvelope: The type is not a string, or a text cannot be encoded as UTF-8.
        InvalidPayload: The payload cannot be encoded as JSON.
        PayloadTooLarge: It is over 65,535 bytes.
        TooDeep: It nests over 63 levels.
        InvalidEventID: The event id is not 16–64 printable ASCII characters.
        InvalidTraceID: The trace id is not 1–128 printable ASCII characters.
    """
    now_ns = time.time_ns()
    return _make(
        type,
        payload,
        trace_id,
        channel,
        timestamp=_check_text("timestamp", timestamp) if timestamp else from_nanoseconds(now_ns),
        event_id=check_event_id(event_id) if event_id else new_event_id(now_ns),
    )


def make_unstamped(
    type: str, payload: PayloadLike = None, *, trace_id: str | None = None, channel: str | None = None
) -> Draft:
    """Return an event without timestamp and id, which cost more than all the rest: `stamp` adds them when it is sent.

    Raises:
        InvalidEnvelope: The type is not a string, or a text cannot be encoded as UTF-8.
        InvalidPayload: The payload cannot be encoded as JSON.
        PayloadTooLarge: It is over 65,535 bytes.
        TooDeep: It nests over 63 levels.
        InvalidTraceID: The trace id is not 1–128 printable ASCII characters.
    """
    return _make(type, payload, trace_id, channel, timestamp="", event_id="")


def _make(
    type: str, payload: PayloadLike, trace_id: str | None, channel: str | None, *, timestamp: str, event_id: str
) -> Draft:
    if not isinstance(type, str):
        raise InvalidEnvelope(f"$.type: {type!r} is not a string", path="$.type")
    if trace_id is not None:
        check_trace_id(trace_id)
    return Draft(
        type=_check_text("type", str(type)),
        data=encode_data(payload),
        timestamp=timestamp,
        event_id=event_id,
        trace_id=trace_id,
        channel=None if channel is None else _check_text("channel", str(channel)),
    )


def _check_text(member: str, text: str) -> str:
    if len(text) > _MAX_TEXT_CHARS:
        raise InvalidEnvelope(
            f"$.{member}: invalid text of {len(text)} characters: expected at most {_MAX_TEXT_CHARS}",
            path=f"$.{member}",
        )
    # A lone surrogate would fail only when the message is encoded, among the events of other callers.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidEnvelope(f"$.{member}: invalid text {text!r}: expected no lone surrogates", path=f"$.{member}")
    return text


def stamp(draft: Draft, at_ns: int) -> Draft:
    """Return `draft` with a new id and the timestamp `at_ns`, in nanoseconds since 1970."""
    return msgspec.structs.replace(draft, timestamp=from_nanoseconds(at_ns), event_id=new_event_id(at_ns))


def new_event_id(at_ns: int) -> str:
    """Return a new event id: a UUIDv7 of the time `at_ns`, in nanoseconds since 1970."""
    return uuid7(at_ns // 1_000_000, secrets.randbits(74))
