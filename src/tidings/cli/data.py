"""The commands `tidings data …`, and their results as text and as JSON."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.errors import FAILED, exit_codes_epilog
from tidings.cli.hub_settings import ConfigOption, DataOption, JsonOption, find_folder, find_settings
from tidings.cli.units import describe_size, ordinal
from tidings.exceptions import ConfigError, LogCorrupt, LogForeign, LogUnavailable
from tidings.log.journal.seeding import release_journal
from tidings.log.journal.shared_folder import find_log_folder
from tidings.log.sqlite import backup as sqlite_backup
from tidings.log.sqlite import inspect
from tidings.log.sqlite.backup import Backup, Restored
from tidings.log.sqlite.inspect import LogInfo, Verification

data = make_group(
    "data",
    "Inspect, verify, back up and restore the data of a hub.",
    {"verify": ("check",), "backup": ("copy", "dump"), "restore": ("load",)},
)


@data.command(cls=PlainCommand)
def info(data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what a log holds; works while a hub uses it."""
    found = inspect.info(find_folder(data, config))
    typer.echo(format_json(found) + "\n" if as_json else format_text(found), nl=False)


@data.command(cls=PlainCommand, epilog=exit_codes_epilog(failed="a fault was found, or another error"))
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="COPY", help="Copy of a log. Default: the log of the hub.", show_default=False),
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify that a log, or a copy of one, is intact; the exit code is 1 if it is not."""
    with _hints_for(path):
        found = inspect.verify(find_folder(data, config) if path is None else path)
    if as_json:
        typer.echo(format_json(found))
        if found.faults:
            raise typer.Exit(FAILED)
        return
    if found.faults:
        count = len(found.faults)
        raise LogCorrupt(
            f"{found.path} is damaged: {count} fault{'s' if count > 1 else ''}",
            details="\n".join(f"  {fault}" for fault in found.faults),
            hint=_DAMAGED_HINT,
        )
    typer.echo(format_text(found), nl=False)


@data.command(cls=PlainCommand)
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="File for the copy; must not exist.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a log to a file; works while a hub uses it."""
    made = sqlite_backup.backup(find_log_folder(find_folder(data, config)), target)
    typer.echo(format_json(made) + "\n" if as_json else format_text(made), nl=False)


@data.command(cls=PlainCommand)
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Copy that `tidings data backup` made.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a copy into a data folder, which must be empty or not exist."""
    with _hints_for(source):
        restored = sqlite_backup.restore(source, find_folder(data, config))
    typer.echo(format_json(restored) + "\n" if as_json else format_text(restored), nl=False)


@data.command(cls=PlainCommand)
def release(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Node whose folder is lost, as the hubs log it.")],
    log: Annotated[
        str | None, typer.Option("--log", metavar="URL", help="URL of the journal.", show_default=False)
    ] = None,
    log_credentials: Annotated[
        Path | None,
        typer.Option("--log-credentials", metavar="FILE", help="Credentials of a NATS user.", show_default=False),
    ] = None,
    log_ca: Annotated[
        Path | None,
        typer.Option("--log-ca", metavar="FILE", help="Certificates that verify the servers.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Make a journal new again that begins with the log of a lost folder; one that a node has used stays."""
    from tidings.cli.serve.log_opening import find_journal  # loads all that a hub needs

    given = {"log": log, "log_credentials": log_credentials, "log_ca": log_ca, "config": config}
    engine = find_journal(find_settings(**given))
    if engine is None:
        raise ConfigError("no journal was named", option="log", hint="Pass --log, as to `tidings serve`.")

    async def run() -> None:
        journal = await engine.open()
        try:
            await release_journal(journal, node=node)
        finally:
            journal.close()
            await journal.wait_closed()

    try:
        asyncio.run(run())
    except LogUnavailable as error:
        error.hint = error.hint or "Check that the engine runs, and that this machine reaches the address of --log."
        raise
    typer.echo(f"{engine.label} is new again")


_DAMAGED_HINT = "Use another copy: `tidings data restore FILE` restores it into an empty data folder."


@contextmanager
def _hints_for(copy: Path | None) -> Iterator[None]:
    """Give the errors of a damaged log, or of a copy that is not a log, the hint of a command that reads it."""
    try:
        yield
    except LogCorrupt as error:
        error.hint = error.hint or _DAMAGED_HINT
        raise
    except LogForeign as error:
        if copy is not None:
            error.hint = "Name a copy that `tidings data backup` made, or a data folder."
        raise


Record = LogInfo | Verification | Backup | Restored


def format_json(record: Struct) -> str:
    """Return a record as one JSON object."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_plain)).decode()


def _plain(value: object) -> str:
    assert isinstance(value, Path)
    return str(value)


def format_text(record: Record) -> str:
    """Return a record as lines, each with its name in front."""
    lines = _lines(record)
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:{width}}  {value}\n" for name, value in lines)


def _lines(record: Record) -> list[tuple[str, str]]:
    match record:
        case LogInfo():
            return _info(record)
        case Verification():
            aside = [("set aside", reason) for reason in record.set_aside]
            return [("file", str(record.path)), ("events", f"{record.events:,}, all intact"), *aside]
        case Backup():
            return [
                ("copy", f"{record.path}, {describe_size(record.bytes)}"),
                ("events", f"{record.events:,}"),
                ("position", record.position or "none: the log is empty"),
            ]
        case Restored():
            return [
                ("folder", str(record.folder)),
                ("events", f"{record.events:,}"),
                ("position", record.position or "none: the log is empty"),
                ("epoch", "begins when a hub opens it: events after the copy are a gap to clients that saw them"),
            ]


def _info(info: LogInfo) -> list[tuple[str, str]]:
    durable = f"{info.durable_events:,} durable ({describe_size(info.durable_bytes)})"
    span = "none"
    if info.oldest_ns is not None and info.newest_ns is not None:
        span = f"{_moment(info.oldest_ns)} to {_moment(info.newest_ns)}"
    return [
        ("file", f"{info.path}, schema {info.schema}"),
        ("epoch", f"{info.epoch}, the {ordinal(info.epochs)}" if info.epochs else "none yet"),
        ("offsets", f"{info.first:,} to {info.head:,}" if info.head >= info.first else f"none after {info.head:,}"),
        ("events", f"{info.events:,}: {durable} and {info.latest_events:,} latest in the range"),
        ("received", span),
        ("disk", f"{describe_size(info.disk_bytes)}, of which {describe_size(info.unused_bytes)} are free for events"),
        ("state", _state(info)),
    ]


def _state(info: LogInfo) -> str:
    if info.process is not None:
        return f"in use by process {info.process}" if info.process else "in use"
    return "closed" if info.closed else "not closed: the hub that used it was killed"


def _moment(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"
