"""The hub as one ASGI application: its log, its connections, and its HTTP and WebSocket endpoints."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import structs
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.access.audit_feed import AuditFeed
from tidings.access.control import AccessControl, AccessOptions
from tidings.access.origins import Origins
from tidings.access.proxies import TrustedProxies
from tidings.access.request_check import RequestCheck
from tidings.client.drafts import PayloadLike, make_draft
from tidings.contract.contract import Contract
from tidings.exceptions import Draining, LogOpening, TidingsError
from tidings.hub.clock import Clock, SystemClock
from tidings.hub.config import HubConfig
from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.hub.system_samples import SystemSamples
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.base import Log, Outcome, Scheduler
from tidings.log.replicated import ReplicatedLog
from tidings.protocol.envelope import Envelope
from tidings.protocol.messages import Accepted
from tidings.server.asgi.lifespan import LifespanEndpoint, draining_at_signals
from tidings.server.asgi.websocket import WebSocketEndpoint
from tidings.server.cluster.notes import NodeNotes, NoteExchange
from tidings.server.cluster.tickets import NodeTickets
from tidings.server.dashboard.bundle import packaged_bundle, read_bundle
from tidings.server.http.app import HttpEndpoint
from tidings.server.http.limits import HttpLimits
from tidings.server.http.long_poll import LongPolls
from tidings.server.link_templates import LinkTemplate, check_links
from tidings.server.opening_thread import LogOpener
from tidings.server.operation_metrics import OperationMetrics
from tidings.server.running_hub import RunningHub
from tidings.server.shared_use import SharedUse
from tidings.server.websocket.handler import WebSocketHandler
from tidings.server.websocket.handshake import Handshake, Refusal, refusal
from tidings.server.websocket.handshake_check import HandshakeCheck
from tidings.server.websocket.hub_handler import HubWebSocketApp
from tidings.server.websocket.protocol import WebSocket
from tidings.server.websocket.refusing_handler import RefusingHandler
from tidings.server.workers.link import WorkerLink
from tidings.server.workers.sharing import SharedFigures, share_audit, share_tickets

if TYPE_CHECKING:
    from tidings.server.license_file import LicenseFile  # loads a library that few hubs need

OpenLog = Callable[[Scheduler], Log | LogOpener]
"""Opens the log on the event loop that the hub runs on, or returns what opens it in some time."""
MakeAccess = Callable[[Scheduler], AccessOptions]
"""Returns how clients are identified, with authenticators that use the event loop."""

_IDS_PER_READ: Final = 256
_MAX_MISSED_FIGURES: Final = 2.5
"""Intervals of `system:status` after which the figures of a worker no longer count."""

log = structlog.get_logger("tidings.server")


class HubApp:
    """One hub with all its endpoints, as an ASGI application.

    `tidings serve` runs it together with the native WebSocket edge. Any ASGI server runs it: `uvicorn module:hub_app`.
    Any ASGI framework mounts it: `app.mount("/tidings", hub_app)`. A mounted application's own lifespan never runs:
    there the hub starts at first use, and shuts down in order only if the host application has its `lifespan`:
    `FastAPI(lifespan=hub_app.lifespan)`.

    A log that takes long to open does not block the event loop (`LogOpener`). A lifespan, and the first requests to
    a hub without one, wait until it is open. After `start` alone, requests are answered with LogOpening.

    Args:
        open_log: Opens the log when the hub starts.
        config: Limits and intervals.
        contract: The contract, which defines the events that may be published.
        ws_path: Path of the WebSocket.
        allow_origins: Web origins, besides the hub's own, whose pages may use the hub; see `Origins`.
        allow_hosts: Further names of the hub; see `Origins`.
        check_host: See `Origins`; False where the application that mounts the hub checks host names.
        trusted_proxies: Proxies whose headers count; see `TrustedProxies`.
        root_path: Path below which clients reach the hub; see `TrustedProxies`. A mounted hub needs none.
        clock: The machine's clocks.
        access: How clients are identified, or a function that returns it for the event loop when the hub starts; None
            lets everyone do everything.
        license: The license of the hub; None if it needs none.
        dashboard: Folder with the built files of the dashboard; None for those of this package.
        links: Links of each operation in the dashboard.
        siblings: The other workers of this hub; None if this process is the whole hub.

    Raises:
        ConfigError: An origin, a host name, a proxy, the path or the list of links is not valid.
    """

    def __init__(
        self,
        open_log: OpenLog,
        *,
        config: HubConfig | None = None,
        contract: Contract | None = None,
        ws_path: str = "/ws",
        allow_origins: Iterable[str] = (),
        allow_hosts: Iterable[str] = (),
        check_host: bool = True,
        trusted_proxies: Iterable[str] = (),
        root_path: str = "",
        clock: Clock | None = None,
        access: AccessOptions | MakeAccess | None = None,
        license: "LicenseFile | None" = None,
        dashboard: str | os.PathLike[str] | None = None,
        links: Iterable[LinkTemplate] = (),
        siblings: WorkerLink | None = None,
    ) -> None:
        self._open_log = open_log
        self._siblings = siblings
        self._config = config or HubConfig()
        self._contract = contract or Contract()
        self._clock = clock or SystemClock()
        self._license = license
        self._check = RequestCheck(
            Origins(allow_origins, hosts=allow_hosts, check_host=check_host),
            TrustedProxies(trusted_proxies, prefix=root_path),
        )
        self._access = access
        self._running: RunningHub | None = None
        self._opening: LogOpener | None = None
        self._opened: asyncio.Future[None] | None = None
        """Done when the opening that runs has ended."""
        self._waits_for_opening = False
        """Whether requests wait while the log is being opened, because the first of them started the hub."""
        self._failure: Exception | None = None
        """Why the last opening failed in its thread."""
        self._handshake_check = HandshakeCheck(self._check, ws_path)
        self.ws_path = ws_path
        self.dashboard = packaged_bundle() if dashboard is None else read_bundle(Path(dashboard))
        """The dashboard, or None where it was not built."""
        self._endpoints: dict[str, ASGIApp] = {
            "http": HttpEndpoint(self, self._check, self._contract, ws_path, self.dashboard, check_links(links)),
            "websocket": WebSocketEndpoint(self, self._handshake_check),
            "lifespan": LifespanEndpoint(self.lifespan),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI application."""
        await self._endpoints[scope["type"]](scope, receive, send)

    @property
    def hub(self) -> Hub:
        """The hub; it is started if it never was.

        Raises:
            Draining: The hub was stopped.
        """
        return self.running().hub

    @property
    def connections(self) -> ConnectionRegistry:
        """The hub's connections."""
        return self.running().connections

    @property
    def identifies(self) -> bool:
        """See `HubHost.identifies`."""
        return self._access is not None

    @property
    def siblings(self) -> WorkerLink | None:
        """See `HubHost.siblings`."""
        return self._siblings

    @property
    def started(self) -> bool:
        """Whether the hub runs."""
        return self._running is not None and not self._running.hub.closed

    def use_admin_port(self, port: int) -> None:
        """Serve `/metrics` and `/v1/admin/` at this port of the server only, and only these and the probes there."""
        self._check.admin_port = port

    def start(self) -> None:
        """Start the hub on the running event loop; does nothing if it runs or starts already.

        Its log may still be opening then: `opened` waits for it.

        Raises:
            LogError: The log cannot be opened.
        """
        if self.started or self._opening is not None:
            return
        self._failure = None
        self._waits_for_opening = False
        loop = asyncio.get_running_loop()
        opened = self._open_log(loop)
        if not isinstance(opened, LogOpener):
            self._run(opened, loop)
            return
        self._opening = opened
        self._opened = loop.create_future()
        opened.start(self._log_opened)

    async def opened(self) -> None:
        """Start the hub, if it never was, and wait until its log is open.

        Raises:
            LogError: The log cannot be opened.
            Draining: The hub was stopped.
        """
        if self._running is None and not isinstance(self._failure, Draining):
            self.start()
        if self._opened is not None:
            await asyncio.shield(self._opened)
        self.running()

    async def wait_for_opening(self) -> None:
        """See `HubHost.wait_for_opening`."""
        if self._running is not None or isinstance(self._failure, Draining):
            return
        if self._opening is None:
            self.start()
            self._waits_for_opening = True
        if self._waits_for_opening and self._opened is not None:
            await asyncio.shield(self._opened)

    def opening_error(self) -> LogOpening | None:
        """Return the error that requests get while the log is being opened, with how far it is; None otherwise."""
        return None if self._opening is None else self._opening.error()

    def _log_opened(self, result: Log | Exception) -> None:
        """Start the hub over the log that a thread has opened."""
        self._opening = None
        if isinstance(result, Exception):
            self._failure = result
        else:
            try:
                self._run(result, asyncio.get_running_loop())
            except Exception as error:
                self._failure = error
                result.close()
        self._end_waiting()

    def _end_waiting(self) -> None:
        if self._opened is not None:
            self._opened.set_result(None)
            self._opened = None

    def _run(self, event_log: Log, loop: asyncio.AbstractEventLoop) -> None:
        options = self._access
        if options is not None and not isinstance(options, AccessOptions):
            options = options(loop)
        access = (
            None
            if options is None
            else AccessControl(
                options,
                wall_ns=self._clock.wall_ns,
                monotonic=self._clock.monotonic,
                scheduler=loop,
                revocations=event_log.revocations,
                max_sessions=self._config.connections_of_subject,
            )
        )
        hub = Hub(self._contract, event_log, loop, self._clock, _random_ids().__next__, self._config, access)
        audit_feed = AuditFeed()
        if access is not None:
            # Another worker may revoke, too.
            event_log.revocations.added = lambda: loop.call_soon(access.end_revoked)
            if self._siblings is None:
                hub.audit.sinks.append(audit_feed.add)
            else:
                share_audit(self._siblings, hub.audit, audit_feed)
                share_tickets(self._siblings, access.tickets)
            self._check.refused = lambda peer, error: hub.audit.record(
                "request", "refused", address=peer, code=error.code
            )
        connections = ConnectionRegistry(hub)
        exchange = None
        notes: NoteExchange | None = self._siblings
        if notes is None and isinstance(event_log, ReplicatedLog):
            notes = NodeNotes(hub, event_log.node)
            if access is not None:
                NodeTickets(notes, access.tickets, loop)
        if notes is not None:
            max_age_s = _MAX_MISSED_FIGURES * max(1.0, self._config.status_s)
            exchange = SharedFigures(notes, self._clock.monotonic, max_age_s)
            if isinstance(event_log, ReplicatedLog):
                self._share_use(notes, hub, connections, event_log)
        SystemStatusPublisher(hub, connections, exchange).start()
        samples = SystemSamples(hub, connections)
        samples.start()
        hub.estimates.start()
        websocket_app = HubWebSocketApp(hub, connections, self._handshake_check)
        self._running = RunningHub(
            hub,
            connections,
            websocket_app,
            LongPolls(hub),
            HttpLimits(self._config),
            audit_feed,
            OperationMetrics(hub),
            samples,
            exchange,
        )
        if self._license is not None:
            self._license.watch(self._running, notes if self._siblings is None else None)

    def _share_use(
        self, notes: NoteExchange, hub: Hub, connections: ConnectionRegistry, event_log: ReplicatedLog
    ) -> None:
        quotas = {"address": connections.addresses}
        if hub.access is not None:
            quotas["subject"] = hub.access.subjects
        SharedUse(notes, hub, quotas, lambda: event_log.nodes).start()

    def drain(self) -> None:
        """Refuse new events, and close all connections, each with its own time to reconnect."""
        if self._opening is not None:
            self._opening.stop()
        if self._running is not None:
            hub = self._running.hub
            hub.draining = True
            hub.log.stop_leading()
            hub.cancellations.drain()
            if hub.access is not None:
                hub.access.drain()
            self._running.connections.drain_all()
            self._running.long_polls.release()

    def stop(self) -> None:
        """Stop the hub and close its log; only `start` starts it again."""
        if self._opening is not None:
            self._opening.close()
            self._opening, self._failure = None, Draining("the hub has stopped")
            self._end_waiting()
        if self._running is not None and not self._running.hub.closed:
            hub = self._running.hub
            hub.close()
            hub.log.close()

    async def publish(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
        timestamp: str | None = None,
    ) -> Accepted:
        """Publish one event from the hub's own process and event loop, and return when it is in the log.

        It takes what `tidings.Client.publish` takes, and needs no connection. From another thread, use
        `asyncio.run_coroutine_threadsafe(hub.publish(...), loop)`. If the call is cancelled, the event is in the log
        nevertheless, unless the log fails.

        Raises:
            InvalidPayload: The payload cannot be encoded as JSON.
            PayloadTooLarge: It is over 65,535 bytes.
            ContractError: The contract does not allow it.
            OperationError: The operation's life does not allow it.
            LogBusy: Too many events wait for the log already.
            LogError: The log cannot store it.
            Draining: The hub accepts no new events.
        """
        draft = make_draft(type, payload, trace_id=trace_id, channel=channel, event_id=event_id, timestamp=timestamp)
        if self._running is None:
            await self.opened()
        hub = self.hub
        settling: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settled(result: Outcome) -> None:
            if not settling.done():  # the caller may have been cancelled
                settling.set_result(result)

        hub.publish(Envelope(**structs.asdict(draft)), settled)
        result = await settling
        if isinstance(result, TidingsError):
            raise result
        position = str(hub.log.position(result.offset))
        return Accepted(position=position, attempt=result.attempt, duplicate=result.duplicate)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run the hub during a `with` block, which begins when its log is open, as the lifespan of a host application.

        Args:
            app: The host application, as frameworks pass it; not used.

        Raises:
            LogError: The log cannot be opened.
        """
        try:
            with draining_at_signals(self.drain):
                self.start()
                with contextlib.suppress(Draining):  # a signal came: the server ends now
                    await self.opened()
                yield
        finally:
            self.drain()
            self.stop()

    def open(self, handshake: Handshake, socket: WebSocket) -> WebSocketHandler | Refusal:
        """See `tidings.server.websocket.application.WebSocketApplication.open`: the native edge."""
        try:
            try:
                return self.running().websocket_app.open(handshake, socket)
            except LogOpening as opening:
                self._handshake_check.admit(handshake, socket)
                return RefusingHandler(opening, socket)
        except TidingsError as error:
            return refusal(error)

    def running(self) -> RunningHub:
        """Return the hub and its parts; it is started if it never was.

        Raises:
            Draining: The hub was stopped.
            LogError: The log cannot be opened.
            LogOpening: It is being opened.
        """
        if self._running is None and self._opening is None:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            self.start()
        if self._opening is not None:
            raise self._opening.error()
        assert self._running is not None
        if self._running.hub.closed:
            raise Draining("the hub has stopped")
        return self._running


def _random_ids() -> Iterator[str]:
    """Yield new W3C trace ids: 32 lower-case hex digits.

    Their bytes are read many at a time: each read is a call of the kernel, in which another thread may take over.
    """
    while True:
        digits = secrets.token_hex(16 * _IDS_PER_READ)
        for place in range(0, len(digits), 32):
            yield digits[place : place + 32]
