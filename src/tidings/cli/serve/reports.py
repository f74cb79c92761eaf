"""Reports of a hub at its start: the line with its URLs, its log, its limits, and warnings about its settings."""

import contextlib
import logging
import os
import shlex
import shutil
import stat
import sys

import structlog
import typer

from tidings.cli.serve.addresses import HubAddresses
from tidings.cli.serve.background_output import wait_written
from tidings.cli.serve.process_limits import RESERVED_FILES
from tidings.cli.serve.settings import ServeSettings
from tidings.cli.units import describe_size, format_duration, format_size
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Retention
from tidings.log.journal.engines import JournalEngine
from tidings.version import __version__

log = structlog.get_logger("tidings.serve")


def print_ready(addresses: HubAddresses, *, has_dashboard: bool) -> None:
    """Print where the hub is: two lines for people on a terminal, one with two URLs for programs."""
    # The parent process may not read stdout, or may be gone.
    with contextlib.suppress(OSError, ValueError):
        on_terminal = sys.stdout.isatty()
        greeting = addresses.greeting(__version__, has_dashboard=has_dashboard)
        wait_written()
        typer.echo(greeting if on_terminal else f"{addresses.websocket} {addresses.http}")
        wait_written()


def report_log(settings: ServeSettings, opened: Log, retention: Retention, engine: JournalEngine | None) -> None:
    """Log what a log holds, and warn if its folder is not fit for it."""
    data, statistics = settings.data, opened.statistics()
    kept = f"{retention.events:,} events, {format_size(retention.bytes)}, {format_duration(retention.age_s)}"
    log.info(
        "log opened",
        data=str(data) if data else "memory",
        **({} if engine is None else {"journal": engine.label}),
        disk=describe_size(statistics.disk_bytes),
        events=statistics.durable_events,
        position=str(opened.position(statistics.head)),
        retention=kept,
    )
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


def report_limit(settings: ServeSettings, max_connections: int) -> None:
    """Log whether the limit of open files leaves fewer connections than the settings allow."""
    if max_connections >= settings.max_connections:
        return
    # A reduced default is not worth a warning, because the user did not ask for that number.
    level = logging.INFO if settings.max_connections == HubConfig().max_connections else logging.WARNING
    log.log(
        level,
        "the limit of open files reduces max_connections",
        open_files=max_connections + RESERVED_FILES,
        max_connections=max_connections,
    )


def warn_of_strangers(settings: ServeSettings, addresses: HubAddresses) -> None:
    """Log warnings if other machines reach the hub in a way that is not safe."""
    if settings.insecure and settings.auth:
        log.warning("--insecure has no effect: --auth identifies clients", hint="Remove --insecure.")
    if not addresses.is_public:
        return
    if not settings.auth:
        log.warning(
            "other machines can reach this hub, which has no access control: they can read and publish everything",
            hint="Use --auth keys instead of --insecure, or --host 127.0.0.1 (docs/access.md).",
        )
    elif settings.tls_cert is None and not settings.trusted_proxy:
        log.warning(
            "credentials of other machines cross the network unencrypted",
            hint="Pass --tls-cert, or put a proxy with TLS in front and name it with --trusted-proxy.",
        )
