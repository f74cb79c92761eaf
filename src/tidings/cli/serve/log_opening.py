"""The log of a hub, as its settings name it: in memory, in a folder, shared by workers, or in a journal (`--log`)."""

import shutil
from contextlib import closing
from pathlib import Path

from tidings.cli.serve.settings import ServeSettings
from tidings.cli.units import describe_size, format_size
from tidings.exceptions import ConfigError
from tidings.log.base import Log, Retention, Scheduler
from tidings.log.journal.engines import JournalEngine, find_engine
from tidings.log.journal.replaying import new_name, unshare
from tidings.log.journal.shared_folder import has_shared_log
from tidings.log.memory import MemoryLog
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.data_dir import DataDir, max_ballast_bytes
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.log import DEFAULT_BALLAST_BYTES, SqliteLog
from tidings.server.cluster.opening import NodeOpening
from tidings.server.opening_thread import LogOpener, OpeningThread
from tidings.server.workers.messages import WorkerRole
from tidings.server.workers.opening import WorkerOpening


def find_journal(settings: ServeSettings) -> JournalEngine | None:
    """Return the journal that the settings name; None for a hub of one machine.

    Raises:
        ConfigError: They do not fit together, or the URL or a file is not valid.
        MissingExtra: The driver of the engine is not installed.
    """
    if settings.log is None:
        for name, value in (("log-credentials", settings.log_credentials), ("log-ca", settings.log_ca)):
            if value is not None:
                raise _refuse(name, f"--{name} is for the servers that --log names", "Pass --log too, or neither.")
        return None
    if settings.data is None:
        raise _refuse("log", "--log and --memory exclude each other: each node has a folder", "Pass only one of them.")
    if settings.workers != 1:
        raise _refuse(
            "log",
            "--log and --workers exclude each other",
            "Run one node for each core instead, each with a folder and a port of its own.",
        )
    try:
        return find_engine(settings.log, credentials=settings.log_credentials, ca=settings.log_ca)
    except ValueError as cause:
        raise _refuse("log", f"--log: {cause}", "See docs/cluster.md.") from cause


def _refuse(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError(message, option=option, source=option, hint=hint)


def open_log(
    settings: ServeSettings,
    retention: Retention,
    scheduler: Scheduler,
    *,
    role: WorkerRole | None,
    engine: JournalEngine | None,
) -> Log | LogOpener:
    """Open the log, or return what opens it.

    Args:
        settings: The settings.
        retention: How much it keeps.
        scheduler: The loop.
        role: What this worker is; None where this process is the whole hub.
        engine: The result of `find_journal`.

    Raises:
        ConfigError: The ballast is too large for the disk.
    """
    data, ballast = settings.data, settings.ballast
    if data is None:
        return MemoryLog(new_name(), retention)
    _check_ballast(data, ballast)
    if role is not None:
        return WorkerOpening(
            data,
            worker=role.worker,
            workers=role.workers,
            epoch=role.epoch,
            retention=retention,
            ballast_bytes=ballast,
        )
    if engine is not None:
        return NodeOpening(data, engine, retention=retention, ballast_bytes=ballast)

    def open_embedded(progress: OpeningProgress) -> Log:
        if has_shared_log(data):  # workers used it
            with closing(DataDir(data, ballast_bytes=0)):
                unshare(data, retention, progress, stamp=new_name())
        return SqliteLog(data, scheduler, new_name, retention=retention, ballast_bytes=ballast, progress=progress)

    return OpeningThread(open_embedded)


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
