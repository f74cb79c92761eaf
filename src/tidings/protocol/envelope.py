"""The envelope: one JSON object per message (PROTOCOL.md, "Envelope").

Before it reads a message, the hub checks the whole body for UTF-8, nesting and surrogate pairs. Libraries accept bad
UTF-8 in members they skip, and disagree on depth and on halves of surrogate pairs; one bad publisher must not
disconnect every reader (PROTOCOL.md, "What a message may not be").
"""

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import (
    InvalidEnvelope,
    InvalidEventID,
    InvalidJSON,
    InvalidTraceID,
    InvalidUTF8,
    PayloadTooLarge,
    TooDeep,
)
from tidings.protocol.message_types import ChannelType, EventClass, SlotEffect
from tidings.protocol.payloads import Payload, encode_payload
from tidings.protocol.raw_json import scan_text_members

MAX_DATA_BYTES = 65_535
"""Maximum size of `data`: under 64 KB (PROTOCOL.md, "Envelope")."""
MAX_BODY_BYTES = 262_144
"""Maximum size of one message: large enough that the hub can reply to an event that is too large."""
MAX_DEPTH = 64
"""Maximum levels of arrays and objects, including the envelope itself."""

# Between tokens these three are JSON white space; inside strings JSON forbids them raw. In a body that parsed, a space
# in place of each keeps the value, and makes it safe inside an SSE field or a line of NDJSON.
_LINE_BREAKS = bytes.maketrans(b"\r\n\t", b"   ")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# Searching for a byte by its number is one memchr; searching for b"[" costs six times that.
LF, CR, TAB, BRACKET, BACKSLASH, DELETE = b"\n\r\t[\\\x7f"

MAX_FLAT_BYTES = 5 * MAX_DEPTH
"""A body without arrays up to this length cannot be too deep: a nested object costs five bytes, `{"":` and `}`."""


def check_body(body: bytes) -> None:
    """Check `body` for the faults that a JSON decoder accepts.

    Raises:
        PayloadTooLarge: The body is longer than `MAX_BODY_BYTES`.
        InvalidUTF8: The body holds bytes that are not UTF-8.
        TooDeep: The body nests deeper than `MAX_DEPTH`.
        InvalidJSON: A string holds half a surrogate pair.
    """
    if len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(
            f"$: the message is {len(body)} bytes; {MAX_BODY_BYTES} are allowed",
            size=len(body),
            limit=MAX_BODY_BYTES,
            path="$",
        )
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as cause:
            raise InvalidUTF8(f"$: byte {cause.start} of the message is not UTF-8") from cause
    if (len(body) > MAX_FLAT_BYTES or BRACKET in body) and _is_too_deep(body):
        raise TooDeep(f"$: the message nests deeper than {MAX_DEPTH} levels")
    if BACKSLASH in body and _has_lone_surrogate(body):
        raise InvalidJSON("$: a string holds half a surrogate pair", hint="Escape both halves, or write UTF-8.")


def _is_too_deep(body: bytes) -> bool:
    # A body has at most as many levels as openers: counting openers is enough for nearly all bodies.
    return body.count(b"{") + body.count(b"[") > MAX_DEPTH and measure_depth(body) > MAX_DEPTH


def _has_lone_surrogate(body: bytes) -> bool:
    if not _SURROGATE.search(body):
        return False
    high_ends = -1
    for escape in _ESCAPE.finditer(body):
        digits = escape[1]
        unit = int(digits, 16) if digits else 0
        paired = high_ends == escape.start()
        if 0xDC00 <= unit <= 0xDFFF:
            if not paired:
                return True
            high_ends = -1
        elif high_ends >= 0:
            return True
        elif 0xD800 <= unit <= 0xDBFF:
            high_ends = escape.end()
    return high_ends >= 0


def measure_depth(body: bytes) -> int:
    """Return how many levels of arrays and objects `body` nests, ignoring strings, in time linear in its length."""
    # After removing escaped backslashes, and then escaped quotes, each remaining quote begins or ends a string. (A
    # pattern for a whole string would scan again from every quote of an unterminated string.)
    outside = b"".join(body.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    level = deepest = 0
    for bracket in outside.translate(None, _NOT_BRACKETS):
        if bracket in b"[{":
            level += 1
            deepest = max(deepest, level)
        else:
            level -= 1
    return deepest


def to_single_line(data: bytes) -> bytes:
    """Return the JSON text `data` with CR, LF and TAB between its tokens replaced by spaces."""
    return data.translate(_LINE_BREAKS) if LF in data or CR in data or TAB in data else data


MAX_ID_CHARS = 64
"""Maximum characters of a command's `id`."""
MAX_TRACE_ID_CHARS = 128
"""Maximum characters of a trace id."""
NO_DATA = Raw(b"null")
"""The data of an envelope without data."""
_EVENT_ID = re.compile(r"[!-~]{16,64}", re.ASCII)
_AT_PATH = re.compile(r" - at `(?P<path>[^`]*)`$")
_JSON_KINDS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
_KINDS = re.compile(r"(?:Expected|got) `[a-z |]+`")
_PYTHON_KIND = re.compile(rf"\b(?:{'|'.join(_JSON_KINDS)})\b")
_NO_NUMBER = re.compile(rb"[:\[,\s-](?:NaN|Infinity)\b")


class Envelope(Struct, frozen=True, gc=False):
    """A decoded message whose type is not checked yet. Unknown fields are ignored."""

    type: str
    timestamp: str | None = None
    trace_id: str | None = None
    data: Raw = NO_DATA
    """The sender's own bytes."""
    channel: str | None = None
    id: str | None = None
    """Label of a command, repeated in its reply; never stored."""
    reply_to: str | None = None
    position: str | None = None
    event_id: str | None = None


class PlainEnvelope(Envelope, frozen=True, gc=False):
    """An envelope of a message that is ASCII, on one line, without escapes, and at most `MAX_DATA_BYTES` long.

    Its strings are therefore printable ASCII and its data is within the limit, and need no further check.
    """


class Event(Struct, frozen=True, gc=False):
    """A checked event, ready for the log; `Contract.read` makes it from an envelope."""

    type: str
    timestamp: str
    """Canonical (see `tidings.protocol.timestamps`)."""
    trace_id: str
    data: bytes
    """JSON on one line: the publisher's own bytes, except for members that the contract fills in."""
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
        InvalidUTF8: The body holds bytes that are not UTF-8.
        TooDeep: The body nests deeper than `MAX_DEPTH`.
        InvalidJSON: The body is not one JSON value.
        InvalidEnvelope: The body is not an object with the envelope's fields.
        PayloadTooLarge: The body is longer than `MAX_BODY_BYTES`.
    """
    try:
        # Most messages hold nothing that `check_body` rejects. DEL is the only raw control character that JSON allows
        # in strings. In place, not in a function: this runs once for each event.
        if (
            (len(body) <= MAX_FLAT_BYTES or (len(body) <= MAX_DATA_BYTES and body.count(b"{") <= MAX_DEPTH))
            and body.isascii()
            and not (BRACKET in body or BACKSLASH in body or LF in body or CR in body or TAB in body or DELETE in body)
        ):
            return _decode_plain(body)
        check_body(body)
        return _decode(body)
    except msgspec.ValidationError as cause:
        message, path = parse_validation_error(cause)
        raise InvalidEnvelope(f"{path}: {message}", path=path) from cause
    except msgspec.DecodeError as cause:
        hint = "JSON has no NaN and no Infinity: leave the field out." if _NO_NUMBER.search(body) else ""
        raise InvalidJSON(
            f"$: this is not JSON: {str(cause).removeprefix('JSON is malformed: ')}", hint=hint
        ) from cause


def scan_labels(body: bytes) -> Envelope:
    """Return an envelope with the `id` and the `trace_id` of a message that cannot be decoded.

    Without its id, the sender would wait forever for the answer to this message.
    """
    found = scan_text_members(body, ("id", "trace_id"))
    return Envelope("", id=found.get("id"), trace_id=found.get("trace_id"))


def parse_validation_error(error: msgspec.ValidationError, root: str = "$") -> tuple[str, str]:
    """Return the message of a validation error, in the names of JSON's types, and the JSON path of the fault."""
    text = _KINDS.sub(lambda kinds: _PYTHON_KIND.sub(lambda kind: _JSON_KINDS[kind[0]], kinds[0]), str(error))
    match = _AT_PATH.search(text)
    if match is None:
        return text, root
    return text[: match.start()], root + match["path"].removeprefix("$")


def check_trace_id(trace_id: str) -> str:
    """Return `trace_id` if it is 1–128 printable ASCII characters.

    Raises:
        InvalidTraceID: It is not.
    """
    if not (trace_id.isascii() and trace_id.isprintable() and 1 <= len(trace_id) <= MAX_TRACE_ID_CHARS):
        raise InvalidTraceID(f"$.trace_id: {trace_id[:64]!r} is not 1–{MAX_TRACE_ID_CHARS} printable ASCII characters")
    return trace_id


def usable_trace_id(envelope: Envelope | None) -> str | None:
    """Return the trace id of a message for its answer; None if the message has no valid one."""
    if envelope is None or not envelope.trace_id:
        return None
    try:
        return check_trace_id(envelope.trace_id)
    except InvalidTraceID:
        return None


def check_event_id(event_id: str) -> str:
    """Return `event_id` if it is 16–64 printable ASCII characters.

    Raises:
        InvalidEventID: It is not.
    """
    if _EVENT_ID.fullmatch(event_id) is None:
        raise InvalidEventID(f"$.event_id: {event_id[:64]!r} is not 16–64 printable ASCII characters")
    return event_id


def encode_event(event: Event) -> bytes:
    """Return `event` for a plain connection: the five fields of the envelope, in the protocol's order."""
    # Type, timestamp and channel are checked to hold nothing that JSON escapes; a trace id may. The text before the
    # data is encoded in one step: field by field takes twice the time.
    trace_id = event.trace_id
    if '"' in trace_id or "\\" in trace_id:
        trace_id = quote(trace_id)[1:-1].decode()
    head = f'{{"type":"{event.type}","timestamp":"{event.timestamp}","trace_id":"{trace_id}","data":'
    channel = event.channel
    return head.encode() + event.data + (_TAILS[channel] if channel in _TAILS else _tail(channel))


def encode_event_v1(event: Event, position: str) -> bytes:
    """Return `event` for a `tidings.v1` connection: with its position, and its event id where it has one."""
    plain = encode_event(event)[:-1]
    if event.event_id is None:
        return b'%b,"position":"%b"}' % (plain, position.encode())
    return b'%b,"position":"%b","event_id":%b}' % (plain, position.encode(), quote(event.event_id))


def _tail(channel: str) -> bytes:
    return b',"channel":"%b"}' % channel.encode()


_TAILS: dict[str, bytes] = {channel: _tail(channel) for channel in ChannelType}


def quote(text: str) -> bytes:
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
    """Return a message that is not a logged event: a command, a reply or a push.

    Args:
        type: The message's type.
        data: A payload, or anything else that msgspec encodes; None is `null`.
        timestamp: A canonical timestamp.
        trace_id: The trace id of the command, or a new one.
        id: The label of a command.
        reply_to: The id of the command that the message answers.
        position: The position in the log to which the message belongs.
    """
    head = b'{"type":"%b","timestamp":"%b","trace_id":%b,"data":%b' % (
        type.encode(),
        timestamp.encode(),
        quote(trace_id),
        encode_payload(data) if isinstance(data, Payload) else msgspec.json.encode(data),
    )
    for name, value in ((b"id", id), (b"reply_to", reply_to), (b"position", position)):
        if value is not None:
            head += b',"%b":%b' % (name, msgspec.json.encode(value))
    return head + b"}"
