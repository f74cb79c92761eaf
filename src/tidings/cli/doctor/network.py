"""Checks the name, the port and the certificate of the hub's machine, and its `/healthz` and `/readyz`."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator

import msgspec

from tidings.cli.doctor.finding import CheckResult, bad, good, note
from tidings.client.http import HTTPClient, HubAddress
from tidings.client.network import make_tls_context
from tidings.client.url import hide_password
from tidings.exceptions import ConfigError, HubUnreachable
from tidings.protocol.payloads import ErrorData

NAME, TCP, TLS = "name", "tcp", "tls"
TIMEOUT_S = 5.0

_REFUSED = "Nothing listens on the port. Start a hub with `tidings serve`, or correct the port."
_TIMED_OUT = "A firewall drops the packets, the machine is off, or the address is wrong."
_UNREACHABLE = "No route to the address: check the network, a VPN, or the address."


async def check_name(target: HubAddress) -> tuple[CheckResult, list[str]]:
    """Resolve the host, and return its addresses."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return bad(NAME, f"no answer for {target.host!r}", "The name server does not answer: try an address."), []
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else str(error)
        return bad(NAME, f"{target.host!r} has no address: {reason}", "Check the spelling, or the name server."), []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if addresses == [target.host]:
        return good(NAME, f"{target.host} is an address"), addresses
    return good(NAME, f"{target.host} is {', '.join(addresses)}"), addresses


async def check_tcp(target: HubAddress, addresses: list[str]) -> CheckResult:
    """Connect to every address, because clients may choose any of them."""
    failures: dict[str, OSError] = {}
    for address in addresses:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, writer = await asyncio.open_connection(address, target.port)
            writer.close()
        except OSError as error:  # TimeoutError is one
            failures[address] = error
    reached = [address for address in addresses if address not in failures]
    port = f"port {target.port}"
    if not failures:
        return good(TCP, f"{port} is open")
    reasons = "; ".join(f"{address}: {_reason(error)}" for address, error in failures.items())
    if not reached:
        return bad(TCP, f"{port} cannot be reached ({reasons})", _hint(list(failures.values())[-1]))
    if target.host in ("localhost", "localhost."):
        # Every client tries the next address; a hub that listens on 127.0.0.1 only is correct.
        return good(TCP, f"{port} is open on {', '.join(reached)}")
    return note(
        TCP, f"{port} is open on {', '.join(reached)} only ({reasons})", "Remove the dead address from the name."
    )


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_S:g} s"
    # The text of asyncio repeats the address instead of the cause.
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _hint(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return _REFUSED
    if isinstance(error, TimeoutError):
        return _TIMED_OUT
    return (
        _UNREACHABLE if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else "Look up the reason in parentheses."
    )


async def check_tls(target: HubAddress) -> CheckResult:
    """Open a TLS connection, with the same verification of the certificate as in every client."""
    try:
        context = make_tls_context()
    except ConfigError as error:
        return bad(TLS, f"{error.source}: {error}", error.hint)
    context.set_alpn_protocols(["http/1.1"])
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(target.host, target.port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        return bad(TLS, f"the certificate is not trusted: {error.verify_message}", _certificate_hint(error.verify_code))
    except ssl.SSLError as error:
        if "ALPN" in str(error.reason) or "NO_APPLICATION_PROTOCOL" in str(error.reason):
            return bad(TLS, "the server supports HTTP/2 only", "Enable HTTP/1.1: a WebSocket begins with it.")
        hint = (
            "The port does not use TLS: use ws://, or put TLS in front of the hub."
            if "WRONG_VERSION" in str(error)
            else ""
        )
        return bad(TLS, f"no TLS: {error.reason or error}", hint or "See the TLS settings of the server.")
    except OSError as error:
        return bad(TLS, f"no TLS: {_reason(error)}", "The server closed during the handshake: see its log.")
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return good(TLS, f"{version}, the certificate is trusted")


def _certificate_hint(code: int) -> str:
    return {
        10: "It has expired: renew it.",
        18: "It is self-signed: use a certificate from an authority, or pass it with --ca.",
        19: "Its authority is unknown on this machine: pass its certificate with --ca.",
        20: "Its authority is unknown on this machine, or the server sends no chain: configure the full chain.",
        62: "It was issued for another host: use the name that it was issued for.",
        64: "It was issued for a name, not for this address: use the name that it was issued for.",
    }.get(code, "Renew or replace the certificate.")


HEALTH, READY = "healthz", "readyz"
_MAX_BODY_CHARACTERS = 120
"""Characters of a response that are shown."""


async def check_http(target: HubAddress) -> AsyncIterator[CheckResult]:
    """Ask the hub whether it is alive, and whether it accepts events."""
    # When Ctrl-C cancels the wait for a thread, leaving the block closes its connection, which ends the thread too.
    with HTTPClient(target.url, token="", timeout_s=TIMEOUT_S) as client:
        for name in (HEALTH, READY):
            yield await _check(client, hide_password(target.http(name)), name)


async def _check(client: HTTPClient, url: str, name: str) -> CheckResult:
    try:
        answer = await asyncio.to_thread(client.probe, name)
    except (HubUnreachable, ConfigError) as error:
        if isinstance(error.__cause__, TimeoutError):
            return bad(name, f"no answer from {url}", "The port is open, but silent: see the hub's log.")
        other = "Something other than a hub listens there: correct the URL."
        return bad(name, f"no HTTP at {url}: {error}", error.hint or other)
    body = " ".join(answer.body.decode(errors="replace").split())[:_MAX_BODY_CHARACTERS]
    through = ", ".join(answer.headers.get_all("via", []))
    if answer.status == 200:
        return good(name, f"{body or 'ok'}{f' (through {through})' if through else ''}")
    if answer.status == 404:
        # A proxy may forward the WebSocket only, which is enough to work.
        return note(
            name, f"404 at {url}", "If a proxy forwards the WebSocket only, this is expected; else correct the URL."
        )
    if answer.status == 503:
        return bad(
            name, f"the hub is not ready: {body}", "If it just started or is shutting down, wait; else see its log."
        )
    refusal = read_refusal(answer.body) if answer.status in (401, 403) else None
    if refusal is not None:
        return bad(name, f"{answer.status} by the hub: {refusal.message} ({refusal.code})", refusal.hint or "")
    return bad(name, f"{answer.status} at {url}: {body}", _status_hint(answer.status))


def read_refusal(body: bytes) -> ErrorData | None:
    """Return the hub's error in the body of an answer; None if a proxy wrote it."""
    try:
        return msgspec.json.decode(body, type=ErrorData)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _status_hint(status: int) -> str:
    if status in (502, 504):
        return "A proxy cannot reach the hub: check the address that it forwards to."
    if status in (401, 403, 407):
        return "A proxy requires a login: write it into the URL (wss://USER:PASSWORD@HOST/), or exempt the hub's paths."
    return "Something other than a hub answers: correct the URL."
