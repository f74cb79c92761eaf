"""The commands `tidings log …`.

What the tools found, for reading and as JSON.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from tidings.cli.app import load_command
from tidings.cli.errors import FAILED
from tidings.cli.serve.options import VARIABLE_PREFIX, resolve
from tidings.cli.units import describe_size, ordinal
from tidings.exceptions import ConfigError, LogCorrupt
from tidings.log.sqlite.backup import Backup, Restored
from tidings.log.sqlite.inspect import LogInfo, Verification

log = typer.Typer(
    name="log",
    add_completion=False,
    no_args_is_help=True,
    help="Look at a hub's log, check it, copy it, go back to a copy.",
)

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="The hub's data folder.", show_default=False)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", envvar=f"{VARIABLE_PREFIX}CONFIG", help="The hub's TOML file.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@log.command()
def info(data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say what a log holds; a hub may be using it."""
    from tidings.log.sqlite import inspect

    found = inspect.info(_folder(data, config))
    typer.echo(format_json(found) + "\n" if as_json else format_text(found), nl=False)


@log.command()
def verify(
    path: Annotated[
        Path | None, typer.Argument(metavar="[COPY]", help="A copy; else the hub's own log.", show_default=False)
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a log, or a copy of one, is whole; exit with 1 if it is not."""
    from tidings.log.sqlite import inspect

    found = inspect.verify(_folder(data, config) if path is None else path)
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
        )
    typer.echo(format_text(found), nl=False)


@log.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; it must not be there yet.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a log to a file; a hub may be using it."""
    from tidings.log.sqlite import backup

    made = backup.backup(_folder(data, config), target)
    typer.echo(format_json(made) + "\n" if as_json else format_text(made), nl=False)


@log.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `tidings log backup` made.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data folder of a copy; it must be empty, or not be there yet."""
    from tidings.log.sqlite import backup

    restored = backup.restore(source, _folder(data, config))
    typer.echo(format_json(restored) + "\n" if as_json else format_text(restored), nl=False)


def _folder(data: str | None, config: Path | None) -> Path:
    """Return the data folder that `tidings serve` would use with the same options.

    Raises:
        ConfigError: The hub would use none, or the configuration cannot be used.
    """
    given = {"--data": data, "--config": None if config is None else str(config)}
    arguments = [text for flag, value in given.items() if value is not None for text in (flag, value)]
    with load_command("serve").make_context("serve", arguments) as ctx:
        folder = resolve(ctx).settings.data
    if folder is None:
        raise ConfigError("this hub keeps its log in memory", option="data", hint="Name a data folder with --data.")
    return folder


Record = LogInfo | Verification | Backup | Restored


def format_json(record: Struct) -> str:
    """Return a record as one JSON object."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_plain)).decode()


def _plain(value: object) -> str:
    assert isinstance(value, Path)
    return str(value)


def format_text(record: Record) -> str:
    """Return a record as lines, what it is about in front."""
    lines = _lines(record)
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:{width}}  {value}\n" for name, value in lines)


def _lines(record: Record) -> list[tuple[str, str]]:
    match record:
        case LogInfo():
            return _info(record)
        case Verification():
            return [("file", str(record.path)), ("events", f"{record.events:,}, all well")]
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
                ("epoch", f"{record.epoch}, new: what clients saw after the copy was made is a gap to them"),
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
    return "closed" if info.closed else "not closed in order: the hub that used it was killed"


def _moment(unix_ns: int) -> str:
    return f"{datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}Z"
