"""Bodies of posts: read up to a bound, and taken apart into envelopes."""

from typing import Final

import msgspec
from msgspec import Raw
from starlette.types import Receive

from tidings.exceptions import InvalidEnvelope, InvalidJSON, PayloadTooLarge, TooDeep, UnsupportedMediaType
from tidings.protocol.envelope import check_body
from tidings.server.asgi.scope import Headers

MAX_BODY_BYTES: Final = 4 << 20
"""Bytes of a post: as many as one connection may have unacknowledged (CONTRACT §6)."""
MAX_BATCH_EVENTS: Final = 1_000
"""Events of a post: the same bound in events."""
_MAX_REFUSED_BYTES: Final = 4 * MAX_BODY_BYTES
"""Bytes of a post that is too large which are read and dropped, so that its sender reads the answer: a connection that
is closed while bytes arrive is reset, and the answer with it."""

_NDJSON_TYPES: Final = frozenset(
    {b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"}
)
_HINT: Final = f"Send at most {MAX_BATCH_EVENTS:,} events and {MAX_BODY_BYTES >> 20} MiB per request."

_split_array = msgspec.json.Decoder(list[Raw]).decode


async def read_body(receive: Receive) -> bytes | None:
    """Return the body of a request; None where its client went away in the middle.

    Raises:
        PayloadTooLarge: It is over `MAX_BODY_BYTES`.
    """
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        gathered = bytearray(body)
        size = len(gathered)
        while message.get("more_body", False):
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size <= MAX_BODY_BYTES:
                gathered += part
            elif size > _MAX_REFUSED_BYTES:
                break
        if size > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"the body is over {MAX_BODY_BYTES} bytes", size=size, limit=MAX_BODY_BYTES, hint=_HINT, path=""
            )
        body = bytes(gathered)
    elif len(body) > MAX_BODY_BYTES:
        raise PayloadTooLarge(
            f"the body is {len(body)} bytes; {MAX_BODY_BYTES} are allowed",
            size=len(body),
            limit=MAX_BODY_BYTES,
            hint=_HINT,
            path="",
        )
    return body


def split_body(body: bytes, headers: Headers) -> list[bytes] | None:
    """Return the envelopes of a batch, unread; None where the body is a single one.

    Raises:
        UnsupportedMediaType: The headers name something that is not JSON.
        InvalidEnvelope: There is nothing in it.
        InvalidJSON: It is an array, and broken.
        InvalidUTF8: It is an array, and holds bytes that are not UTF-8.
        TooDeep: It is an array, and nests so deep that its items cannot be told apart.
        PayloadTooLarge: It holds more than `MAX_BATCH_EVENTS`.
    """
    if _is_ndjson(headers):
        lines = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        items = [line for line in lines if line.strip()]
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
        raise PayloadTooLarge(
            f"the body holds {len(items)} events; {MAX_BATCH_EVENTS} are allowed",
            size=len(items),
            limit=MAX_BATCH_EVENTS,
            hint=_HINT,
            path="$",
        )
    return items


def check_json_type(headers: Headers) -> None:
    """Check that the headers name a body that is JSON, or name none.

    Raises:
        UnsupportedMediaType: They name something else.
    """
    if _is_ndjson(headers):
        raise UnsupportedMediaType("the body is NDJSON", hint="Send one JSON object: `Content-Type: application/json`.")


def _is_ndjson(headers: Headers) -> bool:
    """Tell NDJSON from JSON; other types are refused, so that no web page posts without asking (CORS)."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() != b"identity":
        raise UnsupportedMediaType(f"the body's encoding is {encoding[:40]!r}", hint="Send the body as it is.")
    named = headers.get(b"content-type")
    if named is None or named == b"application/json":
        return False
    media_type = named.partition(b";")[0].strip().lower()
    if media_type in _NDJSON_TYPES:
        return True
    if media_type == b"application/json" or (media_type.startswith(b"application/") and media_type.endswith(b"+json")):
        return False
    raise UnsupportedMediaType(
        f"the body's type is {media_type[:80].decode('latin-1')!r}",
        hint="Send `Content-Type: application/json`, or `application/x-ndjson` (with curl: --json, or -H).",
    )


def _split(body: bytes) -> list[bytes]:
    try:
        return [b"" + item for item in _split_array(body)]
    except msgspec.DecodeError as cause:
        check_body(body)
        raise InvalidJSON(f"$: this is not a JSON array: {str(cause).removeprefix('JSON is malformed: ')}") from cause
    except RecursionError as cause:
        raise TooDeep("$: the array nests too deep to be read") from cause
