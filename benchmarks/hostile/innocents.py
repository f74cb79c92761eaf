"""Innocent clients beside an attack: what they wait for their acknowledgements and events, on a clock of their own.

The publisher is an open loop: an event is due every 10 ms whatever the hub does, and its times count from the moment it
was due, so that a hub that stands still for a second is seen by the hundred events that were due in it.
"""

import json
import math
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any, Self

from benchmarks.hostile.peer import TEXT, Peer, message

INTERVAL_S = 0.01
POST_INTERVAL_S = 0.25
DATASET = "innocent"
PATIENCE_S = 60.0
"""Time that is waited, after the last event, for what is still missing."""


@dataclass(slots=True)
class Waits:
    """What innocent clients waited, in seconds."""

    accepted: list[float] = field(default_factory=list)
    """From the moment an event was due to its acknowledgement."""
    delivered: list[float] = field(default_factory=list)
    """From the moment an event was due to its delivery to a subscriber."""
    posted: list[float] = field(default_factory=list)
    """Of a post over a new connection, which everyone who joins is like."""
    lost: int = 0
    """Events, acknowledgements and posts that never arrived, or were refused."""


def percentile(readings: Sequence[float], share: float) -> float:
    """Return the reading that a share of all readings does not exceed; infinity without readings."""
    if not readings:
        return math.inf
    return sorted(readings)[min(len(readings) - 1, math.ceil(share * len(readings)) - 1)]


class Innocents:
    """A publisher, a subscriber and a poster, each on its own thread, from `with` to `finish`.

    Args:
        host: The hub's host.
        port: Its port.
        token: Their token; "" where the hub asks for none.
    """

    def __init__(self, host: str, port: int, *, token: str = "") -> None:
        self._host = host
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._publisher = Peer(host, port, token=token)
        self._subscriber = Peer(host, port, query=f"channel=data/{DATASET}", token=token)
        self._due: list[float] = []
        self._accepted: dict[int, float] = {}
        self._delivered: dict[int, float] = {}
        self._posts: list[tuple[float, float | None]] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=run, daemon=True) for run in (self._publish, self._subscribe, self._post)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._publisher.close()
        self._subscriber.close()

    def finish(self, began: float, ended: float) -> Waits:
        """Stop, wait for what is missing, and return the waits of what was due between two moments of `monotonic`."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return self.waits(began, ended)

    def waits(self, began: float, ended: float) -> Waits:
        """Return the waits of what was due between two moments of `monotonic`; after `finish`."""
        waits = Waits()
        for number, due in enumerate(list(self._due)):
            if began <= due <= ended:
                for arrived, readings in ((self._accepted, waits.accepted), (self._delivered, waits.delivered)):
                    if number in arrived:
                        readings.append(arrived[number] - due)
                    else:
                        waits.lost += 1
        for due, wait in self._posts:
            if began <= due <= ended:
                if wait is None:
                    waits.lost += 1
                else:
                    waits.posted.append(wait)
        return waits

    def _missing(self, arrived: dict[int, float]) -> bool:
        return len(arrived) < len(self._due)

    def _publish(self) -> None:
        peer, waiting = self._publisher, b""
        due = time.monotonic()
        give_up = math.inf
        try:
            while time.monotonic() < give_up:
                now = time.monotonic()
                if self._stopping.is_set():
                    give_up = min(give_up, now + PATIENCE_S)
                    if not self._missing(self._accepted):
                        return
                while not self._stopping.is_set() and due <= now:
                    number = len(self._due)
                    self._due.append(due)
                    waiting += message("data:update", {"dataset": DATASET, "version": number}, id=str(number))
                    due += INTERVAL_S
                if waiting:
                    waiting = waiting[max(0, peer.send_some(waiting)) :]
                pause = max(0.0, min(INTERVAL_S, due - time.monotonic()))
                if select.select([peer], [], [], pause)[0]:
                    self._note(peer, "event:accepted", self._accepted)
        except (OSError, ValueError):
            return

    def _subscribe(self) -> None:
        give_up = math.inf
        try:
            while time.monotonic() < give_up:
                if self._stopping.is_set():
                    give_up = min(give_up, time.monotonic() + PATIENCE_S)
                    if not self._missing(self._delivered):
                        return
                if select.select([self._subscriber], [], [], 0.1)[0]:
                    self._note(self._subscriber, "data:update", self._delivered)
        except (OSError, ValueError):
            return

    @staticmethod
    def _note(peer: Peer, type: str, arrived: dict[int, float]) -> None:
        frames = peer.available()
        now = time.monotonic()
        for opcode, payload in frames:
            envelope: dict[str, Any] = json.loads(payload) if opcode == TEXT else {}
            if envelope.get("type") == type:
                number = envelope["data"]["version"] if type == "data:update" else int(envelope["reply_to"])
                arrived.setdefault(number, now)

    def _post(self) -> None:
        body = json.dumps({"type": "data:update", "data": {"dataset": "posted", "version": 1}})
        while not self._stopping.wait(POST_INTERVAL_S):
            due = time.monotonic()
            connection = HTTPConnection(self._host, self._port, timeout=PATIENCE_S)
            try:
                connection.request("POST", "/v1/events", body, self._headers)
                answer = connection.getresponse()
                answer.read()
                self._posts.append((due, time.monotonic() - due if answer.status == 200 else None))
            except (OSError, HTTPException):
                self._posts.append((due, None))
            finally:
                connection.close()
