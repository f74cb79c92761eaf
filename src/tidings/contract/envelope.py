"""The envelope: one JSON object a message (CONTRACT §1)."""

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.contract.body import (
    BACKSLASH,
    BRACKET,
    CR,
    DELETE,
    FLAT_BYTES,
    LF,
    MAX_DATA_BYTES,
    MAX_DEPTH,
    TAB,
    check_body,
)
from tidings.contract.payloads import Payload, encode_payload
from tidings.contract.vocabulary import ChannelType, EventClass, SlotEffect
from tidings.exceptions import InvalidEnvelope, InvalidEventID, InvalidJSON, InvalidTraceID

MAX_ID = 64
"""Characters of a command's id."""
MAX_TRACE_ID = 128
"""Characters of a trace id."""
_NULL = Raw(b"null")
_EVENT_ID = re.compile(r"[!-~]{16,64}", re.ASCII)
_AT_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_NO_NUMBER = re.compile(rb"[:\[,\s-](?:NaN|Infinity)\b")


class Envelope(Struct, frozen=True, gc=False):
    """A message as it was read, nothing about its type checked yet. Unknown fields were ignored."""

    type: str
    timestamp: str | None = None
    trace_id: str | None = None
    data: Raw = _NULL
    """The sender's own bytes."""
    channel: str | None = None
    id: str | None = None
    """Labels a command for its reply; never stored."""
    reply_to: str | None = None
    position: str | None = None
    event_id: str | None = None


class PlainEnvelope(Envelope, frozen=True, gc=False):
    """An envelope of a message that was ASCII, on one line, without escapes, and no longer than `data` may be.

    So its strings are printable ASCII and its data is within the limit, and nobody needs to look again.
    """


class Event(Struct, frozen=True, gc=False):
    """A checked event, ready for the log: what `Contract.read` makes of an envelope."""

    type: str
    timestamp: str
    """Canonical (see `tidings.contract.timestamps`)."""
    trace_id: str
    data: bytes
    """JSON, on one line: the publisher's own, but for the members that the contract fills in."""
    channel: str
    key: str | None
    event_class: EventClass
    event_id: str | None = None
    effect: SlotEffect = SlotEffect.REPLACE


_decode = msgspec.json.Decoder(Envelope).decode
_decode_plain = msgspec.json.Decoder(PlainEnvelope).decode


def decode_envelope(body: bytes) -> Envelope:
    """Return the envelope in `body`, which is one message of at most `MAX_BODY_BYTES` bytes.

    Raises:
        InvalidUTF8: It holds bytes that are not UTF-8.
        TooDeep: It nests too deep.
        InvalidJSON: It is not one JSON value.
        InvalidEnvelope: It is not an object with the envelope's fields.
        PayloadTooLarge: It is larger than any message may be.
    """
    try:
        # Most messages: nothing in them that `check_body` looks for. Of raw control characters, JSON allows only DEL in
        # strings. In place, not in a function: this is done once an event.
        if (
            (len(body) <= FLAT_BYTES or (len(body) <= MAX_DATA_BYTES and body.count(b"{") <= MAX_DEPTH))
            and body.isascii()
            and not (BRACKET in body or BACKSLASH in body or LF in body or CR in body or TAB in body or DELETE in body)
        ):
            return _decode_plain(body)
        check_body(body)
        return _decode(body)
    except msgspec.ValidationError as cause:
        message, path = fault(cause)
        raise InvalidEnvelope(f"{path}: {message}", path=path) from cause
    except msgspec.DecodeError as cause:
        hint = "JSON has no NaN and no Infinity: leave the field out." if _NO_NUMBER.search(body) else ""
        raise InvalidJSON(
            f"$: this is not JSON: {str(cause).removeprefix('JSON is malformed: ')}", hint=hint
        ) from cause


def fault(error: msgspec.ValidationError, root: str = "$") -> tuple[str, str]:
    """Return the sentence of a validation error and the JSON path it is about, below `root`."""
    text = str(error)
    match = _AT_PATH.search(text)
    if match is None:
        return text, root
    return text[: match.start()], root + match["path"].removeprefix("$")


def check_trace_id(trace_id: str) -> str:
    """Return `trace_id` if it is 1–128 printable ASCII characters.

    Raises:
        InvalidTraceID: It is not.
    """
    if not (trace_id.isascii() and trace_id.isprintable() and 1 <= len(trace_id) <= MAX_TRACE_ID):
        raise InvalidTraceID(f"$.trace_id: {trace_id[:64]!r} is not 1–{MAX_TRACE_ID} printable ASCII characters")
    return trace_id


def check_event_id(event_id: str) -> str:
    """Return `event_id` if it is 16–64 printable ASCII characters.

    Raises:
        InvalidEventID: It is not.
    """
    if _EVENT_ID.fullmatch(event_id) is None:
        raise InvalidEventID(f"$.event_id: {event_id[:64]!r} is not 16–64 printable ASCII characters")
    return event_id


def encode_event(event: Event) -> bytes:
    """Return `event` as a plain connection reads it: the source contract's five fields, in its order."""
    # Type, timestamp and channel are checked to hold nothing that JSON escapes; a trace id may. The text before the
    # data is encoded at once: field by field takes twice the time.
    trace_id = event.trace_id
    if '"' in trace_id or "\\" in trace_id:
        trace_id = quoted(trace_id)[1:-1].decode()
    head = f'{{"type":"{event.type}","timestamp":"{event.timestamp}","trace_id":"{trace_id}","data":'
    channel = event.channel
    return head.encode() + event.data + (_TAILS[channel] if channel in _TAILS else _tail(channel))


def encode_event_v1(event: Event, position: str) -> bytes:
    """Return `event` as a `tidings.v1` connection reads it: with its position, and its event id where it has one."""
    plain = encode_event(event)[:-1]
    if event.event_id is None:
        return b'%b,"position":"%b"}' % (plain, position.encode())
    return b'%b,"position":"%b","event_id":%b}' % (plain, position.encode(), quoted(event.event_id))


def _tail(channel: str) -> bytes:
    return b',"channel":"%b"}' % channel.encode()


_TAILS: dict[str, bytes] = {channel: _tail(channel) for channel in ChannelType}


def quoted(text: str) -> bytes:
    """Return printable ASCII `text` as a JSON string."""
    if '"' in text or "\\" in text:
        return msgspec.json.encode(text)
    return b'"%b"' % text.encode()


def encode_message(
    type: str,
    data: Any,
    *,
    timestamp: str,
    trace_id: str,
    id: str | None = None,
    reply_to: str | None = None,
    position: str | None = None,
) -> bytes:
    """Return a message that is no logged event: a command, a reply or a push.

    Args:
        type: Its name.
        data: A payload, or anything else that msgspec encodes; None is `null`.
        timestamp: Canonical.
        trace_id: The command's own, or a new one.
        id: A command's label.
        reply_to: The id of the command this answers.
        position: Where in the log the message belongs.
    """
    head = b'{"type":"%b","timestamp":"%b","trace_id":%b,"data":%b' % (
        type.encode(),
        timestamp.encode(),
        quoted(trace_id),
        encode_payload(data) if isinstance(data, Payload) else msgspec.json.encode(data),
    )
    for name, value in ((b"id", id), (b"reply_to", reply_to), (b"position", position)):
        if value is not None:
            head += b',"%b":%b' % (name, msgspec.json.encode(value))
    return head + b"}"
