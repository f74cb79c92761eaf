"""The hub over HTTP: who may ask, and where what is."""

from collections.abc import Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from tidings.access.origins import Origins
from tidings.contract.contract import Contract
from tidings.exceptions import InternalError, MethodNotAllowed, NotFound, OriginRefused, TidingsError
from tidings.server.asgi_scope import header, headers_of, is_local, route_path
from tidings.server.http_answers import error_answer, error_response, response
from tidings.server.http_publish import PublishEndpoint
from tidings.server.http_reading import ReadingRoutes
from tidings.server.http_status import StatusRoutes
from tidings.server.metrics import MetricsRoute
from tidings.server.openapi import describe
from tidings.server.running import Host
from tidings.server.sse import StreamEndpoint

EVENTS: Final = "/v1/events"
_EXPOSED: Final = b"Deprecation, Retry-After, Tidings-Notice"
_ASKED_HEADERS: Final = b"Content-Type, Idempotency-Key, Last-Event-ID, traceparent, tracestate"
_PREFLIGHT_AGE_S: Final = b"600"

log = structlog.get_logger("tidings.server.http")


class HttpEndpoint:
    """The ASGI application behind scopes of type `http`.

    Args:
        host: Where the hub is.
        origins: Which web pages may use it.
        contract: What may be published.
        ws_path: Where the WebSocket is.
    """

    def __init__(self, host: Host, origins: Origins, contract: Contract, ws_path: str) -> None:
        self._origins = origins
        self._publish = PublishEndpoint(host)
        reading = ReadingRoutes(host)
        status = StatusRoutes(host, contract, ws_path)
        self._description = response(describe(contract))
        routes = [
            Route("/", status.index),
            Route(EVENTS, reading.history),
            Route(EVENTS, self._publish, methods=["POST"]),
            Route("/v1/snapshot", reading.snapshot),
            Route("/v1/stream", StreamEndpoint(host), methods=["GET"]),
            Route("/healthz", status.healthz),
            Route("/readyz", status.readyz),
            Route("/metrics", MetricsRoute(host).metrics),
            Route("/openapi.json", self._describe),
        ]
        self._allowed = _allowed_methods(routes)
        self._routes = Starlette(
            routes=routes,
            exception_handlers={TidingsError: error_response, HTTPException: self._refuse, Exception: _fault},
        )
        self._routes.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = headers_of(scope)
        origin = header(headers, b"origin")
        try:
            self._origins.check(origin, header(headers, b"host"), is_local=is_local(scope))
        except OriginRefused as error:
            log.warning("request refused", code=error.code, error=str(error), hint=error.hint, origin=origin)
            await error_answer(error).send(send)
            return
        if origin is not None and self._origins.is_listed(origin):
            send = _readable_by(origin, send)
        path = route_path(scope)
        method = scope["method"]
        if method == "POST" and path == EVENTS:
            await self._publish(scope, receive, send)
        elif method == "OPTIONS" and path in self._allowed:
            await _answer_options(self._allowed[path], preflight=b"access-control-request-method" in headers, send=send)
        else:
            await self._routes(scope, receive, send)

    async def _describe(self, request: Request) -> Response:
        """Answer `GET /openapi.json`."""
        return self._description

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Answer what Starlette itself refuses: a method, or a path."""
        assert isinstance(error, HTTPException)
        path = route_path(request.scope)
        if error.status_code == 405:
            allowed = self._allowed[path]
            refusal = MethodNotAllowed(f"{path} takes {allowed}", hint=f"Use one of {allowed}.")
            return response(error_answer(refusal, ((b"allow", allowed.encode()),)))
        return response(error_answer(NotFound(f"there is nothing at {path[:200]!r}")))


def _allowed_methods(routes: Sequence[Route]) -> dict[str, str]:
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.path, {"OPTIONS"}).update(route.methods or ())
    return {path: ", ".join(sorted(names)) for path, names in methods.items()}


def _readable_by(origin: str, send: Send) -> Send:
    """Return `send` with the headers that let pages of `origin` read the answer (Fetch Standard §3.2)."""
    fields = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *fields]}
        await send(message)

    return send_readable


async def _answer_options(allowed: str, *, preflight: bool, send: Send) -> None:
    fields = [(b"allow", allowed.encode())]
    if preflight:
        fields += [
            (b"access-control-allow-methods", allowed.encode()),
            (b"access-control-allow-headers", _ASKED_HEADERS),
            (b"access-control-max-age", _PREFLIGHT_AGE_S),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


async def _fault(request: Request, error: Exception) -> Response:
    """Answer a request whose handler has a fault; Starlette raises it again, so that the server logs it."""
    return response(error_answer(InternalError("the hub failed while it answered")))
