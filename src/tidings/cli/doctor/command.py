"""The command `tidings doctor`.

The checks in their order; what needs something that failed is skipped.

Which versions this machine has of what matters.
"""

import asyncio
import os
import platform
import sqlite3
from collections.abc import AsyncIterator
from importlib import metadata
from typing import Annotated

import msgspec
import typer

from tidings.cli.doctor.finding import MARKS, CheckResult, CheckStatus, bad, good, note, skipped
from tidings.cli.doctor.handshake import PROTOCOL, UPGRADE, check_handshake
from tidings.cli.doctor.network import HEALTH, NAME, READY, TCP, TLS, check_http, check_name, check_tcp, check_tls
from tidings.cli.doctor.session import AFTER_UPGRADE, check_session
from tidings.cli.errors import FAILED
from tidings.client.http import HubAddress, parse_address
from tidings.exceptions import ConfigError
from tidings.protocol.codes import error_data
from tidings.version import __version__

_COLORS = {
    CheckStatus.GOOD: "green",
    CheckStatus.NOTE: "yellow",
    CheckStatus.BAD: "red",
    CheckStatus.SKIPPED: "bright_black",
}
_WIDTH = 11
"""Of the column of checks' names."""


def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", envvar="TIDINGS_URL", help="The hub's.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check the way to a hub, step by step, and say what to do about each fault."""
    findings = asyncio.run(_examine(url, quiet=as_json))
    well = all(finding.verdict is not CheckStatus.BAD for finding in findings)
    installed = find_versions()
    if as_json:
        report = {"ok": well, "checks": findings, "versions": installed}
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        told = ", ".join(f"{name} {version}" for name, version in installed.items())
        typer.echo(f"  {'versions'.ljust(_WIDTH)} {told}")
    if not well:
        raise typer.Exit(FAILED)


async def _examine(url: str | None, *, quiet: bool) -> list[CheckResult]:

    findings = []
    async for finding in run_checks(url):
        findings.append(finding)
        if not quiet:
            _show(finding)
    return findings


def _show(finding: CheckResult) -> None:
    mark = MARKS[finding.verdict]
    if not os.environ.get("NO_COLOR"):
        mark = typer.style(mark, fg=_COLORS[finding.verdict], bold=True)
    typer.echo(f"{mark} {finding.check.ljust(_WIDTH)} {finding.summary}")
    if finding.hint:
        typer.echo(f"  {'':{_WIDTH}} → {finding.hint}")


URL = "url"
_WAY = (NAME, TCP, TLS)
_HUB = (HEALTH, READY, UPGRADE, PROTOCOL, *AFTER_UPGRADE)


async def run_checks(url: str | None) -> AsyncIterator[CheckResult]:
    """Check everything between here and the hub at `url`; None is the environment's, or one on this machine."""
    try:
        target = parse_address(url)
    except ConfigError as error:
        yield bad(URL, str(error), error_data(error).hint or "")
        return
    yield note(URL, f"taken for {target.url}", "Write it so.") if target.corrected else good(URL, target.url)
    done: set[str] = set()
    async for finding in _check_way(target):
        yield finding
        done.add(finding.check)
        if finding.verdict is CheckStatus.BAD:
            for check in (*_WAY, *_HUB):
                if check not in done and (check != TLS or target.secure):
                    yield skipped(check)
            return
    async for finding in check_http(target):
        yield finding
    async for finding in _check_websocket(target):
        yield finding


async def _check_way(target: HubAddress) -> AsyncIterator[CheckResult]:
    name, addresses = await check_name(target)
    yield name
    yield await check_tcp(target, addresses)
    if target.secure:
        yield await check_tls(target)


async def _check_websocket(target: HubAddress) -> AsyncIterator[CheckResult]:
    async with check_handshake(target) as (findings, connection):
        for finding in findings:
            yield finding
        done = {finding.check for finding in findings}
        if connection is None or findings[-1].verdict is CheckStatus.BAD:
            for check in (PROTOCOL, *AFTER_UPGRADE):
                if check not in done:
                    yield skipped(check)
            return
        async for finding in check_session(connection):
            yield finding


_LIBRARIES = ("msgspec", "websockets", "uvloop", "uvicorn", "starlette")


def find_versions() -> dict[str, str]:
    """Return the version of each part; "not installed" where it is none."""
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
