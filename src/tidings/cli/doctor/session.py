"""What a hub says once connected: its contract, its clock, its rhythm, and how far away it is."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tidings.cli.doctor.finding import CheckResult, bad, good, note, skipped
from tidings.cli.doctor.network import TIMEOUT_S
from tidings.cli.units import format_duration
from tidings.contract.contract import Contract
from tidings.exceptions import TidingsError
from tidings.protocol.envelope import Envelope, decode_envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import PING, Pong
from tidings.protocol.payloads import ConnectionEstablished
from tidings.protocol.timestamps import to_nanoseconds

CONTRACT, CLOCK, ROUND_TRIP, IDLE = "contract", "clock", "round trip", "idle"
AFTER_UPGRADE = (CONTRACT, CLOCK, ROUND_TRIP, IDLE)
_PINGS = 7
_SKEW_TOLD_S = 1.0
_SKEW_BAD_S = 30.0
"""Beyond it ages and elapsed times mislead, and tokens expire at the wrong time."""
_SLOW_S = 1.0
_PROXY_IDLE_S = 60.0
"""What nginx, HAProxy and cloud balancers commonly wait for a byte."""


async def check_session(connection: ClientConnection) -> AsyncIterator[CheckResult]:
    """Hear the greeting, compare, and measure."""
    try:
        established = await _established(connection)
    except (TimeoutError, ConnectionClosed, TidingsError, msgspec.ValidationError, TypeError) as error:
        reason = "nothing came" if isinstance(error, TimeoutError) else str(error)
        hint = "Something else than a tidings hub answers there: correct the URL."
        yield bad(CONTRACT, f"no {MessageType.CONNECTION_ESTABLISHED}: {reason}", hint)
        for check in AFTER_UPGRADE[1:]:
            yield skipped(check)
        return
    yield _contract(established)
    try:
        samples = [await _ping(connection, str(number)) for number in range(_PINGS)]
    except (TimeoutError, ConnectionClosed, TidingsError, msgspec.ValidationError) as error:
        reason = "no answer" if isinstance(error, TimeoutError) else str(error)
        yield bad(ROUND_TRIP, f"{PING} failed: {reason}", "See the hub's log.")
        return
    trips = [trip for trip, _ in samples]
    # The quickest answer bounds the error of its own clock reading best.
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
    if envelope.type != MessageType.CONNECTION_ESTABLISHED:
        raise TypeError(f"the first message is {envelope.type[:80]!r}")
    return msgspec.json.decode(envelope.data, type=ConnectionEstablished)


async def _ping(connection: ClientConnection, id: str) -> tuple[float, float]:
    """Return the seconds of a round trip, and by how many the hub's clock is ahead of ours."""
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
    said = f"version {theirs.version}, {theirs.hash}"
    if theirs == ours:
        return good(CONTRACT, f"{said}, as ours")
    if theirs.version == ours.version:
        # An application adds events of its own, and its hash differs by them.
        return note(CONTRACT, f"{said}; ours is {ours.hash}", "The hub has events of its own, or is another release.")
    return note(CONTRACT, f"{said}; ours is {ours.version}", "Use the same release of tidings on both sides.")


def _clock(skew: float) -> CheckResult:
    side = "ahead of" if skew > 0 else "behind"
    told = f"the hub's clock is {_short(abs(skew))} {side} ours"
    if abs(skew) >= _SKEW_BAD_S:
        return bad(CLOCK, told, "Set both clocks by NTP: times and ages mislead.")
    if abs(skew) >= _SKEW_TOLD_S:
        return note(CLOCK, told, "Set both clocks by NTP: times and ages are off by as much.")
    return good(CLOCK, told)


def _round_trip(trips: list[float]) -> CheckResult:
    told = f"{_short(statistics.median(trips))} (median of {len(trips)}; {_short(min(trips))} to {_short(max(trips))})"
    if statistics.median(trips) >= _SLOW_S:
        return note(ROUND_TRIP, told, "The way is long, or the hub is busy: see its system:metrics.")
    return good(ROUND_TRIP, told)


def _idle(established: ConnectionEstablished) -> CheckResult:
    beat = established.heartbeat_s
    told = f"a sign of life every {format_duration(beat)} when idle"
    if beat >= _PROXY_IDLE_S:
        return note(IDLE, told, "Common proxies cut connections idle for 60 s: lower the hub's --heartbeat.")
    return good(IDLE, f"{told}: proxies must allow as much silence")


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
