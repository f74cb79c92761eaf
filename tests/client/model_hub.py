"""A hub without I/O: one log and one connection, for tests that drive a `Session` message by message."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from tidings.protocol.envelope import encode_message

STAMP = "2026-01-01T00:00:00Z"


def message(type: str, data: Any, *, reply_to: str | None = None) -> bytes:
    return encode_message(type, data, timestamp=STAMP, trace_id="t", reply_to=reply_to)


def established(*, heartbeat_s: float = 25.0, position: str = "e:0", auth: str = "none") -> bytes:
    return message(
        "connection:established",
        {
            "connection_id": "c",
            "contract": {"version": "2025-07-30", "hash": "sha256:0"},
            "position": position,
            "now": STAMP,
            "heartbeat_s": heartbeat_s,
            "channels": ["global", "operations", "data", "system"],
            "auth": auth,
        },
    )


def event(position: str, dataset: str = "d", version: int = 0, event_id: str | None = None) -> bytes:
    body = {
        "type": "data:update",
        "timestamp": STAMP,
        "trace_id": "t",
        "data": {"dataset": dataset, "version": version},
        "channel": "data",
        "position": position,
    }
    return msgspec.json.encode(body | ({} if event_id is None else {"event_id": event_id}))


def closed(code: int, *, reconnect: bool, retry_after_ms: int | None = None, reason: str = "why") -> bytes:
    data = {"code": code, "reason": reason, "reconnect": reconnect, "retry_after_ms": retry_after_ms}
    return message("connection:closed", data)


def auth_required(reason: str = "missing", deadline_s: float = 10.0) -> bytes:
    return message("auth:required", {"methods": ["token"], "reason": reason, "deadline_s": deadline_s})


def auth_success(subject: str = "ann", *, removed: Sequence[str] = (), expires_at: str | None = None) -> bytes:
    data = {"subject": subject, "grants": ["read data"], "expires_at": expires_at, "removed": list(removed)}
    return message("auth:success", data)


def auth_failed(code: str = "token_expired", reason: str = "the token has expired") -> bytes:
    return message("auth:failed", {"code": code, "message": reason, "recoverable": False, "hint": "Renew."})


class ModelHub:
    """The hub's side of PROTOCOL.md, without I/O; against the protocol, `resent` events come again at every resume."""

    def __init__(self, *, resent: int = 0) -> None:
        self.log: list[tuple[str, int, str]] = []
        """(dataset, version, event_id) by offset from 1."""
        self.resent = resent
        self.toward_client: deque[bytes] = deque()
        self._cursor: int | None = None

    def append(self, dataset: str, version: int, event_id: str = "") -> int:
        """Store an event, once for each event id, and send it to a live client; return its offset."""
        if event_id:
            for offset, (_, _, known) in enumerate(self.log, 1):
                if known == event_id:
                    return offset
        self.log.append((dataset, version, event_id))
        if self._cursor is not None:
            self._send(len(self.log))
        return len(self.log)

    def connect(self) -> None:
        """Greet a new connection; messages not delivered on the last one are lost."""
        self.toward_client.clear()
        self._cursor = None
        self.toward_client.append(established(position=f"e:{len(self.log)}"))

    def receive(self, body: bytes) -> None:
        """Handle one message of the client."""
        command = msgspec.json.decode(body)
        if command["type"] == "channel:subscribe":
            self._subscribe(command["id"], command["data"].get("since", "snapshot"))
        elif command["type"] == "data:update":
            data = command["data"]
            before = len(self.log)
            offset = self.append(data["dataset"], data["version"], command["event_id"])
            answer = {"position": f"e:{offset}", "duplicate": offset <= before}
            accepted = message("event:accepted", answer, reply_to=command["id"])
            # An acknowledgement precedes the event's own delivery.
            if offset > before and self._cursor is not None:
                self.toward_client.insert(len(self.toward_client) - 1, accepted)
            else:
                self.toward_client.append(accepted)
        else:
            raise AssertionError(command)

    def beat(self) -> None:
        """Send the heartbeat of a live connection."""
        if self._cursor is not None:
            data = {"position": f"e:{len(self.log)}", "now": STAMP}
            self.toward_client.append(message("connection:position", data))

    def _subscribe(self, id: str, since: str) -> None:
        head = len(self.log)
        if since == "snapshot":
            newest = {dataset: offset for offset, (dataset, _, _) in enumerate(self.log, 1)}
            offsets, outcome, position = sorted(newest.values()), "snapshot", head
        else:
            after = {"now": head, "first": 0}.get(since)
            outcome = "live" if since == "now" else "complete"
            position = int(since.partition(":")[2]) if after is None else after
            first = position + 1 - (self.resent if after is None else 0)
            offsets = list(range(max(1, first), head + 1))
        answer = {"channels": ["data", "global"], "position": f"e:{position}", "outcome": outcome}
        self.toward_client.append(message("channel:subscribed", answer, reply_to=id))
        for offset in offsets:
            self._send(offset)
        live = {"channels": ["data", "global"], "position": f"e:{head}"}
        self.toward_client.append(message("channel:live", live))
        self._cursor = head

    def _send(self, offset: int) -> None:
        dataset, version, event_id = self.log[offset - 1]
        self.toward_client.append(event(f"e:{offset}", dataset, version, event_id or None))
