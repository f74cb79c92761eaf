"""The hub's word on itself: `/healthz` and `/readyz`."""

from collections.abc import AsyncIterator

import httpx

from tidings.cli.doctor.finding import Finding, bad, good, note
from tidings.cli.doctor.network import TIMEOUT_S
from tidings.cli.doctor.target import Target
from tidings.client.url import is_loopback

HEALTH, READY = "healthz", "readyz"
_SHOWN = 120
"""Characters of an answer that say what it is."""


async def check_http(target: Target) -> AsyncIterator[Finding]:
    """Ask the hub whether it lives and whether it takes events."""
    # As the client does: a proxy of the environment is used, but never to this very machine.
    proxied = not is_loopback(target.url)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=proxied) as client:
        for name in (HEALTH, READY):
            yield await _check(client, target, name)


async def _check(client: httpx.AsyncClient, target: Target, name: str) -> Finding:
    url = target.http(name)
    try:
        answer = await client.get(url)
    except httpx.TimeoutException:
        return bad(name, f"no answer from {url}", "The port is open and nobody speaks: the hub may hang; see its log.")
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        return bad(name, f"no HTTP at {url}: {reason}", "Something else than a hub listens there: correct the URL.")
    said = " ".join(answer.text.split())[:_SHOWN]
    through = ", ".join(answer.headers.get_list("via"))
    if answer.status_code == 200:
        return good(name, f"{said or 'ok'}{f' (through {through})' if through else ''}")
    if answer.status_code == 404:
        # A proxy may pass on the WebSocket's path alone, and that is enough to work.
        return note(
            name, f"404 at {url}", "If a proxy passes on the WebSocket only, that is well; else correct the URL."
        )
    if answer.status_code == 503:
        return bad(name, f"the hub is not ready: {said}", "Wait, if it just started or shuts down; else see its log.")
    return bad(name, f"{answer.status_code} at {url}: {said}", _hint(answer.status_code))


def _hint(status: int) -> str:
    if status in (502, 504):
        return "A proxy answers, and cannot reach the hub behind it: check the address it forwards to."
    if status in (401, 403, 407):
        return "Something in between wants a login: let the hub's paths pass."
    return "Something else than a hub answers there: correct the URL."
