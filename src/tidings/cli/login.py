"""The commands `tidings login`, `logout` and `whoami`: the stored token of each hub, and whom the hub takes it for."""

import asyncio
import contextlib
import getpass
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, exit_on_error, print_stderr
from tidings.cli.units import format_duration
from tidings.client.client import connect
from tidings.client.logins import Login, delete_login, hub_of, login_folder, store_login
from tidings.client.options import LinkOptions
from tidings.client.status import Access
from tidings.client.tokens import (
    TOKEN_FILE_VARIABLE,
    TOKEN_VARIABLE,
    Token,
    TokenSource,
    find_token_source,
    read_claims,
)
from tidings.client.url import DEFAULT_URL, URL_VARIABLE, authority, resolve_hub_url
from tidings.client.websocket import ClientConnection, open_websocket
from tidings.exceptions import ConfigError, HandshakeRefused
from tidings.printable import escape_json, escape_unprintable
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

EPILOG = exit_codes_epilog(ExitCode.NO_HUB)
UrlArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="URL", envvar=URL_VARIABLE, help=f"URL of the hub. Default: {DEFAULT_URL}", show_default=False
    ),
]


def login(url: UrlArgument = None) -> None:
    """Store a token for a hub, after checking it with the hub.

    The token is read from a prompt, or from stdin if that is not a terminal. The file is readable by its user only,
    and its token is used by every program that reports to this hub or watches it.
    """
    address = resolve_hub_url(url)
    folder = login_folder()
    if folder is None:
        raise ConfigError("no folder for logins: this user has no home", option="XDG_CONFIG_HOME")
    find_token_source("any", address)  # before the question: whether it may be sent at all
    token = _read_token(authority(address))
    with exit_on_error():
        access = asyncio.run(identify(address, token))
    if access is None:
        typer.echo(f"{authority(address)} asks for no token: nothing is stored")
        return
    with _changing(folder):
        store_login(Login(url=hub_of(address), subject=access.subject, token=token), folder)
    expiry = _expires_in(access.expires_at or _stated_expiry(token))
    until = "" if expiry is None else f"; the token expires in {expiry}"
    typer.echo(escape_unprintable(f"logged in to {authority(address)} as {access.subject}{until}"))
    for variable in (TOKEN_VARIABLE, TOKEN_FILE_VARIABLE):
        if os.environ.get(variable):
            print_stderr(f"note: {variable} is set, and is used instead of the stored token")


def logout(url: UrlArgument = None) -> None:
    """Delete the stored token for a hub.

    The token itself stays valid: `tidings token revoke` ends it.
    """
    address = resolve_hub_url(url)
    folder = login_folder()
    deleted = False
    if folder is not None:
        with _changing(folder):
            deleted = delete_login(address, folder)
    if not deleted:
        print_stderr(f"error: no login is stored for {authority(address)}", "hint: Log in with `tidings login`.")
        raise typer.Exit(FAILED)
    typer.echo(f"logged out of {authority(address)}")


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into one that names the folder, and what works without it.

    Raises:
        ConfigError: A file in `folder` cannot be written or deleted.
    """
    try:
        yield
    except OSError as cause:
        raise ConfigError(
            f"cannot change the logins in {str(folder)!r}: {cause.strerror or cause}",
            option="XDG_CONFIG_HOME",
            hint="Make the folder writable, or use TIDINGS_TOKEN_FILE instead of a login.",
        ) from cause


def whoami(
    url: UrlArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Show whom a hub takes this user for: subject, grants and expiry."""
    address = resolve_hub_url(url)
    source = find_token_source(None, address)
    with exit_on_error():
        access = asyncio.run(identify(address, source))
    if as_json:
        report = {
            "hub": hub_of(address),
            "subject": None if access is None else access.subject,
            "grants": [] if access is None else access.grants,
            "expires_at": None if access is None else access.expires_at,
        }
        typer.echo(escape_json(msgspec.json.encode(report)))
        return
    if access is None:
        typer.echo(f"{authority(address)} asks for no token: everybody may do everything")
        return
    origin = "" if source is None else f" (token from {source.name})"
    typer.echo(escape_unprintable(f"{access.subject}{origin}"))
    for grant in access.grants:
        typer.echo(escape_unprintable(f"  {grant}"))
    expiry = _expires_in(access.expires_at)
    typer.echo("  does not expire" if expiry is None else f"  expires in {expiry}")


async def identify(url: str, token: Token | TokenSource | None) -> Access | None:
    """Return whom the hub takes a token for; None if it does not ask for tokens.

    The token is sent in a message, not in the handshake: the answer names the grants and the expiry.

    Raises:
        AccessError: The hub refuses the token, or there is none.
        ClientError: The hub is unreachable, or refuses the connection.
    """
    try:
        return await _identify(url, LinkOptions(token=token, open_connection=_open_without_token))
    except HandshakeRefused:  # a proxy in front of the hub may check the header itself
        return await _identify(url, LinkOptions(token=token))


async def _identify(url: str, options: LinkOptions) -> Access | None:
    async with connect(url, options=options) as client:
        return client.status.access


async def _open_without_token(url: str) -> ClientConnection:
    return await open_websocket(url, token_follows=True)


def _read_token(where: str) -> str:
    token = getpass.getpass(f"Token for {where}: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise ConfigError(
            "no token was entered", option="token", source="stdin", hint="Pass it on stdin, or enter it at the prompt."
        )
    return token.strip()


def _stated_expiry(token: str) -> str | None:
    claims = read_claims(token)
    return None if claims is None or claims.exp is None else from_nanoseconds(int(claims.exp * 1e9))


def _expires_in(expires_at: str | None) -> str | None:
    if expires_at is None:
        return None
    return format_duration(max(0.0, round(to_nanoseconds(expires_at) / 1e9 - time.time())))
