"""The command `tidings doctor`: runs the checks in order, and skips those that depend on a failed one."""

import asyncio
import os
import platform
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib import metadata
from typing import Annotated

import msgspec
import typer

from tidings.cli.doctor.access import TOKEN, check_token
from tidings.cli.doctor.finding import MARKS, CheckResult, CheckStatus, bad, good, skipped
from tidings.cli.doctor.handshake import PROTOCOL, UPGRADE, check_handshake
from tidings.cli.doctor.network import HEALTH, NAME, READY, TCP, TLS, check_http, check_name, check_tcp, check_tls
from tidings.cli.doctor.session import AFTER_UPGRADE, check_session
from tidings.cli.errors import FAILED, exit_codes_epilog
from tidings.client.http import HubAddress, parse_address
from tidings.client.tokens import find_token_source
from tidings.client.url import DEFAULT_URL, URL_VARIABLE, hide_password
from tidings.exceptions import ConfigError, TokenUnavailable
from tidings.printable import escape_json, escape_unprintable
from tidings.protocol.codes import error_data
from tidings.version import __version__

_COLORS = {
    CheckStatus.GOOD: "green",
    CheckStatus.NOTE: "yellow",
    CheckStatus.BAD: "red",
    CheckStatus.SKIPPED: "bright_black",
}
EPILOG = exit_codes_epilog(failed="a check failed, or another error")
_NAME_COLUMNS = 11
"""Width of the column of check names."""


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL", envvar=URL_VARIABLE, help=f"URL of the hub. Default: {DEFAULT_URL}", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check the connection to a hub step by step, with a remedy for each fault."""
    findings = asyncio.run(_run(url, quiet=as_json))
    ok = all(finding.verdict is not CheckStatus.BAD for finding in findings)
    installed = find_versions()
    if as_json:
        report = {"ok": ok, "checks": findings, "versions": installed}
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(report))))
    else:
        listed = ", ".join(f"{name} {version}" for name, version in installed.items())
        typer.echo(f"  {'versions'.ljust(_NAME_COLUMNS)} {listed}")
    if not ok:
        raise typer.Exit(FAILED)


async def _run(url: str | None, *, quiet: bool) -> list[CheckResult]:
    findings = []
    # The connection closes before an error of stdout leaves this: `tidings doctor | head -7`.
    async with aclosing(run_checks(url)) as checks:
        async for finding in checks:
            findings.append(finding)
            if not quiet:
                _print(finding)
    return findings


def _print(finding: CheckResult) -> None:
    mark = MARKS[finding.verdict]
    if not os.environ.get("NO_COLOR"):
        mark = typer.style(mark, fg=_COLORS[finding.verdict], bold=True)
    typer.echo(f"{mark} {finding.check.ljust(_NAME_COLUMNS)} {escape_unprintable(finding.summary)}")
    if finding.hint:
        typer.echo(f"  {'':{_NAME_COLUMNS}} → {escape_unprintable(finding.hint)}")


URL = "url"
_NETWORK_CHECKS = (NAME, TCP, TLS)
_HUB_CHECKS = (HEALTH, READY, UPGRADE, PROTOCOL, *AFTER_UPGRADE)


async def run_checks(url: str | None) -> AsyncGenerator[CheckResult, None]:
    """Yield the result of each check; `url` None means TIDINGS_URL, or a hub on this machine."""
    try:
        target = parse_address(url)
    except ConfigError as error:
        yield bad(URL, str(error), error_data(error).hint or "")
        return
    yield good(URL, hide_password(target.url))
    done: set[str] = set()
    async for finding in _check_network(target):
        yield finding
        done.add(finding.check)
        if finding.verdict is CheckStatus.BAD:
            for check in (*_NETWORK_CHECKS, *_HUB_CHECKS):
                if check not in done and (check != TLS or target.secure):
                    yield skipped(check)
            return
    async for finding in check_http(target):
        yield finding
    token: str | None = None
    try:
        source = find_token_source(None, target.url)
        token = None if source is None else source.read()
    except (ConfigError, TokenUnavailable) as error:
        source = None
        yield bad(TOKEN, str(error), error_data(error).hint or "")
    if source is not None and token is not None:
        yield check_token(token, source.name)
    async with aclosing(_check_websocket(target, token)) as checks:
        async for finding in checks:
            yield finding


async def _check_network(target: HubAddress) -> AsyncGenerator[CheckResult, None]:
    name, addresses = await check_name(target)
    yield name
    yield await check_tcp(target, addresses)
    if target.secure:
        yield await check_tls(target)


async def _check_websocket(target: HubAddress, token: str | None) -> AsyncGenerator[CheckResult, None]:
    async with check_handshake(target, token) as (findings, connection):
        for finding in findings:
            yield finding
        done = {finding.check for finding in findings}
        if connection is None or findings[-1].verdict is CheckStatus.BAD:
            for check in (PROTOCOL, *AFTER_UPGRADE):
                if check not in done:
                    yield skipped(check)
            return
        async for finding in check_session(connection, token=token):
            yield finding


_LIBRARIES = ("msgspec", "websockets", "uvloop", "uvicorn", "starlette")


def find_versions() -> dict[str, str]:
    """Return the version of each component, or "not installed"."""
    found = {
        "tidings": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(terse=True),
        "sqlite": sqlite3.sqlite_version,
    }
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found
