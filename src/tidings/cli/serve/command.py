"""The command `tidings serve`."""

import os
import sys
from inspect import Signature
from typing import Any

import typer

from tidings.cli.app import load_command
from tidings.cli.serve.options import READ_AGAIN, misspelt_variables, parameters, resolve
from tidings.cli.serve.settings import ServeSettings


def serve(ctx: typer.Context, **options: Any) -> None:
    """Run a hub until Ctrl-C.

    Every option is also a variable, such as TIDINGS_RETENTION_AGE,
    and a key of the TOML file, such as retention-age = "7d".
    A flag overrides a variable, and a variable overrides the file.
    """
    resolved = resolve(ctx)
    if options["show_config"]:
        typer.echo(resolved.format(), nl=False)
        return
    # The hub's libraries take a while to load, and may not be installed.
    from tidings.cli.serve.background_output import write_in_background
    from tidings.cli.serve.process import run_hub
    from tidings.cli.serve.workers import run_workers, take_link

    write_in_background()
    warnings = misspelt_variables(os.environ)
    link = take_link()
    if link is not None:
        run_hub(resolved.settings, reread=_reread, link=link)
    elif resolved.settings.workers == 1:
        run_hub(resolved.settings, reread=_reread, warnings=warnings)
    else:
        code = run_workers(resolved.settings, warnings=warnings)
        if code:
            raise typer.Exit(code)


def _reread() -> ServeSettings:
    """Return the settings of this command line now: its file may have changed."""
    arguments = sys.argv[sys.argv.index("serve") + 1 :]
    with load_command("serve").make_context("serve", arguments, obj=READ_AGAIN) as ctx:
        return resolve(ctx).settings


def _set_signature() -> None:
    """Give `serve` the parameters that Typer reads, one per option."""
    given = [Signature.from_callable(serve).parameters["ctx"], *parameters()]
    serve.__signature__ = Signature(given)  # type: ignore[attr-defined]
    serve.__annotations__ = {each.name: each.annotation for each in given}


_set_signature()
