"""The settings of a hub, for the commands that work on its files: the same as those of `tidings serve`."""

from pathlib import Path
from typing import Annotated

import typer

from tidings.cli.app import load_command
from tidings.cli.serve.options import VARIABLE_PREFIX, resolve
from tidings.cli.serve.settings import ServeSettings
from tidings.exceptions import ConfigError

DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DIR", help="Data folder of the hub.", show_default=False)
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar=f"{VARIABLE_PREFIX}CONFIG",
        help="TOML file of the hub's options.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def find_settings(**given: object) -> ServeSettings:
    """Return the settings that `tidings serve` would use with the options in `given`, by their names; None is left out.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    arguments = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
    with load_command("serve").make_context("serve", arguments) as ctx:
        return resolve(ctx).settings


def find_folder(data: str | None, config: Path | None) -> Path:
    """Return the data folder that `tidings serve` would use with the same options.

    Raises:
        ConfigError: The hub would use none, or the configuration cannot be used.
    """
    folder = find_settings(data=data, config=config).data
    if folder is None:
        raise ConfigError("this hub keeps its log in memory", option="data", hint="Pass a data folder with --data.")
    return folder
