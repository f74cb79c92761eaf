"""The command `tidings serve`: its flags, made from the settings' one definition.

Where a hub's log is when nobody says.
"""

import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tidings.cli.serve.option_types import Flag, Several
from tidings.cli.serve.options import OPTIONS, PREFIX, Option, misspelt, resolve


def default_folder() -> Path:
    """Return the data folder of this user's own."""
    # Of the `cli` extra's libraries the last that a hub needs; help does not wait for it.
    import platformdirs

    return platformdirs.user_data_path("tidings", appauthor=False)


def _serve(config: Path | None, show_config: bool, flags: dict[str, Any]) -> None:
    resolved = resolve(flags, os.environ, config and config.expanduser(), data=default_folder())
    if show_config:
        typer.echo(resolved.show(), nl=False)
        return
    # The hub's libraries take a while to load, and may not be there.
    from tidings.cli.serve.process import run_hub

    run_hub(resolved.settings, remarks=misspelt(os.environ))


def _parameters() -> Iterator[inspect.Parameter]:
    yield _parameter(
        "config",
        Annotated[Path | None, typer.Option(metavar="FILE", envvar=f"{PREFIX}CONFIG", help="TOML file of options.")],
        None,
    )
    yield _parameter(
        "show_config",
        Annotated[bool, typer.Option("--show-config", help="Print every option, and where it comes from, and exit.")],
        False,
    )
    for option in OPTIONS.values():
        yield _parameter(option.field, _annotation(option), None)


def _parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(option: Option) -> object:
    """Return what typer makes a flag of. Values stay text: `Kind.read` reads flags, variables and TOML alike."""
    kind, help, panel = option.about.kind, _help(option), option.about.panel
    if isinstance(kind, Flag):
        flags = f"{option.flag}/--{kind.off or f'no-{option.key}'}"
        return Annotated[bool | None, typer.Option(flags, help=help, rich_help_panel=panel, show_default=False)]
    form = list[str] if isinstance(kind, Several) else str
    more = typer.Option(option.flag, help=help, metavar=kind.metavar, rich_help_panel=panel, show_default=False)
    return Annotated[form | None, more]


def _help(option: Option) -> str:
    default = option.default
    shown = "" if default is None or default in (False, ()) else option.about.kind.write(default).strip('"')
    return f"{option.about.help} Default: {shown}." if shown else option.about.help


def _command() -> Callable[..., None]:
    parameters = list(_parameters())

    def serve(**given: Any) -> None:
        """Run a hub until Ctrl-C.

        Every option is also a variable, such as TIDINGS_RETENTION_AGE,
        and a key of the TOML file, such as retention-age = "7d".
        A flag wins over a variable, and a variable over the file.
        """
        config, show_config = given.pop("config"), given.pop("show_config")
        _serve(
            config,
            show_config,
            {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()},
        )

    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return serve


serve = _command()
