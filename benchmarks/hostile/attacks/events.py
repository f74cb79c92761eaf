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
