"""Answers over HTTP: bodies already encoded, and every error as ErrorData (CONTRACT §7)."""

import math
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from tidings.exceptions import LogBusy, MethodNotAllowed, TidingsError
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.payloads import encode_payload

JSON: Final = "application/json"
_RETRY_AFTER_S: Final = 1
"""Where the error does not say: a restart, or a log that is busy, takes about so long."""


class Answer(Struct, frozen=True, gc=False):
    """One answer, of JSON unless a header says otherwise."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers; names in lower case."""

    async def send(self, send: Send) -> None:
        """Send it as the answer to an ASGI request."""
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body)), *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": self.body})


def error_answer(error: TidingsError, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return the answer that tells `error`, with Retry-After where it will pass."""
    status = row_of(error).http
    if status in (503, 507):
        wait_s = math.ceil(error.retry_after_ms / 1000) if isinstance(error, LogBusy) else _RETRY_AFTER_S
        headers = (*headers, (b"retry-after", b"%d" % wait_s))
    return Answer(status, encode_payload(error_data(error)), headers)


def method_refusal(path: str, allowed: str) -> Answer:
    """Return the answer to a method that is not among the `allowed` ones of `path`."""
    refusal = MethodNotAllowed(f"{path[:200]} takes {allowed}", hint=f"Use one of {allowed}.")
    return error_answer(refusal, ((b"allow", allowed.encode()),))


def to_response(answer: Answer) -> Response:
    """Return `answer` as Starlette has it."""
    fields = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, fields, JSON)


async def error_response(request: Request, error: Exception) -> Response:
    """Answer a request whose handler raised `error`, a TidingsError: Starlette's exception handler."""
    assert isinstance(error, TidingsError)
    return to_response(error_answer(error))
