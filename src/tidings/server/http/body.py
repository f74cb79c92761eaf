"""Request bodies: read up to a limit, and split into envelopes."""

import asyncio
from typing import Final

import msgspec
from msgspec import Raw
from starlette.types import Receive

from tidings.exceptions import (
    InvalidEnvelope,
    InvalidJSON,
    LogBusy,
    PayloadTooLarge,
    RequestTimeout,
    TooDeep,
    UnsupportedMediaType,
)
from tidings.protocol.envelope import check_body
from tidings.server.asgi.scope import Headers

MAX_BODY_BYTES: Final = 4 << 20
"""Bytes of a post: the same limit as for unacknowledged events of one connection (docs/protocol/limits.md)."""
MAX_BATCH_EVENTS: Final = 1_000
"""Events of a post: the same limit in events."""
_MAX_REFUSED_BYTES: Final = 4 * MAX_BODY_BYTES
"""Bytes of an oversized post that are read and dropped, so that its sender receives the answer: a connection that is
closed while bytes arrive is reset, and the answer is lost."""

BODY_TIMEOUT_S: Final = 30.0
"""Time in which a body must begin to arrive, and go on; a slow one gets more, see `BodyReader`."""
MAX_UNFINISHED_BYTES: Final = 64 << 20
"""Bytes of all bodies that have not arrived whole: 16 of the largest."""
_MIN_BYTES_PER_S: Final = 16_384
"""Rate below which a body is cut off: that of a bad mobile connection."""
_MIN_SILENCE_S: Final = 1.0
"""Silence after which a body may be given up for others."""

_NDJSON_TYPES: Final = frozenset(
    {b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"}
)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""Windows programs write it, and RFC 8259 §8.1 lets a parser ignore it."""
_HINT: Final = f"Send at most {MAX_BATCH_EVENTS:,} events and {MAX_BODY_BYTES >> 20} MiB per request."

_TYPE_HINT: Final = "Send `Content-Type: application/json` or `application/x-ndjson` (with curl: --json or -H)."

_split_array = msgspec.json.Decoder(list[Raw]).decode


class BodyReader:
    """Reads the bodies of requests, within a time for each, and within one budget of memory for all of them.

    While bytes arrive, a body has `BODY_TIMEOUT_S` and a second more for each `_MIN_BYTES_PER_S` of it. A body of one
    segment never counts towards the budget. If the budget is used up, the body that has been silent for longest is
    given up, if it is silent at all; otherwise the newcomer has to try again.

    Args:
        budget_bytes: Bytes of all unfinished bodies together.
    """

    def __init__(self, *, budget_bytes: int = MAX_UNFINISHED_BYTES) -> None:
        self._free = budget_bytes
        self._unfinished: dict[_UnfinishedBody, None] = {}
        """The longest silent one first."""

    async def read(self, receive: Receive) -> bytes | None:
        """Return the body of a request, without a byte order mark; None if the client went away in the middle.

        Raises:
            PayloadTooLarge: The body is over `MAX_BODY_BYTES`.
            RequestTimeout: The body did not arrive in time.
            LogBusy: Other bodies use the whole budget.
        """
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S) as timeout:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body: bytes = message.get("body", b"")
                if message.get("more_body", False):
                    gathered = await self._read_on(_UnfinishedBody(timeout), body, receive)
                    if gathered is None:
                        return None
                    body = gathered
        except TimeoutError as cause:
            raise RequestTimeout("the body of the request did not arrive in time") from cause
        if len(body) > MAX_BODY_BYTES:
            reason = f"body too large: {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed"
            raise _too_large(reason, len(body), MAX_BODY_BYTES, "")
        return body.removeprefix(_BYTE_ORDER_MARK)

    async def _read_on(self, unfinished: "_UnfinishedBody", part: bytes, receive: Receive) -> bytes | None:
        size, more = 0, True
        try:
            while True:
                size += len(part)
                if size <= MAX_BODY_BYTES:
                    self._take(unfinished, part)
                elif size > _MAX_REFUSED_BYTES:
                    break
                unfinished.extend_time(size)
                if not more:
                    break
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part = message.get("body", b"")
                more = message.get("more_body", False)
            if unfinished.given_up:
                raise TimeoutError
            if size > MAX_BODY_BYTES:
                raise _too_large(f"body too large: over {MAX_BODY_BYTES} bytes", size, MAX_BODY_BYTES, "")
            return bytes(unfinished.gathered)
        finally:
            self._release(unfinished)

    def _take(self, unfinished: "_UnfinishedBody", part: bytes) -> None:
        """Add a part to an unfinished body, and to the budget."""
        if unfinished.given_up:  # before this part was read
            raise TimeoutError
        self._unfinished.pop(unfinished, None)
        now = asyncio.get_running_loop().time()
        while self._free < len(part):
            silent = next(iter(self._unfinished), None)
            if silent is None or now - silent.last < _MIN_SILENCE_S:
                raise LogBusy("too many posts are arriving at a time")
            self._release(silent)
            silent.give_up(now)
        self._free -= len(part)
        unfinished.gathered += part
        unfinished.last = now
        self._unfinished[unfinished] = None

    def _release(self, unfinished: "_UnfinishedBody") -> None:
        self._unfinished.pop(unfinished, None)
        self._free += len(unfinished.gathered)
        unfinished.gathered = bytearray()


class _UnfinishedBody:
    """A body of which a part has arrived."""

    __slots__ = ("_began", "_timeout", "gathered", "given_up", "last")

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._began = self.last = asyncio.get_running_loop().time()
        self.given_up = False
        self.gathered = bytearray()

    def extend_time(self, size: int) -> None:
        """Set the time that a body has of which `size` bytes have arrived."""
        if not self.given_up:
            self._timeout.reschedule(
                min(self.last + BODY_TIMEOUT_S, self._began + BODY_TIMEOUT_S + size / _MIN_BYTES_PER_S)
            )

    def give_up(self, now: float) -> None:
        """Let its reading fail."""
        self.given_up = True
        self._timeout.reschedule(now)


def split_body(body: bytes, headers: Headers) -> list[bytes] | None:
    """Return the envelopes of a batch, undecoded; None if the body is a single envelope.

    Raises:
        UnsupportedMediaType: The headers name a type that is not JSON, or none.
        InvalidEnvelope: The body is empty.
        InvalidJSON: The body is an array with a syntax error.
        InvalidUTF8: The body is an array with bytes that are not UTF-8.
        TooDeep: The body is an array that is nested too deep to be split.
        PayloadTooLarge: The body has more than `MAX_BATCH_EVENTS`.
    """
    if _is_ndjson(headers):
        items = [line for line in body.split(b"\n") if line.strip()]
    else:
        start = body[:1]
        if start in b" \t\r\n":
            start = body.lstrip(b" \t\r\n")[:1]
        if not start:
            raise InvalidEnvelope("$: the body is empty", path="$")
        if start != b"[":
            return None
        items = _split(body)
    if len(items) > MAX_BATCH_EVENTS:
        message = f"too many events: {len(items)}, at most {MAX_BATCH_EVENTS} are allowed"
        raise _too_large(message, len(items), MAX_BATCH_EVENTS, "$")
    return items


def _too_large(message: str, size: int, limit: int, path: str) -> PayloadTooLarge:
    return PayloadTooLarge(message, size=size, limit=limit, hint=_HINT, path=path)


def check_json_type(headers: Headers) -> None:
    """Check that the headers of a post with a body name JSON.

    Raises:
        UnsupportedMediaType: The headers name another type, or none.
    """
    if _is_ndjson(headers):
        raise UnsupportedMediaType(
            "unsupported type: NDJSON", hint="Send one JSON object: `Content-Type: application/json`."
        )


def _is_ndjson(headers: Headers) -> bool:
    """Return whether the body is NDJSON, not JSON.

    Other types are refused, so that web pages need a CORS preflight, and so is a body without a type: a page may send
    that without one, as a `Blob`.
    """
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise UnsupportedMediaType(
            f"unsupported Content-Encoding {encoding[:40].decode('latin-1')!r}",
            hint="Send the body without an encoding.",
        )
    named = headers.get(b"content-type")
    if named == b"application/json":
        return False
    if named is None:
        raise UnsupportedMediaType("no Content-Type: a post with a body names its type", hint=_TYPE_HINT)
    media_type = named.partition(b";")[0].strip().lower()
    if media_type in _NDJSON_TYPES:
        return True
    if media_type == b"application/json" or (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        return False
    raise UnsupportedMediaType(
        f"unsupported Content-Type {media_type[:80].decode('latin-1')!r}",
        hint=_TYPE_HINT,
    )


def _split(body: bytes) -> list[bytes]:
    try:
        return [b"" + item for item in _split_array(body)]
    except msgspec.DecodeError as cause:
        check_body(body)
        raise InvalidJSON(f"$: this is not a JSON array: {str(cause).removeprefix('JSON is malformed: ')}") from cause
    except RecursionError as cause:
        raise TooDeep("$: the array is nested too deep") from cause
