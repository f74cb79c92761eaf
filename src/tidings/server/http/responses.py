"""HTTP answers: encoded bodies, and errors as ErrorData (docs/protocol/codes.md)."""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from tidings.exceptions import Forbidden, LogOpening, MethodNotAllowed, TidingsError, Unauthenticated
from tidings.hub.rate_limits import LogSampler
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.payloads import encode_payload

JSON: Final = "application/json"
SECURITY_FIELDS: Final = (
    (b"x-content-type-options", b"nosniff"),  # no JSON is taken for a script (Fetch Standard §3.5)
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),  # for browsers without `frame-ancestors`
    (b"referrer-policy", b"no-referrer"),  # the URLs of the hub have ids of operations in them
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),  # pages of allowed origins read by CORS, which this leaves alone
    (b"cache-control", b"no-store"),  # everything but documents is what is true now, for one client
)
"""Headers of every answer that has no such header of its own; names in lower case."""
_JSON_FIELD: Final = (b"content-type", JSON.encode())
_ASK: Final = b'Bearer realm="tidings"'
_ASK_AGAIN: Final = b'Bearer realm="tidings", error="invalid_token"'
"""Challenges of RFC 6750 §3: browsers show no dialog for this scheme."""
_MAX_ALLOWED: Final = 100
"""Grants that the answer to a missing one lists."""
_RETRY_AFTER_S: Final = 1
"""Retry-After for errors without one: a restart or a busy log takes about a second."""


class Answer(Struct, frozen=True, gc=False):
    """One answer; its body is JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers; names in lower case."""

    async def send(self, send: Send) -> None:
        """Send it to an ASGI client."""
        fields = [_JSON_FIELD, (b"content-length", b"%d" % len(self.body)), *SECURITY_FIELDS, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": self.body})


def retry_after_s(error: TidingsError) -> int | None:
    """Return the Retry-After of an answer with an error, in seconds; None if the error is not temporary."""
    retry_after_ms: int | None = getattr(error, "retry_after_ms", None)
    if retry_after_ms is not None:
        return math.ceil(retry_after_ms / 1000)
    return _RETRY_AFTER_S if row_of(error).http in (503, 507) else None


def error_answer(error: TidingsError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return the answer for `error`: with Retry-After if it is temporary, and with WWW-Authenticate for a 401.

    Besides ErrorData, the body has `retry_after_ms` where the error has it, `allowed` for a missing grant, and
    `rows_read` and `rows` while the log is being opened.
    """
    status = row_of(error).http
    retry_after_ms: int | None = getattr(error, "retry_after_ms", None)
    wait_s = retry_after_s(error)
    if wait_s is not None:
        headers = (*headers, (b"retry-after", b"%d" % wait_s))
    if status == 401:
        headers = (*headers, (b"www-authenticate", _ASK if isinstance(error, Unauthenticated) else _ASK_AGAIN))
    body = encode_payload(error_data(error))
    more: dict[str, object] = {}
    if retry_after_ms is not None:
        more["retry_after_ms"] = retry_after_ms
    if isinstance(error, Forbidden):
        more["allowed"] = error.allowed[:_MAX_ALLOWED]
    if isinstance(error, LogOpening):
        more.update(rows_read=error.rows_read, rows=error.rows)
    if more:
        body = body[:-1] + b"," + msgspec.json.encode(more)[1:]
    return Answer(status, body, headers)


def method_refusal(path: str, allowed: str) -> Answer:
    """Return the answer for a method that is not among the `allowed` ones of `path`."""
    refusal = MethodNotAllowed(f"method not allowed for {path[:200]}", hint=f"Use one of {allowed}.")
    return error_answer(refusal, ((b"allow", allowed.encode()),))


def to_response(answer: Answer) -> Response:
    """Return `answer` as a Starlette response."""
    fields = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, fields, JSON)


async def error_response(request: Request, error: Exception) -> Response:
    """Answer a request whose handler raised `error`, a TidingsError: Starlette's exception handler."""
    assert isinstance(error, TidingsError)
    return to_response(error_answer(error))


class RefusalLog:
    """Log lines about the requests that one application refuses: a few each second, because anyone can cause them."""

    def __init__(self) -> None:
        self._sampler = LogSampler()

    def add(self, write: Callable[..., Any], event: str, error: TidingsError, **fields: Any) -> None:
        """Write a line with the error and `fields`, or count it for the next line.

        Args:
            write: Method of a logger, which is the line's level.
            event: Text of the line.
            error: The reason of the refusal.
            fields: Further fields of the line.
        """
        if self._sampler.allows(monotonic()):
            suppressed = self._sampler.take_suppressed()
            write(event, code=error.code, error=str(error), **fields, not_logged=suppressed)
