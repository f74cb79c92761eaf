"""`tidings serve --workers N`: the parent, which opens the sockets, prepares the folder and watches the workers."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import structlog

from tidings.cli.errors import print_stderr
from tidings.cli.serve.addresses import HubAddresses, find_addresses, format_place
from tidings.cli.serve.listeners import Listeners, open_listeners
from tidings.cli.serve.log_opening import find_journal
from tidings.cli.serve.logging import configure_logging
from tidings.cli.serve.reports import print_ready, warn_of_strangers
from tidings.cli.serve.settings import MAX_WORKERS, ServeSettings
from tidings.exceptions import ConfigError, ServeError
from tidings.log.journal.replaying import new_name
from tidings.log.journal.shared_folder import has_lost_journal, prepare
from tidings.log.sqlite.data_dir import DataDir, locking_pid
from tidings.server.dashboard.bundle import packaged_bundle
from tidings.server.serve import ListenAddress
from tidings.server.workers.link import WorkerLink
from tidings.server.workers.supervisor import LINK_VARIABLE, Supervisor, available_cores
from tidings.version import __version__

_ORPHANS_CHECK_S = 0.1
_ORPHANS_EXTRA_S = 5.0
"""Time, beyond their grace, for the workers of a killed parent to end."""

log = structlog.get_logger("tidings.serve")


def take_link() -> WorkerLink | None:
    """Return the connection with the parent, if this process is a worker; None otherwise.

    Raises:
        ServeError: The parent has ended.
    """
    descriptor = os.environ.pop(LINK_VARIABLE, None)
    return None if descriptor is None else WorkerLink(socket.socket(fileno=int(descriptor)))


def run_workers(settings: ServeSettings, *, warnings: Sequence[str] = ()) -> int:
    """Serve with several processes until SIGTERM or Ctrl-C; return the exit code.

    Prints the line of `run_hub` when all workers are ready.

    Args:
        settings: The settings.
        warnings: Lines to log as warnings at the start.

    Raises:
        ConfigError: Workers are not possible here, or with these settings.
        ServeError: The address cannot be bound, workers died again and again, or the data folder is gone.
        LogError: The data folder cannot be used.
    """
    configure_logging(settings.log_format, settings.log_level)
    find_journal(settings)  # refuses one: each node of a hub of several machines is one process
    data = _check(settings)
    for warning in warnings:
        log.warning(warning)
    workers = settings.workers or min(available_cores(), MAX_WORKERS)
    _wait_for_orphans(data, 2 * settings.grace + _ORPHANS_EXTRA_S)
    with _listen(settings, workers) as listeners, closing(DataDir(data, ballast_bytes=0)) as data_dir:
        data_dir.drop_ballast()  # that of one process: each worker has its own
        prepare(data, workers, stamp=new_name())
        addresses = _find_addresses(settings, listeners[0])
        hub, admin = _addresses(listeners[0].hub), _addresses(listeners[0].admin)

        def ready(notice: str) -> None:
            print_ready(addresses, has_dashboard=packaged_bundle() is not None)
            print_stderr(notice)
            warn_of_strangers(settings, addresses)
            log.info(
                "hub ready",
                version=__version__,
                workers=workers,
                data=str(data),
                listening=[format_place(*each) for each in hub],
                admin=[format_place(*each) for each in admin],
            )

        def prepare_again() -> None:
            if not data_dir.is_in_place():
                raise ServeError(
                    f"the data folder {data} was deleted, moved away or replaced while it was used",
                    hint="Stop the hub before you change its folder.",
                )
            prepare(data, workers, stamp=new_name(), journal_lost=True)

        supervisor = Supervisor(
            [sys.executable, "-P", *(f"-W{each}" for each in sys.warnoptions), "-m", "tidings", *sys.argv[1:]],
            listeners=[each.hub for each in listeners],
            admin_listeners=[each.admin for each in listeners],
            kept_open=[data_dir.lock],
            on_ready=ready,
            has_lost_journal=lambda: has_lost_journal(data),
            prepare=prepare_again,
            grace_s=settings.grace,
        )
        code = asyncio.run(supervisor.run())
    log.info("hub stopped")
    return code


def _check(settings: ServeSettings) -> Path:
    """Check that workers are possible; return the data folder.

    Raises:
        ConfigError: They are not.
    """
    if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
        raise ConfigError(
            "--workers: this system cannot pass sockets to other processes",
            option="workers",
            source="workers",
            hint="Run one process, without --workers.",
        )
    if settings.data is None:
        raise ConfigError(
            "--workers and --memory exclude each other: workers share their log in the data folder",
            option="workers",
            source="workers",
            hint="Pass only one of them.",
        )
    return settings.data


@contextmanager
def _listen(settings: ServeSettings, workers: int) -> Iterator[list[Listeners]]:
    """Open the sockets of all workers.

    On Linux each worker has its own, among which the kernel divides connections. The parent keeps them open, so that a
    connection that waits for a worker which restarts is not lost. Other systems do not divide: workers share one there.
    """
    loopback_only = not (settings.insecure or settings.auth)
    listeners: list[Listeners] = []
    try:
        # Without sharing the port first, which fails where any other hub listens.
        listeners.append(open_listeners(settings, loopback_only=loopback_only))
        settings = _with_ports(settings, listeners[0])
        if sys.platform == "linux":
            listeners.pop().close()
            while len(listeners) < workers:
                listeners.append(open_listeners(settings, loopback_only=loopback_only, reuse_port=True))
        else:
            while len(listeners) < workers:
                listeners.append(listeners[0].duplicate())
        yield listeners
    finally:
        for each in listeners:
            each.close()


def _with_ports(settings: ServeSettings, listeners: Listeners) -> ServeSettings:
    """Return settings with the ports that the kernel has picked."""
    port = listeners.hub[0].getsockname()[1]
    if not listeners.admin or settings.admin_listen is None:
        return replace(settings, port=port)
    host = settings.admin_listen.rpartition(":")[0]
    return replace(settings, port=port, admin_listen=f"{host}:{listeners.admin[0].getsockname()[1]}")


def _find_addresses(settings: ServeSettings, listeners: Listeners) -> HubAddresses:
    return find_addresses(_addresses(listeners.hub), ws_path=settings.ws_path, secure=settings.tls_cert is not None)


def _addresses(sockets: Sequence[socket.socket]) -> list[ListenAddress]:
    return [ListenAddress(*opened.getsockname()[:2]) for opened in sockets]


def _wait_for_orphans(data: Path, seconds: float) -> None:
    """Wait for the workers of a parent that was killed: they end by themselves, and keep the folder locked until then.

    Args:
        data: The data folder.
        seconds: The longest time; after it, the folder is reported to be in use.
    """
    give_up = time.monotonic() + seconds
    reported = False
    while (pid := locking_pid(data)) and not _exists(pid) and time.monotonic() < give_up:
        if not reported:
            log.info("the workers of a hub that was killed end first", data=str(data), parent=pid)
            reported = True
        time.sleep(_ORPHANS_CHECK_S)


def _exists(pid: int) -> bool:
    """Return whether a process runs; one that has ended may keep its id until its own parent has noticed."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
