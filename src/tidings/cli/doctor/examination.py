"""The checks in their order; what needs something that failed is skipped."""

from collections.abc import AsyncIterator

from tidings.cli.doctor.finding import Finding, Verdict, bad, good, note, skipped
from tidings.cli.doctor.http import HEALTH, READY, check_http
from tidings.cli.doctor.network import NAME, TCP, TLS, check_name, check_tcp, check_tls
from tidings.cli.doctor.talk import AFTER_UPGRADE, talk
from tidings.cli.doctor.target import Target, parse_target
from tidings.cli.doctor.upgrade import PROTOCOL, UPGRADE, upgraded
from tidings.exceptions import ConfigError
from tidings.protocol.codes import error_data

URL = "url"
_WAY = (NAME, TCP, TLS)
_HUB = (HEALTH, READY, UPGRADE, PROTOCOL, *AFTER_UPGRADE)


async def examine(url: str | None) -> AsyncIterator[Finding]:
    """Check everything between here and the hub at `url`; None is the environment's, or one on this machine."""
    try:
        target = parse_target(url)
    except ConfigError as error:
        yield bad(URL, str(error), error_data(error).hint or "")
        return
    yield note(URL, f"taken for {target.url}", "Write it so.") if target.corrected else good(URL, target.url)
    done: set[str] = set()
    async for finding in _check_way(target):
        yield finding
        done.add(finding.check)
        if finding.verdict is Verdict.BAD:
            for check in (*_WAY, *_HUB):
                if check not in done and (check != TLS or target.secure):
                    yield skipped(check)
            return
    async for finding in check_http(target):
        yield finding
    async for finding in _check_websocket(target):
        yield finding


async def _check_way(target: Target) -> AsyncIterator[Finding]:
    name, addresses = await check_name(target)
    yield name
    yield await check_tcp(target, addresses)
    if target.secure:
        yield await check_tls(target)


async def _check_websocket(target: Target) -> AsyncIterator[Finding]:
    async with upgraded(target) as (findings, connection):
        for finding in findings:
            yield finding
        done = {finding.check for finding in findings}
        if connection is None or findings[-1].verdict is Verdict.BAD:
            for check in (PROTOCOL, *AFTER_UPGRADE):
                if check not in done:
                    yield skipped(check)
            return
        async for finding in talk(connection):
            yield finding
