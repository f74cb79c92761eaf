"""Events as a watch delivers them, at a second of one fixed day."""

from typing import Any

import msgspec

from tidings.client.events import ReceivedEvent
from tidings.contract.contract import Contract
from tidings.protocol.timestamps import from_nanoseconds

NOON = 1_753_876_800
"""2025-07-30T12:00:00Z."""
_CONTRACT = Contract()


def sight(type: str, at: float = 0, **data: Any) -> ReceivedEvent:
    """Return an event, `at` seconds after noon."""
    body = msgspec.json.encode(data)
    event_type = _CONTRACT.events.get(type)
    nanoseconds = int((NOON + at) * 1_000_000_000)
    return ReceivedEvent(
        type=type,
        timestamp=from_nanoseconds(nanoseconds),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        channel="global" if event_type is None else event_type.channel or "",
        key=data.get("operation_id"),
        payload=None if event_type is None else msgspec.json.decode(body, type=event_type.payload),
        data=body,
        position=f"0a1b2c3d:{nanoseconds}",
    )


def at(seconds: float) -> str:
    """Return the time `seconds` after noon."""
    return from_nanoseconds(int((NOON + seconds) * 1_000_000_000))


def start(id: str, at: float = 0, **more: Any) -> ReceivedEvent:
    return sight("operation:start", at, operation_id=id, name=more.pop("name", id), **more)


def progress(id: str, percent: float, at: float = 0, **more: Any) -> ReceivedEvent:
    members = {"current_step": "", "total_steps": 0, **more}
    return sight("operation:progress", at, operation_id=id, progress=percent, **members)


def complete(id: str, at: float = 0, **more: Any) -> ReceivedEvent:
    return sight("operation:complete", at, operation_id=id, **more)


def failed(id: str, at: float = 0, **more: Any) -> ReceivedEvent:
    error = {"code": "exit_3", "message": "exit code 3", "recoverable": False, **more}
    return sight("operation:failed", at, operation_id=id, **error)


def estimate(id: str, at: float = 0, **more: Any) -> ReceivedEvent:
    return sight("operation:estimate", at, operation_id=id, **{"stalled": False, **more})


def away(id: str, at: float = 0, *, state: str = "raised", message: str = "its producer is away") -> ReceivedEvent:
    """Return the alert that an operation's producer is away, or the one that clears it."""
    error = {"code": "producer_away", "message": message, "recoverable": True}
    return sight("system:alert", at, severity="warning", state=state, operation_id=id, **error)


def cancelled(id: str, at: float = 0, **more: Any) -> ReceivedEvent:
    return sight("operation:cancelled", at, operation_id=id, **more)
