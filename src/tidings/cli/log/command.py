"""The commands `tidings log …`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.failure import FAILED
from tidings.cli.serve.folder import default_folder
from tidings.cli.serve.settings import PREFIX
from tidings.cli.serve.sources import resolve
from tidings.exceptions import ConfigError, LogCorrupt

log = typer.Typer(name="log", no_args_is_help=True, help="Look at a hub's log, check it, copy it, go back to a copy.")

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="The hub's data folder.", show_default=False)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar=f"{PREFIX}CONFIG", help="The hub's TOML file.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@log.command()
def info(data: DataOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say what a log holds; a hub may be using it."""
    from tidings.cli.log import report
    from tidings.log.sqlite import backup

    found = backup.info(_folder(data, config))
    typer.echo(report.as_json(found) + "\n" if as_json else report.as_text(found), nl=False)


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
    from tidings.cli.log import report
    from tidings.log.sqlite import backup

    found = backup.verify(_folder(data, config) if path is None else path)
    if as_json:
        typer.echo(report.as_json(found))
        if found.faults:
            raise typer.Exit(FAILED)
        return
    if found.faults:
        count = len(found.faults)
        raise LogCorrupt(
            f"{found.path} is damaged: {count} fault{'s' if count > 1 else ''}",
            details="\n".join(f"  {fault}" for fault in found.faults),
        )
    typer.echo(report.as_text(found), nl=False)


@log.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; it must not be there yet.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a log to a file; a hub may be using it."""
    from tidings.cli.log import report
    from tidings.log.sqlite import backup

    made = backup.backup(_folder(data, config), target)
    typer.echo(report.as_json(made) + "\n" if as_json else report.as_text(made), nl=False)


@log.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `tidings log backup` made.")],
    data: DataOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a data folder of a copy; it must be empty, or not be there yet."""
    from tidings.cli.log import report
    from tidings.log.sqlite import backup

    restored = backup.restore(source, _folder(data, config))
    typer.echo(report.as_json(restored) + "\n" if as_json else report.as_text(restored), nl=False)


def _folder(data: str | None, config: Path | None) -> Path:
    """Return the data folder that `tidings serve` would use, told the same.

    Raises:
        ConfigError: It would use none, or the configuration cannot be used.
    """
    folder = resolve({"data": data}, os.environ, config and config.expanduser(), data=default_folder()).settings.data
    if folder is None:
        raise ConfigError("this hub keeps its log in memory", option="data", hint="Name a data folder with --data.")
    return folder
