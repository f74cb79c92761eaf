"""Runs a hub as a process: listen, open the log, report the addresses, serve, drain."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import secrets
import shlex
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
import typer

from tidings.access.audit import AuditFile
from tidings.cli.errors import print_stderr
from tidings.cli.serve.access import ServedAccess, check_methods
from tidings.cli.serve.addresses import HubAddresses, explain_in_use, find_addresses, find_host_names, format_place
from tidings.cli.serve.logging import configure_logging
from tidings.cli.serve.options import ServeSettings
from tidings.cli.units import describe_size, format_duration, format_size
from tidings.contract.contract import Contract
from tidings.contract.loading import load_contract
from tidings.exceptions import AddressInUse, ConfigError, Draining
from tidings.hub.clock import SystemClock
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Retention, Scheduler
from tidings.log.memory import MemoryLog
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.data_dir import max_ballast_bytes
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.log import DEFAULT_BALLAST_BYTES, SqliteLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp
from tidings.server.opening_thread import OpeningThread
from tidings.server.serve import DrainingServer, ListenAddress, listen
from tidings.server.websocket.application import websocket_protocol
from tidings.version import __version__

if TYPE_CHECKING:
    from tidings.server.license_file import LicenseFile

_RESERVED_FILES = 256
"""File descriptors beside those of connections: of the log, the event loop and libraries."""

_M_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_BYTES: Final = 128 << 10

_QUICK_OPENING_S: Final = 0.5
"""Time for which clients wait, unanswered, while the log is opened: for a small log, it is shorter than coming back."""

_OPENING_LINE_INTERVAL_S: Final = 5.0
"""Interval of the log lines about an opening that takes long."""

_SPARE_FILES = 128
"""Those that TCP connections without a request may not take."""

_SPARE_CONNECTIONS = 1_000
"""TCP connections of HTTP requests, beside WebSockets and event streams."""

log = structlog.get_logger("tidings.serve")


def run_hub(
    settings: ServeSettings, *, reread: Callable[[], ServeSettings] | None = None, warnings: Sequence[str] = ()
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    While a large log is being opened, the hub answers that it is not ready. When it is, prints the URLs of its
    WebSocket and its HTTP interface as one line on stdout; on a terminal, two lines for people instead.

    Args:
        settings: The settings.
        reread: Returns the settings as they are now, for a reload.
        warnings: Lines to log as warnings at the start.

    Raises:
        ServeError: The address cannot be bound.
        LogError: The log cannot be opened.
        ConfigError: The certificate is invalid.
        InvalidContract: The contract is missing or invalid.
    """
    configure_logging(settings.log_format, settings.log_level)
    contract = Contract() if settings.contract is None else load_contract(settings.contract)
    for warning in warnings:
        log.warning(warning)
    _reduce_garbage_collection()
    process = HubProcess(
        settings,
        contract.with_validation(lenient=True) if settings.lenient else contract,
        max_connections=_raise_file_limit(settings.max_connections),
        reread=reread or (lambda: settings),
    )
    with asyncio.Runner(loop_factory=process.runner.config.get_loop_factory()) as loop:
        loop.run(process.serve())


class HubProcess:
    """A hub, its log and its server, built from `settings`."""

    def __init__(
        self,
        settings: ServeSettings,
        contract: Contract,
        *,
        max_connections: int,
        reread: Callable[[], ServeSettings],
    ) -> None:
        self._settings = settings
        check_methods(settings)
        self._access = ServedAccess(settings, contract, SystemClock(), reread) if settings.auth else None
        self._license = _open_license(settings)
        self._contract = contract
        self._max_connections = max_connections
        self._loopback_only = not (settings.insecure or settings.auth)
        self._admin_port: int | None = None
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
            max_tcp_connections=_limit_tcp_connections(self._max_connections),
        )

    async def serve(self) -> None:
        """Serve until a stop signal."""
        _return_large_blocks()
        # Before the log is opened, so that a second hub by mistake fails on the port, and touches no data.
        try:
            settings = self._settings
            sockets = listen(settings.host, settings.port, loopback_only=self._loopback_only)
        except AddressInUse as error:
            raise explain_in_use(error) from error
        try:
            sockets += self._listen_for_admins(sockets[0].getsockname()[1])
            await self.runner.serve(sockets)
            self._hub_app.stop()
            if self._reporting is not None:
                await self._reporting  # raises the error of a log that could not be opened
        finally:
            for opened in sockets:
                opened.close()
            self._hub_app.stop()
            if self._access is not None:
                self._access.stopped()
        log.info("hub stopped")

    async def _begin_opening(self) -> None:
        """Begin to open the log; return when it is open, or when that takes too long for clients to wait."""
        self._opening = asyncio.create_task(self._open())
        await asyncio.wait([self._opening], timeout=_QUICK_OPENING_S)
        if self._opening.done():
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

    def _listen_for_admins(self, port: int) -> list[socket.socket]:
        """Open the admin listener, if there is one; `port` is the hub's other port.

        Raises:
            AddressUnavailable: The address cannot be listened on.
            InsecureAddress: Other machines could reach it, and the hub identifies no one.
            ConfigError: The port is the same.
        """
        place = self._settings.admin_listen
        if place is None:
            return []
        host, _, admin_port = place.rpartition(":")
        if int(admin_port) == port:
            raise ConfigError(
                f"--admin-listen: port {port} is the hub's own port",
                option="admin-listen",
                hint="Choose another port: the hub distinguishes the listeners by it.",
            )
        sockets = listen(host.strip("[]"), int(admin_port), loopback_only=self._loopback_only)
        self._admin_port = sockets[0].getsockname()[1]
        self._hub_app.use_admin_port(self._admin_port)
        return sockets

    def _open_log(self, scheduler: Scheduler) -> Log | OpeningThread:
        data, ballast = self._settings.data, self._settings.ballast
        if data is None:
            return MemoryLog(_new_epoch(), self._retention)
        _check_ballast(data, ballast)

        def open_log(progress: OpeningProgress) -> Log:
            return SqliteLog(
                data, scheduler, _new_epoch, retention=self._retention, ballast_bytes=ballast, progress=progress
            )

        return OpeningThread(open_log)

    def _log_opened(self) -> None:
        statistics = self._hub_app.hub.log.statistics()
        retention = self._retention
        kept = f"{retention.events:,} events, {format_size(retention.bytes)}, {format_duration(retention.age_s)}"
        log.info(
            "log opened",
            data=str(self._settings.data) if self._settings.data else "memory",
            disk=describe_size(statistics.disk_bytes),
            events=statistics.durable_events,
            position=str(self._hub_app.hub.log.position(statistics.head)),
            retention=kept,
        )

        data = self._settings.data
        if data is not None and retention.bytes > (total := shutil.disk_usage(data).total):
            log.warning(
                "the disk is smaller than retention_bytes: events are refused when it is full",
                disk=describe_size(total),
                retention_bytes=format_size(retention.bytes),
                hint="Use a smaller --retention-bytes, so that the oldest events are deleted first.",
            )
        if data is not None and os.name == "posix" and data.stat().st_mode & stat.S_IWOTH:
            log.warning(
                "any user of this machine can replace the log",
                data=str(data),
                hint=f"Run `chmod o-w {shlex.quote(str(data))}`.",
            )

    def _report_ready(self, listening: Sequence[ListenAddress]) -> None:
        settings = self._settings
        addresses = find_addresses(listening, ws_path=settings.ws_path, secure=settings.tls_cert is not None)
        greeting = addresses.greeting(__version__, has_dashboard=self._hub_app.dashboard is not None)
        # The parent process may not read stdout, or may be gone.
        with contextlib.suppress(OSError, ValueError):
            on_terminal = sys.stdout.isatty()
            typer.echo(greeting if on_terminal else f"{addresses.websocket} {addresses.http}")
        first_key = None if self._access is None else self._access.take_first_key_notice(addresses.websocket)
        print_stderr(first_key)
        self._log_opened()
        if self._max_connections < settings.max_connections:
            # A reduced default is not worth a warning, because the user did not ask for that number.
            level = logging.INFO if settings.max_connections == HubConfig().max_connections else logging.WARNING
            open_files = self._max_connections + _RESERVED_FILES
            log.log(
                level,
                "the limit of open files reduces max_connections",
                open_files=open_files,
                max_connections=self._max_connections,
            )
        self._warn_of_strangers(addresses)
        identity = self._contract.identity
        log.info(
            "hub ready",
            version=__version__,
            contract=f"{identity.version} {identity.hash}",
            own_events=len(self._contract.own),
            loop=type(asyncio.get_running_loop()).__module__,
            listening=[format_place(*each) for each in listening if each.port != self._admin_port],
            admin=[format_place(*each) for each in listening if each.port == self._admin_port],
            max_connections=self._max_connections,
        )

    def _warn_of_strangers(self, addresses: HubAddresses) -> None:
        settings = self._settings
        if settings.insecure and settings.auth:
            log.warning("--insecure has no effect: --auth identifies clients", hint="Remove --insecure.")
        if not addresses.is_public:
            return
        if self._access is None:
            log.warning(
                "other machines can reach this hub, which has no access control: they can read and publish everything",
                hint="Use --auth keys instead of --insecure, or --host 127.0.0.1 (docs/access.md).",
            )
        elif settings.tls_cert is None and not settings.trusted_proxy:
            log.warning(
                "credentials of other machines cross the network unencrypted",
                hint="Pass --tls-cert, or put a proxy with TLS in front and name it with --trusted-proxy.",
            )

    async def _drain(self) -> None:
        if self._hub_app.started:
            log.info("hub drains", connections=len(self._hub_app.connections))
        self._hub_app.drain()


def _check_ballast(data: Path, ballast: int) -> None:
    """Check, before anything is written, that the disk of the data folder has space for a ballast.

    The default is not checked: a small disk gets a smaller ballast. Nor is free space for a log that exists, because a
    hub must be able to start on a full disk.
    """
    if ballast <= DEFAULT_BALLAST_BYTES:
        return
    folder = next((each for each in (data, *data.absolute().parents) if each.is_dir()), None)
    if folder is None:
        return  # opening the log reports it
    try:
        limit, free = max_ballast_bytes(folder), shutil.disk_usage(folder).free
    except OSError:
        return
    if not (data / FILE).exists():
        limit = min(limit, free // 2)
    if ballast > limit:
        raise ConfigError(
            f"--ballast: invalid size {format_size(ballast)}: expected at most {describe_size(limit)} on the disk of "
            f"{data}",
            option="ballast",
            source="ballast",
            hint="Choose a size of at most 1/16 of the disk, and half of its free space. The default, "
            f"{format_size(DEFAULT_BALLAST_BYTES)}, is enough for trimming.",
        )


def _open_license(settings: ServeSettings) -> "LicenseFile | None":
    if settings.license is None or settings.license_public_key is None:
        return None
    from tidings.server.license_file import LicenseFile  # loads a library that few hubs need

    return LicenseFile(
        settings.license, settings.license_public_key, clock=SystemClock(), grace_s=settings.license_grace
    )


def _new_epoch() -> str:
    return secrets.token_hex(4)


def _return_large_blocks() -> None:
    """Let blocks of 128 KiB and more return to the operating system as soon as they are released.

    glibc starts like this, but raises the threshold to 32 MiB as large blocks are released. The buffers of many large
    messages then leave holes in the heap: twice the memory at the peak, and all of it kept (`man 3 mallopt`, "dynamic
    mmap threshold"). Setting the threshold ends that. C libraries without `mallopt` are left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def _reduce_garbage_collection() -> None:
    """Run Python's cycle collector 30 times less often than by default.

    A hub creates many objects that live for a while (the ring holds tens of thousands) and hardly any cycle, so that
    the collector finds nothing: it took a quarter of the server's time when events came in batches.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _raise_file_limit(connections: int) -> int:
    """Raise the limit of open files for `connections`, and return the number of connections that it allows.

    A hub without free file descriptors does not accept connections; with a known limit it refuses them with a reason.
    """
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        raised = files if hard == resource.RLIM_INFINITY else min(files, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY or soft >= files:
        return connections
    return max(1, soft - _RESERVED_FILES)


def _limit_tcp_connections(connections: int) -> int:
    """Return the number of TCP connections beside which the hub can still open its files."""
    limit = connections + _SPARE_CONNECTIONS
    if sys.platform == "win32":
        return limit
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if files == resource.RLIM_INFINITY else max(1, min(limit, files - _SPARE_FILES))
