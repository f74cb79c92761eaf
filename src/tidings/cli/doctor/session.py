"""Checks a connected hub: its contract, its clock, its round-trip time and its heartbeat."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tidings.cli.doctor.access import ACCESS, check_access
from tidings.cli.doctor.finding import CheckResult, CheckStatus, bad, good, note, skipped
from tidings.cli.doctor.network import TIMEOUT_S
from tidings.cli.units import format_duration
from tidings.contract.contract import Contract
from tidings.exceptions import HubClosed, TidingsError
from tidings.protocol import payloads
from tidings.protocol.envelope import Envelope, decode_envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import PING, Pong
from tidings.protocol.payloads import ConnectionEstablished
from tidings.protocol.timestamps import to_nanoseconds

CONTRACT, CLOCK, ROUND_TRIP, IDLE = "contract", "clock", "round trip", "idle"
AFTER_UPGRADE = (CONTRACT, ACCESS, CLOCK, ROUND_TRIP, IDLE)
_PINGS = 7
_MIN_SKEW_NOTED_S = 1.0
_MIN_SKEW_BAD_S = 30.0
"""Clock difference, in seconds, from which ages and elapsed times mislead, and tokens expire at the wrong time."""
_MIN_SLOW_TRIP_S = 1.0
_PROXY_IDLE_S = 60.0
"""Common idle timeout of nginx, HAProxy and cloud load balancers."""


async def check_session(connection: ClientConnection, *, token: str | None) -> AsyncIterator[CheckResult]:
    """Receive the greeting, check the right to be there, compare contracts and clocks, and measure round trips."""
    try:
        established = await _established(connection)
    except HubClosed as error:  # such as a hub that is opening its log
        yield bad(CONTRACT, f"the hub closed the connection ({error.close_code}): {error.message}", error.hint)
        for check in AFTER_UPGRADE[1:]:
            yield skipped(check)
        return
    except (TimeoutError, ConnectionClosed, TidingsError, msgspec.ValidationError, TypeError, RecursionError) as error:
        reason = "no message" if isinstance(error, TimeoutError) else str(error)
        hint = "Something other than a tidings hub answers: correct the URL."
        yield bad(CONTRACT, f"no {MessageType.CONNECTION_ESTABLISHED}: {reason}", hint)
        for check in AFTER_UPGRADE[1:]:
            yield skipped(check)
        return
    yield _contract(established)
    try:
        access = await check_access(established, lambda: _receive(connection), connection.send, token=token)
    except (TimeoutError, ConnectionClosed, TidingsError, msgspec.ValidationError, RecursionError) as error:
        access = bad(ACCESS, f"the hub neither accepts nor refuses this client: {error}", "See the log of the hub.")
    yield access
    if access.verdict is CheckStatus.BAD and token is not None:  # the hub closes the connection
        for check in (CLOCK, ROUND_TRIP, IDLE):
            yield skipped(check)
        return
    try:
        samples = [await _ping(connection, str(number)) for number in range(_PINGS)]
    except (TimeoutError, ConnectionClosed, TidingsError, msgspec.ValidationError, RecursionError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        yield bad(ROUND_TRIP, f"{PING} failed: {reason}", "See the log of the hub.")
        return
    trips = [trip for trip, _ in samples]
    # The fastest answer has the smallest error in its clock reading.
    _, skew = min(samples)
    yield _clock(skew)
    yield _round_trip(trips)
    yield _idle(established)


async def _receive(connection: ClientConnection) -> Envelope:
    async with asyncio.timeout(TIMEOUT_S):
        message = await connection.recv(decode=False)
    return decode_envelope(message)


async def _established(connection: ClientConnection) -> ConnectionEstablished:
    envelope = await _receive(connection)
    if envelope.type == MessageType.CONNECTION_CLOSED:
        closed = msgspec.json.decode(envelope.data, type=payloads.ConnectionClosed)
        hint = "Wait, and try again." if closed.reconnect else "See the log of the hub."
        raise HubClosed(closed.reason, close_code=closed.code, hint=hint)
    if envelope.type != MessageType.CONNECTION_ESTABLISHED:
        raise TypeError(f"the first message is {envelope.type[:80]!r}")
    return msgspec.json.decode(envelope.data, type=ConnectionEstablished)


async def _ping(connection: ClientConnection, id: str) -> tuple[float, float]:
    """Return the time of a round trip, and the lead of the hub's clock over ours, in seconds."""
    sent_wall, sent = time.time(), time.perf_counter()
    await connection.send(msgspec.json.encode({"type": PING, "data": None, "id": id}).decode())
    async with asyncio.timeout(TIMEOUT_S):
        while (envelope := await _receive(connection)).reply_to != id:
            continue
    trip = time.perf_counter() - sent
    pong = msgspec.json.decode(envelope.data, type=Pong)
    return trip, to_nanoseconds(pong.now) / 1e9 - (sent_wall + trip / 2)


def _contract(established: ConnectionEstablished) -> CheckResult:
    ours, theirs = Contract().identity, established.contract
    text = f"version {theirs.version}, {theirs.hash}"
    if theirs == ours:
        return good(CONTRACT, f"{text}, as ours")
    if theirs.version == ours.version:
        # The events of an application change the hash.
        return note(CONTRACT, f"{text}; ours is {ours.hash}", "The hub has its own events, or is another release.")
    return note(CONTRACT, f"{text}; ours is {ours.version}", "Use the same release of tidings on both sides.")


def _clock(skew: float) -> CheckResult:
    side = "ahead of" if skew > 0 else "behind"
    text = f"the hub's clock is {_short(abs(skew))} {side} ours"
    if abs(skew) >= _MIN_SKEW_BAD_S:
        return bad(CLOCK, text, "Set both clocks with NTP: times and ages are wrong.")
    if abs(skew) >= _MIN_SKEW_NOTED_S:
        return note(CLOCK, text, "Set both clocks with NTP: times and ages differ by this.")
    return good(CLOCK, text)


def _round_trip(trips: list[float]) -> CheckResult:
    text = f"{_short(statistics.median(trips))} (median of {len(trips)}; {_short(min(trips))} to {_short(max(trips))})"
    if statistics.median(trips) >= _MIN_SLOW_TRIP_S:
        return note(ROUND_TRIP, text, "The network is slow, or the hub is busy: see its system:metrics.")
    return good(ROUND_TRIP, text)


def _idle(established: ConnectionEstablished) -> CheckResult:
    beat = established.heartbeat_s
    text = f"a heartbeat every {format_duration(beat)} when idle"
    if beat >= _PROXY_IDLE_S:
        return note(
            IDLE, text, "Common proxies close connections that are idle for 60 s: lower --heartbeat of the hub."
        )
    return good(IDLE, f"{text}: proxies must allow this idle time")


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
