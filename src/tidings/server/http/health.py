"""`/`, `/healthz` and `/readyz`: the index, liveness, and readiness for events."""

from typing import Final

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from tidings.access.request_check import METRICS_PATH, RequestCheck, is_admin_path
from tidings.contract.contract import Contract
from tidings.exceptions import Draining, HubError, LogOpening, TidingsError
from tidings.hub.hub import Hub
from tidings.protocol.codes import row_of
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.asgi.scope import address_of
from tidings.server.dashboard.routes import DashboardRoutes
from tidings.server.http.access import grants_of, identify
from tidings.server.http.docs_page import HTML, PAGE_HEADERS
from tidings.server.http.index_page import index_page
from tidings.server.http.responses import JSON, Answer, error_answer, to_response
from tidings.server.running_hub import HubHost
from tidings.version import __version__

_ROUTES: Final = {
    "publish": "POST /v1/events",
    "history": "GET /v1/events",
    "snapshot": "GET /v1/snapshot",
    "stream": "GET /v1/stream",
    "operations": "GET /v1/operations",
    "operation": "GET /v1/operations/{operation_id}",
    "cancel": "POST /v1/operations/{operation_id}/cancel",
    "operation_by_id": "GET /v1/operation",
    "cancel_by_id": "POST /v1/operation/cancel",
    "operation_names": "GET /v1/operation-names",
    "operation_log": "GET /v1/operation-log",
    "health": "GET /healthz",
    "readiness": "GET /readyz",
    "metrics": "GET /metrics",
    "system": "GET /v1/system",
    "whoami": "GET /v1/whoami",
    "tickets": "POST /v1/tickets",
    "revocations": "GET /v1/admin/revocations",
    "revoke": "POST /v1/admin/revocations",
    "sessions": "GET /v1/admin/sessions",
    "audit": "GET /v1/admin/audit",
    "description": "GET /openapi.json",
    "contract": "GET /v1/contract.json",
    "contract_schema": "GET /v1/contract.schema.json",
    "contract_asyncapi": "GET /asyncapi.json",
    "contract_typescript": "GET /v1/contract.ts",
    "contract_go": "GET /v1/contract.go",
    "contract_page": "GET /docs",
}


class StatusRoutes:
    """The routes about the hub itself."""

    def __init__(
        self,
        host: HubHost,
        check: RequestCheck,
        contract: Contract,
        ws_path: str,
        dashboard: DashboardRoutes | None = None,
    ) -> None:
        self._host = host
        self._check = check
        self._ws_path = ws_path
        self._dashboard = dashboard
        self._about = {
            "name": "tidings",
            "about": "A hub for typed, trace-correlated events about long-running work.",
            "version": __version__,
            "contract": contract.identity,
            "websocket": {"path": ws_path, "subprotocol": SUBPROTOCOL},
        }

    async def index(self, request: Request) -> Response:
        """Answer `GET /`: with the dashboard for a browser, or with a page if there is none; else with JSON."""
        vary = {"vary": "Accept"}
        if "text/html" not in request.headers.get("accept", ""):
            about = {**self._about, "http": {name: route for name, route in _ROUTES.items() if self._serves(route)}}
            body = msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"
            return Response(body, headers=vary, media_type=JSON)
        if self._dashboard is not None:
            return await self._dashboard.page(request)
        scheme, host, path = address_of(request.scope)
        own = request.scope["path"]
        page = index_page(
            f"ws{scheme}://{host}{path}{self._ws_path}",
            f"http{scheme}://{host}{path}/",
            prefix="" if own.endswith("/") else own.rpartition("/")[2] + "/",
            has_metrics=self._serves(METRICS_PATH),
        )
        return Response(page, headers={**vary, **PAGE_HEADERS}, media_type=HTML)

    def _serves(self, route: str) -> bool:
        """Return whether the port that has the index serves a route, too."""
        return self._check.admin_port is None or not is_admin_path(route.rpartition(" ")[2])

    async def healthz(self, request: Request) -> Response:
        """Answer `GET /healthz`: 200 while the process is alive, whatever the state of the log."""
        return to_response(Answer(200, b'{"status":"alive"}'))

    async def readyz(self, request: Request) -> Response:
        """Answer `GET /readyz`: 200 if the hub accepts events now; the reason why not, to those who may read it.

        Raises:
            LogOpening: The log is being opened.
            LogError: The log cannot be opened, has failed, or refused its last batch.
            Draining: The hub accepts no new events.
            LicenseExpired: The license of the hub has expired.
            JobOverdue: A recurring job no longer runs.
        """
        try:
            check_ready(self._host.running().hub)
        except TidingsError as error:
            # While the log opens, no one can be identified; its progress is public.
            if isinstance(error, LogOpening) or await self._may_read_reasons(request.scope):
                raise
            terse = HubError("the hub is not ready", hint="Ask with a credential that has the grant `admin`.")
            return to_response(structs.replace(error_answer(terse), status=row_of(error).http))
        return to_response(Answer(200, b'{"status":"ready"}'))

    async def _may_read_reasons(self, scope: Scope) -> bool:
        """Return whether a request may read folders, jobs and errors: those of an administrator may."""
        if not self._host.identifies:
            return True
        try:
            grants = grants_of(await identify(self._host.running().hub, scope))
        except TidingsError:  # also a log that cannot be opened, without which no one can be identified
            return False
        return grants is None or grants.admin


def check_ready(hub: Hub) -> None:
    """Check that a hub accepts events.

    Raises:
        LogError: The log has failed, or refused its last batch.
        Draining: The hub accepts no new events.
        LicenseExpired: The license of the hub has expired.
        JobOverdue: A recurring job no longer runs.
    """
    if hub.draining:
        raise Draining("the hub is shutting down")
    failure = hub.log_failure
    if failure is not None:
        raise failure
    if hub.license is not None:
        hub.license.check_publish()
    for error in hub.jobs.overdue():
        raise error
