"""Turns of HTTP connections with large segments, so that many of them do not stop delivery.

The event loop hands over up to 256 KiB of each readable socket in one turn. A segment of 2 KiB holds 65 pipelined
requests, which take 3 ms; of 100 connections that send such segments, all would be parsed before anything else ran.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

LARGE_BYTES: Final = 2_048
"""Size from which a segment needs a turn. Most requests are smaller, and cost nothing here."""
LARGE_SEGMENTS: Final = 8
"""Large segments that are parsed in one turn of the event loop: at most 25 ms of pipelined heads, or 2 MiB of bodies,
which take 3 ms."""
MAX_WAITING_BYTES: Final = 32 << 20
"""Size of all segments that wait. Beyond it they are parsed without a turn, so that what is over a limit is refused."""


class WaitingConnection(Protocol):
    """A connection with a segment that waits for its turn."""

    def parse_waiting(self) -> int:
        """Parse what has arrived since the connection began to wait, and return its size in bytes."""


class SegmentTurns:
    """The turns of all HTTP connections of a server; in the order in which they began to wait."""

    def __init__(self) -> None:
        self._left = LARGE_SEGMENTS
        self._waiting: deque[WaitingConnection] = deque()
        self._waiting_bytes = 0
        self._renewal_due = False

    def take(self, connection: WaitingConnection, size: int) -> bool:
        """Return whether a connection may parse a segment of `size` bytes now; if not, it waits.

        A connection that waits must not ask again, but `add` what arrives.
        """
        if not self._renewal_due:
            self._renewal_due = True
            asyncio.get_running_loop().call_soon(self._renew)
        if self._waiting_bytes + size > MAX_WAITING_BYTES:
            return True
        if self._left and not self._waiting:
            self._left -= 1
            return True
        self._waiting.append(connection)
        self._waiting_bytes += size
        return False

    def add(self, size: int) -> None:
        """Count `size` more bytes of a connection that waits."""
        self._waiting_bytes += size

    def discard(self, size: int) -> None:
        """Uncount `size` bytes of a connection that does not wait for its turn to parse them."""
        self._waiting_bytes -= size

    def _renew(self) -> None:
        self._left = LARGE_SEGMENTS
        while self._waiting and self._left:
            self._left -= 1
            self._waiting_bytes -= self._waiting.popleft().parse_waiting()
        self._renewal_due = bool(self._waiting)
        if self._renewal_due:
            asyncio.get_running_loop().call_soon(self._renew)
