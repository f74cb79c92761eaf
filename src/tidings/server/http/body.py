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

    One timer is set for the body that has the least time left: nearly every body has arrived when its reading begins.

    While bytes arrive, a body has `BODY_TIMEOUT_S` and a second more for each `_MIN_BYTES_PER_S` of it. A body of one
    segment never counts towards the budget. If the budget is used up, the body that has been silent for longest is
    given up, if it is silent at all; otherwise the newcomer has to try again.

    Args:
        budget_bytes: Bytes of all unfinished bodies together.
    """

    def __init__(self, *, budget_bytes: int = MAX_UNFINISHED_BYTES) -> None:
        self._free = budget_bytes
        self._reading: dict[_Body, None] = {}
        self._unfinished: dict[_Body, None] = {}
        """Bodies with a part that counts towards the budget, the longest silent one first."""
        self._timed_by: asyncio.AbstractEventLoop | None = None
        """The event loop whose timer is set."""

    async def read(self, receive: Receive) -> bytes | None:
        """Return the body of a request, without a byte order mark; None if the client went away in the middle.

        Raises:
            PayloadTooLarge: The body is over `MAX_BODY_BYTES`.
            RequestTimeout: The body did not arrive in time.
            LogBusy: Other bodies use the whole budget.
        """
        loop = asyncio.get_running_loop()
        reading = _Body(loop.time())
        self._reading[reading] = None
        if self._timed_by is not loop:
            self._set_timer(loop, BODY_TIMEOUT_S)
        try:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body: bytes | None = message.get("body", b"")
            if message.get("more_body", False):
                body = await self._read_on(reading, body or b"", receive)
        except asyncio.CancelledError:
            if not reading.given_up or reading.task.uncancel():  # the server has cancelled it
                raise
            raise RequestTimeout("the body of the request did not arrive in time") from None
        finally:
            del self._reading[reading]
        if body is None:
            return None
        if len(body) > MAX_BODY_BYTES:
            reason = f"body too large: {len(body)} bytes, at most {MAX_BODY_BYTES} are allowed"
            raise _too_large(reason, len(body), MAX_BODY_BYTES, "")
        return body.removeprefix(_BYTE_ORDER_MARK)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._timed_by = loop
        loop.call_later(delay_s, self._give_up_late, loop)

    def _give_up_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up the bodies whose time is over, and set the timer for the next one."""
        now = loop.time()
        next_s = BODY_TIMEOUT_S
        for body in list(self._reading):
            left_s = body.deadline - now
            if left_s <= 0:
                body.give_up()
            else:
                next_s = min(next_s, left_s)
        self._timed_by = None
        if self._reading:
            self._set_timer(loop, next_s)

    async def _read_on(self, unfinished: "_Body", part: bytes, receive: Receive) -> bytes | None:
        size, more = 0, True
        try:
            while True:
                size += len(part)
                unfinished.extend_time(asyncio.get_running_loop().time(), size)
                if size <= MAX_BODY_BYTES:
                    self._take(unfinished, part)
                elif size > _MAX_REFUSED_BYTES:
                    break
                if not more:
                    break
                message = await receive()
                if message["type"] != "http.request":
                    return None
                part = message.get("body", b"")
                more = message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                raise _too_large(f"body too large: over {MAX_BODY_BYTES} bytes", size, MAX_BODY_BYTES, "")
            return bytes(unfinished.gathered)
        finally:
            self._release(unfinished)

    def _take(self, unfinished: "_Body", part: bytes) -> None:
        """Add a part to an unfinished body, and to the budget."""
        self._unfinished.pop(unfinished, None)
        while self._free < len(part):
            silent = next(iter(self._unfinished), None)
            if silent is None or unfinished.last - silent.last < _MIN_SILENCE_S:
                raise LogBusy("too many posts are arriving at a time")
            self._release(silent)
            silent.give_up()
        self._free -= len(part)
        unfinished.gathered += part
        self._unfinished[unfinished] = None

    def _release(self, unfinished: "_Body") -> None:
        self._unfinished.pop(unfinished, None)
        self._free += len(unfinished.gathered)
        unfinished.gathered = bytearray()


class _Body:
    """A body that is being read by the current task."""

    __slots__ = ("_began", "_size", "gathered", "given_up", "last", "task")

    def __init__(self, now: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._began = self.last = now
        self._size = 0
        self.given_up = False
        self.gathered = bytearray()

    def extend_time(self, now: float, size: int) -> None:
        """Record that `size` bytes of it have arrived."""
        self.last = now
        self._size = size

    @property
    def deadline(self) -> float:
        """Time until which more of it must arrive."""
        return min(self.last, self._began + self._size / _MIN_BYTES_PER_S) + BODY_TIMEOUT_S

    def give_up(self) -> None:
        """Let its reading fail."""
        if not self.given_up:
            self.given_up = True
            self.task.cancel()


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
