"""The command `tidings doctor`."""

import asyncio
import os
from typing import Annotated

import msgspec
import typer

from tidings.cli.doctor.finding import MARKS, Finding, Verdict
from tidings.cli.failure import FAILED

_COLORS = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red", Verdict.SKIPPED: "bright_black"}
_WIDTH = 11
"""Of the column of checks' names."""


def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", envvar="TIDINGS_URL", help="The hub's.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Check the way to a hub, step by step, and say what to do about each fault."""
    # Not before it is wanted: httpx alone takes a tenth of a second.
    from tidings.cli.doctor.versions import versions

    findings = asyncio.run(_examine(url, quiet=as_json))
    well = all(finding.verdict is not Verdict.BAD for finding in findings)
    installed = versions()
    if as_json:
        report = {"ok": well, "checks": findings, "versions": installed}
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        told = ", ".join(f"{name} {version}" for name, version in installed.items())
        typer.echo(f"  {'versions'.ljust(_WIDTH)} {told}")
    if not well:
        raise typer.Exit(FAILED)


async def _examine(url: str | None, *, quiet: bool) -> list[Finding]:
    from tidings.cli.doctor.examination import examine

    findings = []
    async for finding in examine(url):
        findings.append(finding)
        if not quiet:
            _show(finding)
    return findings


def _show(finding: Finding) -> None:
    mark = MARKS[finding.verdict]
    if not os.environ.get("NO_COLOR"):
        mark = typer.style(mark, fg=_COLORS[finding.verdict], bold=True)
    typer.echo(f"{mark} {finding.check.ljust(_WIDTH)} {finding.summary}")
    if finding.hint:
        typer.echo(f"  {'':{_WIDTH}} → {finding.hint}")
