"""Runs a hub as a process: listen, open the log, report the addresses, serve, drain."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from tidings.access.audit import AuditFile
from tidings.cli.errors import print_stderr
from tidings.cli.serve.access import ServedAccess, check_methods
from tidings.cli.serve.addresses import find_addresses, find_host_names, format_place
from tidings.cli.serve.listeners import Listeners, open_listeners
from tidings.cli.serve.log_opening import find_journal, open_log
from tidings.cli.serve.logging import configure_logging
from tidings.cli.serve.process_limits import (
    limit_tcp_connections,
    raise_file_limit,
    reduce_garbage_collection,
    return_large_blocks,
)
from tidings.cli.serve.reports import print_ready, report_limit, report_log, warn_of_strangers
from tidings.cli.serve.settings import ServeSettings
from tidings.contract.contract import Contract
from tidings.contract.loading import load_contract
from tidings.exceptions import Draining, LogError, TidingsError
from tidings.hub.clock import SystemClock
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Retention, Scheduler
from tidings.log.journal.engines import JournalEngine
from tidings.log.journal.node_folder import mark_node_for_rebuilding
from tidings.log.journal.replica_building import mark_for_rebuilding
from tidings.log.replicated import ReplicatedLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp
from tidings.server.cluster.opening import NodeOpening
from tidings.server.opening_thread import LogOpener
from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import websocket_protocol
from tidings.server.workers.link import WorkerLink
from tidings.server.workers.readiness import ReadinessWatch
from tidings.version import __version__

if TYPE_CHECKING:
    from tidings.server.license_file import LicenseFile

_QUICK_OPENING_S: Final = 0.5
"""Time for which clients wait, unanswered, while the log is opened: for a small log, it is shorter than coming back."""

_OPENING_LINE_INTERVAL_S: Final = 5.0
"""Interval of the log lines about an opening that takes long."""

_NODE_CLOSE_INTERVAL: Final = 15
"""Number of seconds between two times that a node which cannot use its log closes its clients."""

log = structlog.get_logger("tidings.serve")


def run_hub(
    settings: ServeSettings,
    *,
    reread: Callable[[], ServeSettings] | None = None,
    warnings: Sequence[str] = (),
    link: WorkerLink | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    While a large log is being opened, the hub answers that it is not ready. When it is, prints the URLs of its
    WebSocket and its HTTP interface as one line on stdout; on a terminal, two lines for people instead.

    Args:
        settings: The settings.
        reread: Returns the settings as they are now, for a reload.
        warnings: Lines to log as warnings at the start.
        link: Connection with the parent, which then prints the line; None where this process is the whole hub.

    Raises:
        ServeError: The address cannot be bound.
        LogError: The log cannot be opened.
        ConfigError: The certificate is invalid.
        InvalidContract: The contract is missing or invalid.
    """
    configure_logging(settings.log_format, settings.log_level, worker=None if link is None else link.role.worker)
    engine = find_journal(settings)
    contract = Contract() if settings.contract is None else load_contract(settings.contract)
    for warning in warnings:
        log.warning(warning)
    reduce_garbage_collection()
    process = HubProcess(
        settings,
        contract.with_validation(lenient=True) if settings.lenient else contract,
        max_connections=raise_file_limit(settings.max_connections),
        reread=reread or (lambda: settings),
        link=link,
        engine=engine,
    )
    with asyncio.Runner(loop_factory=process.runner.config.get_loop_factory()) as loop:
        loop.run(process.serve())


class HubProcess:
    """A hub, its log and its server, built from `settings`.

    Args:
        settings: The settings.
        contract: The contract.
        max_connections: See `HubConfig.max_connections`.
        reread: Returns the settings as they are now.
        link: Connection with the parent; None where this process is the whole hub.
        engine: The journal of a hub of several machines; None where this one is alone.

    Raises:
        ConfigError: Settings contradict each other, or a file cannot be used.
    """

    def __init__(
        self,
        settings: ServeSettings,
        contract: Contract,
        *,
        max_connections: int,
        reread: Callable[[], ServeSettings],
        link: WorkerLink | None = None,
        engine: JournalEngine | None = None,
    ) -> None:
        self._settings = settings
        self._link = link
        self._engine = engine
        check_methods(settings)
        self._access = ServedAccess(settings, contract, SystemClock(), reread) if settings.auth else None
        self._license = _open_license(settings)
        self._contract = contract
        self._max_connections = max_connections
        self._loopback_only = not (settings.insecure or settings.auth)
        self._admin_port: int | None = None
        self._node_opening: NodeOpening | None = None
        self._failure: LogError | None = None
        """Why this node must be started again."""
        self._opening: asyncio.Task[None] | None = None
        self._reporting: asyncio.Task[None] | None = None
        """Waits for the log, and reports that the hub is ready."""
        self._retention = Retention.within(
            settings.retention_bytes,
            events=settings.retention_events,
            age_s=settings.retention_age,
            keep_newest=contract.keep_newest,
        )
        self._hub_app = HubApp(
            self._open_log,
            config=HubConfig(
                heartbeat_s=settings.heartbeat,
                lease_s=settings.lease,
                unattended_s=settings.unattended,
                max_connections=max_connections,
                connections_of_address=settings.connections_of_address,
                connections_of_subject=settings.connections_of_subject,
                events_per_s=settings.events_per_s,
                commands_per_s=settings.commands_per_s,
                subject_events_per_s=settings.subject_events_per_s,
                subject_commands_per_s=settings.subject_commands_per_s,
                posted_events_per_s=settings.posted_events_per_s,
                paths_of_connection=settings.paths_of_connection,
                reconnect_rate=settings.reconnect_rate,
                retention=self._retention,
            ),
            contract=contract,
            ws_path=settings.ws_path,
            allow_origins=settings.allow_origin,
            allow_hosts=[*settings.allow_host, *find_host_names(settings.host)],
            trusted_proxies=settings.trusted_proxy,
            root_path=settings.root_path or "",
            access=None if self._access is None else self._access.options,
            license=self._license,
            links=settings.link,
            siblings=link,
        )
        self.runner = DrainingServer(
            self._hub_app,
            host=settings.host,
            port=settings.port,
            websocket=websocket_protocol(
                self._hub_app,
                subprotocols=[SUBPROTOCOL],
                max_accepts_per_s=settings.reconnect_rate,
                compression_bytes=settings.compression or None,
            ),
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            grace_s=settings.grace,
            lifespan="off",
            before_accepting=self._begin_opening,
            on_ready=self._listening,
            on_drain=self._drain,
            max_tcp_connections=limit_tcp_connections(self._max_connections),
        )

    async def serve(self) -> None:
        """Serve until a stop signal."""
        return_large_blocks()
        # Before the log is opened, so that a second hub by mistake fails on the port, and touches no data.
        settings, link = self._settings, self._link
        if link is None:
            listeners = open_listeners(settings, loopback_only=self._loopback_only)
        else:
            listeners = Listeners.inherited(link.role)
            await link.start(parent_gone=self.runner.stop)
        sockets = listeners.all
        if listeners.admin:
            self._admin_port = listeners.admin[0].getsockname()[1]
            self._hub_app.use_admin_port(self._admin_port)
        try:
            await self.runner.serve(sockets)
            self._hub_app.stop()
            if self._reporting is not None:
                await self._reporting  # raises the error of a log that could not be opened
            if self._failure is not None:
                raise self._failure
        finally:
            for opened in sockets:
                opened.close()
            self._hub_app.stop()
            if self._node_opening is not None:
                await self._node_opening.wait_closed()
            if self._access is not None:
                self._access.stopped()
            if link is not None:
                await link.close()
        log.info("hub stopped")

    async def _begin_opening(self) -> None:
        """Begin to open the log; return when it is open, or when that takes too long for clients to wait."""
        self._opening = asyncio.create_task(self._open())
        await asyncio.wait([self._opening], timeout=_QUICK_OPENING_S)
        if self._opening.done():
            with contextlib.suppress(Draining):  # a signal came, or the parent of this worker is gone
                self._opening.result()

    async def _open(self) -> None:
        self._hub_app.start()
        opened = asyncio.create_task(self._hub_app.opened())
        interval_s = _QUICK_OPENING_S
        while not (await asyncio.wait([opened], timeout=interval_s))[0]:
            interval_s = _OPENING_LINE_INTERVAL_S
            progress = self._hub_app.opening_error()
            if progress is not None:
                data = str(self._settings.data)
                log.info("opening the log", data=data, rows_read=progress.rows_read, rows=progress.rows)
        await opened
        self._started()

    def _listening(self, listening: Sequence[ListenAddress]) -> None:
        if self._link is not None:
            self._link.report_listening()
        self._reporting = asyncio.create_task(self._report_when_open(listening))

    async def _report_when_open(self, listening: Sequence[ListenAddress]) -> None:
        """Report that the hub is ready, as soon as its log is open; stop the server if it cannot be opened.

        Raises:
            LogError: It cannot be opened.
        """
        assert self._opening is not None
        try:
            await self._opening
        except Draining:
            return  # a signal came
        except BaseException:
            self.runner.stop()
            raise
        self._report_ready(listening)

    def _started(self) -> None:
        """Follow the files that may change while the hub runs."""
        on_reload = self.runner.reloaders.on_reload
        self.runner.reloaders.reported = self._record_reload
        if self._settings.audit_log is not None:
            hub = self._hub_app.hub
            audit_file = AuditFile(self._settings.audit_log, hub.timestamp)
            hub.audit.sinks.append(audit_file.write)
            on_reload("audit log", audit_file.reopen)
        if self._access is not None:
            self._access.started(self._hub_app.hub)
            for part in self._access.reloadable:
                on_reload(part.name, part.reload, files=part.files)
        if self._license is not None:
            on_reload("license", self._license.reload)
        self._watch_readiness()

    def _record_reload(self, part: str, error: TidingsError | OSError | None) -> None:
        audit = self._hub_app.hub.audit
        if error is None:
            audit.record("reload", "accepted", part=part)
        else:
            audit.record("reload", "refused", part=part, code=error.code if isinstance(error, TidingsError) else "")

    def _watch_readiness(self) -> None:
        hub, data = self._hub_app.hub, self._settings.data
        if data is None or not isinstance(hub.log, ReplicatedLog):
            return
        connections = self._hub_app.connections
        link = self._link
        ReadinessWatch(
            hub.log,
            mark=partial(mark_node_for_rebuilding, data)
            if link is None
            else partial(mark_for_rebuilding, data, link.role.worker),
            close_clients=lambda code, reason, retry_ms: connections.close_all(code, reason, retry_after_ms=retry_ms),
            restart=self._restart,
            close_interval=_NODE_CLOSE_INTERVAL if link is None else 1,
        ).start(hub.jobs)

    def _restart(self, error: LogError) -> None:
        """End this process: the parent of a worker, or the service manager of a node, starts another one."""
        if self._link is None:
            self._failure = error
        self.runner.stop()

    def _open_log(self, scheduler: Scheduler) -> Log | LogOpener:
        role = None if self._link is None else self._link.role
        opened = open_log(self._settings, self._retention, scheduler, role=role, engine=self._engine)
        if isinstance(opened, NodeOpening):
            self._node_opening = opened
        return opened

    def _report_ready(self, listening: Sequence[ListenAddress]) -> None:
        settings, link = self._settings, self._link
        addresses = find_addresses(listening, ws_path=settings.ws_path, secure=settings.tls_cert is not None)
        first_key = None if self._access is None else self._access.take_first_key_notice(addresses.websocket)
        if link is None:
            print_ready(addresses, has_dashboard=self._hub_app.dashboard is not None)
            print_stderr(first_key)
        report_log(settings, self._hub_app.hub.log, self._retention, self._engine)
        report_limit(settings, self._max_connections)
        if link is None:
            warn_of_strangers(settings, addresses)
        identity = self._contract.identity
        log.info(
            "hub ready" if link is None else "worker ready",
            version=__version__,
            contract=f"{identity.version} {identity.hash}",
            own_events=len(self._contract.own),
            loop=type(asyncio.get_running_loop()).__module__,
            listening=[format_place(*each) for each in listening if each.port != self._admin_port],
            admin=[format_place(*each) for each in listening if each.port == self._admin_port],
            max_connections=self._max_connections,
        )
        if link is not None:
            hub_log = self._hub_app.hub.log
            link.report_ready(str(hub_log.position(hub_log.head)), first_key or "")

    async def _drain(self) -> None:
        if self._hub_app.started:
            log.info("hub drains", connections=len(self._hub_app.connections))
        self._hub_app.drain()


def _open_license(settings: ServeSettings) -> "LicenseFile | None":
    if settings.license is None or settings.license_public_key is None:
        return None
    from tidings.server.license_file import LicenseFile  # loads a library that few hubs need

    return LicenseFile(
        settings.license, settings.license_public_key, clock=SystemClock(), grace_s=settings.license_grace
    )
