"""The option that names a hub, the same for every command that talks to one."""

from typing import Annotated

import typer

from tidings.client.url import DEFAULT_URL, VARIABLE

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar=VARIABLE, help=f"The hub's. Default: {DEFAULT_URL}", show_default=False
    ),
]
