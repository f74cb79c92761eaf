"""The options that name a hub and who we are, the same for every command that talks to one."""

from typing import Annotated

import typer

from tidings.client.options import TOKEN_VARIABLE
from tidings.client.url import DEFAULT_URL, VARIABLE

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar=VARIABLE, help=f"The hub's. Default: {DEFAULT_URL}", show_default=False
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", "--url", metavar="URL", envvar=VARIABLE, help=f"The hub's. Default: {DEFAULT_URL}", show_default=False
    ),
]
"""Likewise, where something else is read than the hub."""
TokenOption = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar=TOKEN_VARIABLE, help="For the hub.", show_default=False),
]
