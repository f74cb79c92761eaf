"""The command `tidings open`: the dashboard of a hub, or one operation in it, in a browser."""

import os
import sys
import webbrowser
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, exit_on_error, print_stderr
from tidings.cli.options import UrlOption
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.client.http import HTTPClient
from tidings.client.url import authority

EPILOG = exit_codes_epilog(ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB)


def open(  # the command's own name
    id: OperationArgument = None,
    last: LastOption = False,
    print_only: Annotated[bool, typer.Option("--print", help="Only print the address.")] = False,
    url: UrlOption = None,
) -> None:
    """Open the dashboard in a browser, or one operation in it."""
    with exit_on_error(), HTTPClient(url) as client:
        page = ""
        if id is not None or last:
            operation_id = client.operation(resolve_id(client, id, last=last)).operation_id
            page = f"operation?id={quote(operation_id)}"
        answer = client.probe("v1/whoami")
        address = page_address(client.address.http(page))
    if answer.status == 200 and "build" not in msgspec.json.decode(answer.body, type=dict[str, object]):
        print_stderr("tidings: this hub was installed without its dashboard")
    typer.echo(address)
    if not print_only and has_browser(os.environ, sys.platform):
        webbrowser.open(address)


def page_address(url: str) -> str:
    """Return the address of a page without a user name and a password, which a browser asks for itself."""
    return urlsplit(url)._replace(netloc=authority(url)).geturl()


def has_browser(environment: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser with a window can be opened: one in a terminal would not run the page.

    Args:
        environment: Environment variables.
        platform: `sys.platform`.
    """
    if platform in ("darwin", "win32", "cygwin"):
        return True
    return any(environment.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))
