"""Events that are accepted, and are meant to break what the hub makes of them: its timers, tables, and data folder."""

from itertools import count, cycle

from benchmarks.hostile.peer import Peer, flood, message
from benchmarks.hostile.registry import Target, attack

_TIMESTAMPS = (
    "1601-01-01T00:00:00Z",
    "0001-01-01T00:53:28+00:53",
    "1678-01-01T00:00:00Z",
    "2261-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59Z",
)
_DURATIONS_MS = (1e308, 0, 0.001)
_ATTEMPTS = (2**31 - 1, 2**63 - 1, 1)
_TEXT_CHARS = 20_000


@attack("absurd-events", "operations with moments, durations, attempts and totals at the edges of what a number holds")
def publish_absurd_events(target: Target) -> None:
    frames = []
    edges = zip(cycle(_TIMESTAMPS), cycle(_DURATIONS_MS), cycle(_ATTEMPTS), strict=False)
    for number, (timestamp, duration_ms, attempt) in zip(range(target.scaled(1_000)), edges, strict=False):
        key = {"operation_id": f"absurd-{number % 50}"}
        start = {**key, "name": f"name-{number % 7}", "attempt": attempt, "total_steps": 2**63 - 1, "pid": 2**63 - 1}
        frames += [
            message("operation:start", {**start, "metadata": {"weight": 1e308}}, timestamp=timestamp),
            message("operation:progress", {**key, "progress": 5e-324, "total_steps": 2**63 - 1}, timestamp=timestamp),
            message("operation:complete", {**key, "duration_ms": duration_ms}, timestamp=timestamp),
        ]
    flood([Peer(target.host, target.port, versioned=False)], b"".join(frames), target.over)


@attack("long-texts", "operations with 20,000 characters in each of their texts, which end")
def publish_long_texts(target: Target) -> None:
    text, numbers = "x" * _TEXT_CHARS, count()
    peer = Peer(target.host, target.port, versioned=False)
    for _ in range(target.scaled(20_000)):
        key = {"operation_id": f"long-{next(numbers)}"}
        frames = message("operation:start", {**key, "name": text, "command": text, "steps": [text]}) + message(
            "operation:failed", {**key, "code": "c", "message": text, "details": text, "recoverable": False}
        )
        if target.over() or peer.discard() < 0 or not peer.send(frames):
            return


def _flood(target: Target, frames: list[bytes]) -> None:
    flood([Peer(target.host, target.port, versioned=False)], b"".join(frames), target.over)


@attack("parent-cycles", "a chain of 5,000 parents, and cycles of two, whose progress and parents change all the time")
def publish_cycles(target: Target) -> None:
    number = target.scaled(5_000)
    frames = [
        message("operation:start", {"operation_id": f"chain-{each}", "parent_id": f"chain-{each + 1}"})
        for each in range(number)
    ]
    for each in range(number):
        one, other = f"cycle-{each % 100}-a", f"cycle-{each % 100}-b"
        frames += [
            message("operation:start", {"operation_id": one, "parent_id": other}),
            message("operation:start", {"operation_id": other, "parent_id": one}),
            message("operation:progress", {"operation_id": f"chain-{each}", "progress": each % 100}),
        ]
    _flood(target, frames)


@attack("many-names", "operations that end, each with a name and steps that no other has")
def publish_many_names(target: Target) -> None:
    numbers = count()
    peer = Peer(target.host, target.port, versioned=False)
    while not target.over():
        frames = []
        for number in (next(numbers) for _ in range(200)):
            key = {"operation_id": f"named-{number}"}
            frames += [
                message("operation:start", {**key, "name": f"name {number} " + "n" * 150, "total_steps": 3}),
                message("operation:progress", {**key, "progress": 50, "current_step": f"step {number} " + "s" * 150}),
                message("operation:complete", {**key, "duration_ms": number}),
            ]
        if peer.discard() < 0 or not peer.send(b"".join(frames)):
            return


@attack("restarts", "one operation that begins attempt after attempt, each with an end, and one step after the other")
def restart_one_operation(target: Target) -> None:
    frames = []
    for attempt in range(target.scaled(5_000)):
        key = {"operation_id": "restarting"}
        frames += [
            message("operation:start", {**key, "name": "restarting"}),
            message("operation:progress", {**key, "progress": 50, "current_step": f"step {attempt}"}),
            message("operation:failed", {**key, "code": f"c{attempt}", "message": "m" * 500, "recoverable": True}),
        ]
    _flood(target, frames)


@attack("alerts", "alerts with an id that no other has, that are never resolved")
def publish_alerts(target: Target) -> None:
    numbers = count()
    peer = Peer(target.host, target.port, versioned=False)
    while not target.over():
        data = [
            {
                "alert_id": f"alert-{next(numbers)}",
                "severity": "critical",
                "code": "c",
                "message": "m" * 1_000,
                "recoverable": False,
            }
            for _ in range(500)
        ]
        frames = b"".join(message("system:alert", each) for each in data)
        if peer.discard() < 0 or not peer.send(frames):
            return
