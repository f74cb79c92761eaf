"""The HTTP side of the hub: the check of origins, and the routes."""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from tidings.access.origins import is_loopback
from tidings.access.request_check import METRICS_PATH, PUBLIC_FILE, RequestCheck, is_admin_path
from tidings.contract.contract import Contract
from tidings.exceptions import (
    ConfigError,
    Forbidden,
    InternalError,
    InvalidParameter,
    LicenseExpired,
    NotFound,
    RequestError,
    TidingsError,
    UpgradeRequired,
)
from tidings.hub.hub import Hub
from tidings.server.asgi.scope import Headers, admit, header, headers_of, port_of, request_address, route_path
from tidings.server.dashboard.bundle import PAGES, Bundle
from tidings.server.dashboard.routes import DashboardRoutes
from tidings.server.http.access import SENDER, identify, record_forbidden
from tidings.server.http.admin import REVOCATIONS, SESSIONS, AdminRoutes
from tidings.server.http.audit_stream import AUDIT, AuditStreamEndpoint
from tidings.server.http.body import BodyReader
from tidings.server.http.contract import ContractRoutes
from tidings.server.http.docs_page import HTML, PAGE_HEADERS
from tidings.server.http.events import READS_AT_A_TIME, ReadingRoutes
from tidings.server.http.health import StatusRoutes
from tidings.server.http.index_page import unknown_page
from tidings.server.http.operation_log import OPERATION_LOG, OperationLogRoute
from tidings.server.http.operations import OperationRoutes, find_allowed_methods
from tidings.server.http.operations_query import OPERATION, OPERATION_CANCEL, OPERATIONS_PREFIX
from tidings.server.http.publish import PublishEndpoint
from tidings.server.http.responses import (
    SECURITY_FIELDS,
    RefusalLog,
    error_answer,
    error_response,
    method_refusal,
    to_response,
)
from tidings.server.http.stream import StreamEndpoint
from tidings.server.http.system import SYSTEM, SystemRoute
from tidings.server.http.tickets import TICKETS, TicketRoute
from tidings.server.http.whoami import WHOAMI, WhoamiRoute
from tidings.server.link_templates import LinkTemplate
from tidings.server.metrics import MetricsRoute
from tidings.server.openapi.document import openapi_document
from tidings.server.running_hub import HubHost

EVENTS: Final = "/v1/events"
_UNLICENSED: Final = ("/v1/contract", "/v1/admin/", WHOAMI, "/v1/stream")
"""Paths that need no license, and one that refuses in its own format."""
STREAM: Final = "/v1/stream"
_ANY_METHOD: Final = "GET, HEAD, OPTIONS, POST"
_EXPOSED_HEADERS: Final = b"Allow, Deprecation, ETag, Retry-After, Tidings-Cancel, Tidings-Notice, WWW-Authenticate"
_ALLOWED_HEADERS: Final = (
    b"Authorization, Cache-Control, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Tidings-Lease, "
    b"Tidings-Producer, baggage, traceparent, tracestate"
)
_HEADER_NAMES: Final = re.compile(rb"[A-Za-z0-9_\-, ]{1,2000}")
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")
_PUBLIC_NAME: Final = re.compile(r"(?:[a-z0-9_-]+\.)+(?!local$|localhost$)[a-z][a-z0-9-]*")
_PREFLIGHT_AGE_S: Final = b"600"

log = structlog.get_logger("tidings.server.http.app")


class HttpEndpoint:
    """The ASGI application for scopes of type `http`.

    Args:
        host: The owner of the hub.
        check: The check that every request passes first.
        contract: The contract, which defines the events that may be published.
        ws_path: Path of the WebSocket.
        dashboard: The dashboard; None for a hub without one.
        links: Links of each operation in the dashboard.
    """

    def __init__(
        self,
        host: HubHost,
        check: RequestCheck,
        contract: Contract,
        ws_path: str,
        dashboard: Bundle | None = None,
        links: Sequence[LinkTemplate] = (),
    ) -> None:
        self._host = host
        self._check = check
        self._origins = check.origins
        bodies = BodyReader()
        self._refusals = RefusalLog()
        self._publish = PublishEndpoint(host, bodies, self._refusals)
        turns = asyncio.Semaphore(READS_AT_A_TIME)
        reading = ReadingRoutes(host, turns)
        pages = None if dashboard is None else DashboardRoutes(dashboard)
        status = StatusRoutes(host, check, contract, ws_path, pages)
        operations = OperationRoutes(host, bodies, turns)
        build = None if dashboard is None else dashboard.build
        admin = AdminRoutes(host, bodies)
        contract_routes = ContractRoutes(contract, ws_path).routes()
        self._description = to_response(openapi_document(contract, identifies=host.identifies))
        routes = [
            Route("/", status.index),
            Route(EVENTS, reading.history),
            Route(EVENTS, self._publish, methods=["POST"]),
            Route("/v1/snapshot", reading.snapshot),
            Route(STREAM, StreamEndpoint(host), methods=["GET"]),
            Route("/v1/operations", operations.listing),
            Route(OPERATIONS_PREFIX + "{operation:path}", operations.one, methods=["GET", "POST"]),
            Route(OPERATION, operations.show),
            Route(OPERATION_CANCEL, operations.cancel, methods=["POST"]),
            Route("/v1/operation-names", operations.names),
            Route(OPERATION_LOG, OperationLogRoute(host, turns).answer),
            Route("/healthz", status.healthz),
            Route("/readyz", status.readyz),
            Route(METRICS_PATH, MetricsRoute(host).metrics),
            Route("/openapi.json", self._describe),
            *contract_routes,
            Route(WHOAMI, WhoamiRoute(host, build, links).answer),
            Route(SYSTEM, SystemRoute(host, build, turns).answer),
            Route(TICKETS, TicketRoute(host, bodies).issue, methods=["POST"]),
            Route(REVOCATIONS, admin.revocations, methods=["GET", "POST"]),
            Route(SESSIONS, admin.sessions),
            Route(AUDIT, AuditStreamEndpoint(host), methods=["GET"]),
            Route(ws_path, _ask_for_upgrade),
        ]
        of_dashboard = [] if pages is None else pages.routes()
        routes += of_dashboard
        self._allowed = _allowed_methods(routes)
        _check_root_path(check.proxies.prefix, (*PAGES, *self._allowed))
        open_paths = {"/", "/healthz", "/readyz", "/openapi.json", WHOAMI, ws_path}
        open_paths.update(route.path for route in (*contract_routes, *of_dashboard))
        self._identifies = host.identifies
        self._open_paths = frozenset(open_paths | {STREAM})
        """Paths that answer everyone, so that a probe or a browser needs no credential, and one that asks by itself."""
        self._without_hub = frozenset(open_paths - {"/readyz", WHOAMI})
        self._routes = Starlette(
            routes=routes,
            exception_handlers={TidingsError: self._answer_error, HTTPException: self._refuse, Exception: _fault},
        )
        self._routes.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = headers_of(scope)
        origin = header(headers, b"origin")
        try:
            scope = admit(scope, self._check, headers)
        except RequestError as error:
            self._refusals.add(log.warning, "request refused", error, hint=error.hint, origin=origin)
            await error_answer(error).send(send)
            return
        path = route_path(scope)
        if origin is not None and path != PUBLIC_FILE and self._origins.is_listed(origin):
            send = _readable_by(origin, send, credentials=self._origins.allows_credentials(origin))
        method = scope["method"]
        is_post = method == "POST" and path == EVENTS
        port = port_of(scope)
        if not self._host.started and path not in self._without_hub:
            with contextlib.suppress(Exception):  # the route reports it
                await self._host.wait_for_opening()
        hub: Hub | None = None
        try:
            self._check.check_port(path, port)
            if self._identifies and (is_post or self._needs_identity(scope, path, port)):
                hub = self._host.running().hub
                # A query may have a credential, too.
                control = hub.access
                recent = None if control is None or scope["query_string"] else control.recent.find(headers)
                if recent is None:
                    scope = await identify(hub, scope)
                else:
                    scope[SENDER] = recent
        except TidingsError as error:
            # The audit trail records it. A person at a wrong address learns that, not which header is absent.
            page = self._unknown_page(scope, header(headers, b"accept"))
            if page is None:
                await error_answer(error).send(send)
            else:
                await page(scope, receive, _secured(send, hsts=_requires_tls(scope, header(headers, b"host"))))
            return
        hsts = _requires_tls(scope, header(headers, b"host"))
        if hsts or not is_post:  # the answers to posts have the other headers
            send = _secured(send, hsts=hsts)
        if is_post:
            await self._publish.serve(scope, headers, receive, send, hub)
            return
        over = self._license_error(path)
        if over is not None:
            await error_answer(over).send(send)
        elif not scope["path"].removeprefix(scope["root_path"]):
            # The links of the page are relative to its URL.
            location = f"{request_address(scope).prefix}/".encode()
            await send({"type": "http.response.start", "status": 308, "headers": [(b"location", location)]})
            await send({"type": "http.response.body", "body": b""})
        elif headers.get(b"content-length", b"0") != b"0" and self._takes_no_body(scope):
            hint = "Write parameters into the query of the URL."
            await error_answer(InvalidParameter(f"{method} with a body: expected none", hint=hint)).send(send)
        elif method == "OPTIONS" and b"access-control-request-method" in headers:
            # Where there is no such route too, so that the page sees the 404 and not a failure of CORS.
            await _answer_options(self._allowed_at(scope) or _ANY_METHOD, _preflight_fields(headers), send)
        elif method == "OPTIONS" and (allowed := self._allowed_at(scope)) is not None:
            await _answer_options(allowed, (), send)
        else:
            await self._routes(scope, receive, send)

    def _needs_identity(self, scope: Scope, path: str, port: int | None) -> bool:
        """Return whether a request needs a credential. A preflight has none, and a stream asks by itself."""
        if path in self._open_paths or scope["method"] == "OPTIONS":
            return False
        return path != METRICS_PATH or not self._is_local_scrape(port, scope)

    def _is_local_scrape(self, port: int | None, scope: Scope) -> bool:
        """Return whether a request for metrics came to the admin listener from this machine: it needs no credential.

        At the hub's other port it does: a proxy on this machine may pass on requests from anywhere.
        """
        if not self._check.is_admin_port(port):
            return False
        address = request_address(scope)
        return is_loopback(address.peer) and is_loopback(address.client)

    def _license_error(self, path: str) -> LicenseExpired | None:
        """Return the error of a path that an expired license no longer serves; None if it does."""
        if not path.startswith("/v1/") or path.startswith(_UNLICENSED):
            return None
        try:
            license = self._host.running().hub.license
            if license is not None:
                license.check_read()
        except LicenseExpired as error:
            return error
        except Exception:
            return None  # the hub cannot start: the route reports it
        return None

    async def _describe(self, request: Request) -> Response:
        """Answer `GET /openapi.json`."""
        return self._description

    async def _answer_error(self, request: Request, error: Exception) -> Response:
        """Answer a request whose route raised a TidingsError; what a subject may not read is recorded."""
        is_read = request.method in ("GET", "HEAD") and not is_admin_path(route_path(request.scope))
        if is_read and isinstance(error, Forbidden):
            record_forbidden(self._host.running().hub, request.scope, error)
        return await error_response(request, error)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Answer a request that Starlette itself refuses, for its method or its path."""
        assert isinstance(error, HTTPException)
        path = route_path(request.scope)
        allowed = self._allowed_at(request.scope)
        if error.status_code == 405 and allowed is not None:
            return to_response(method_refusal(path, allowed))
        page = self._unknown_page(request.scope, request.headers.get("accept"))
        return page or to_response(error_answer(NotFound(f"no such route: {path[:200]!r}")))

    def _unknown_page(self, scope: Scope, accept: str | None) -> Response | None:
        """Return the page for a browser at an address without a route; None for any other request."""
        if scope["method"] not in ("GET", "HEAD") or "text/html" not in (accept or ""):
            return None
        if self._allowed_at(scope) is not None:
            return None
        page = unknown_page(route_path(scope)[:200], prefix=_way_to_root(scope))
        return Response(page, status_code=404, headers={**PAGE_HEADERS, "vary": "Accept"}, media_type=HTML)

    def _takes_no_body(self, scope: Scope) -> bool:
        return scope["method"] in ("GET", "HEAD") and "GET" in (self._allowed_at(scope) or "")

    def _allowed_at(self, scope: Scope) -> str | None:
        """Return the methods of a request's path, or None if there is no such path."""
        return self._allowed.get(route_path(scope)) or find_allowed_methods(scope)


def _check_root_path(prefix: str, paths: Iterable[str]) -> None:
    """Check that no route begins with the path below which a proxy serves the hub: it could be meant either way.

    Raises:
        ConfigError: One does.
    """
    for path in paths:
        if prefix and f"{path}/".startswith(f"{prefix}/"):
            raise ConfigError(
                f"invalid root path {prefix!r}: the hub has the route {path}",
                option="root-path",
                hint="Choose another path, such as /tidings.",
            )


def _allowed_methods(routes: Sequence[Route]) -> dict[str, str]:
    methods: dict[str, set[str]] = {}
    for route in routes:
        methods.setdefault(route.path, {"OPTIONS"}).update(route.methods or ())
    return {path: ", ".join(sorted(names)) for path, names in methods.items()}


def _secured(send: Send, *, hsts: bool) -> Send:
    """Return `send` with the headers of `SECURITY_FIELDS` that an answer does not have.

    Args:
        send: Sends to an ASGI client.
        hsts: Whether browsers may use only TLS from now on (RFC 6797).
    """
    fields = (*SECURITY_FIELDS, _STRICT_TRANSPORT) if hsts else SECURITY_FIELDS

    async def send_secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message.get("headers", ())
            names = {name for name, _ in own}
            message = {**message, "headers": [*own, *(field for field in fields if field[0] not in names)]}
        await send(message)

    return send_secured


def _requires_tls(scope: Scope, host: str | None) -> bool:
    """Return whether browsers are to use nothing but TLS for the host: the hub speaks TLS itself.

    The promise binds every port of the host. So it is given for full names only, and not for those at which people run
    other programs, such as `localhost`; a proxy with TLS gives it for itself.
    """
    name = (host or "").partition(":")[0].lower()
    return scope.get("scheme") == "https" and _PUBLIC_NAME.fullmatch(name) is not None


def _readable_by(origin: str, send: Send, *, credentials: bool) -> Send:
    """Return `send` with the headers that let pages of `origin` read the answer (Fetch Standard §3.2)."""
    fields = [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED_HEADERS),
        (b"vary", b"Origin"),
    ]
    if credentials:
        fields.append((b"access-control-allow-credentials", b"true"))

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [field for field in message.get("headers", ()) if field != (b"vary", b"Origin")]
            message = {**message, "headers": [*others, *fields]}
        await send(message)

    return send_readable


def _preflight_fields(headers: Headers) -> Sequence[tuple[bytes, bytes]]:
    """Return the headers that answer a preflight, which the browser reads if its page's origin is listed."""
    wanted = headers.get(b"access-control-request-headers", b"")
    fields = [
        # All that the page asks for: libraries add their own headers, and the hub ignores those that it does not know.
        (b"access-control-allow-headers", wanted if _HEADER_NAMES.fullmatch(wanted) else _ALLOWED_HEADERS),
        (b"access-control-max-age", _PREFLIGHT_AGE_S),
    ]
    if headers.get(b"access-control-request-private-network") == b"true":
        # https://wicg.github.io/private-network-access: a page of a public address, and a hub in its user's network.
        fields.append((b"access-control-allow-private-network", b"true"))
    return fields


async def _answer_options(allowed: str, preflight: Sequence[tuple[bytes, bytes]], send: Send) -> None:
    fields = [(b"allow", allowed.encode()), *preflight]
    if preflight:
        fields.append((b"access-control-allow-methods", allowed.encode()))
    await send({"type": "http.response.start", "status": 204, "headers": fields})
    await send({"type": "http.response.body", "body": b""})


async def _ask_for_upgrade(request: Request) -> Response:
    """Answer a plain request to the WebSocket's path (RFC 9110 §15.5.22)."""
    error = UpgradeRequired(
        "this path is the WebSocket's, and the request does not ask for an upgrade",
        hint="Connect with a WebSocket client, such as `tidings watch`. If you did, a proxy on the way has removed the "
        "headers Upgrade and Connection: let it forward them, over HTTP/1.1 (docs/deploying.md).",
    )
    return to_response(error_answer(error, ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))))


async def _fault(request: Request, error: Exception) -> Response:
    """Answer a request whose handler failed; Starlette raises the error again, so that the server logs it."""
    return to_response(error_answer(InternalError("internal error while answering")))


def _way_to_root(scope: Scope) -> str:
    """Return the relative URL that leads from a request's own URL to the hub's root, also behind a prefix."""
    encoded = scope.get("raw_path", b"").lower().count(b"%2f")  # a browser does not take these for slashes
    return "../" * (route_path(scope).count("/") - 1 - encoded) or "./"
