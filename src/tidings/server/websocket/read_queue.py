"""Gives every connection its turn: one that sends at full speed must not delay the others.

Event loops read one socket many times a round (uvloop up to 32 times, 250 KB each), and hand over each segment
immediately. A turn delivers the messages of a segment for a bounded time, and a round of the loop has turns for a
bounded time. The rest waits here, in two queues as in fair queuing (RFC 8290, section 4.1): connections with a
short segment come before those with more than a turn's work, and among them the shortest first. If short segments fill
the rounds, some rounds begin with a long one, so that each connection gets as much time as the others.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from time import perf_counter
from typing import Final, Protocol

logger = logging.getLogger(__name__)

TURN_S: Final = 0.01
"""Seconds of one turn: a publisher's whole window of 1,000 events."""

ROUND_S: Final = 0.01
"""Seconds of turns in one round of the event loop, after which no other turn begins. From an event of a publisher to
its subscribers it takes up to five rounds."""

SHORT_BYTES: Final = 32_768
"""Unread bytes up to which a connection comes before those that send much: about a turn's work, and two seconds of a
publisher with 100 events per second. With a lower bound, a publisher that was late once would have to share with those
that send at full speed from then on."""

BYTES_PER_ROUND: Final = 16
"""Size of a segment that is as urgent as one which has waited for a round longer and is that much longer: 300 clients
with 9 KB of commands each (10 ms of work) do not delay one event, and wait 6 s longer than it at most."""


class ReadingConnection(Protocol):
    """A connection with bytes that were received and not yet read."""

    def unread_bytes(self) -> int:
        """Return the number of bytes that were received and not yet read."""

    def take_turn(self, deadline: float) -> bool:
        """Deliver messages until `deadline`, on the clock of `perf_counter`; return whether more are left.

        If none are, the transport receives bytes again.
        """

    def pause_transport(self) -> None:
        """Leave the peer's bytes in the kernel until a turn has delivered everything."""


class ReadQueue:
    """The connections of one server that wait for their turn.

    Args:
        clock: Seconds of a clock that never goes back; `take_turn` reads `perf_counter`.
    """

    __slots__ = ("_clock", "_count", "_long", "_owed_s", "_renewal_due", "_short", "_spent_s", "rounds")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._short: list[tuple[int, int, ReadingConnection]] = []
        """A heap of connections by the round and size of their segments, and by a number."""
        self._count = 0
        """Connections that were put into the heap so far."""
        self._long: deque[ReadingConnection] = deque()
        self._owed_s = 0.0
        """Seconds of turns that `_long` has yet to get for the rounds that `_short` filled."""
        self._spent_s = 0.0
        self._renewal_due = False
        self.rounds = 0
        """Rounds of the loop with turns, for tests that count."""

    def run(self, connection: ReadingConnection) -> None:
        """Give `connection` a turn: now if this round has time left, else later, with its transport paused.

        It must not be waiting already.
        """
        if self._spent_s < ROUND_S and not self._short and self._take_turn(connection):
            return
        connection.pause_transport()
        self._renew_soon()
        size = connection.unread_bytes()
        if size > SHORT_BYTES:
            self._long.append(connection)
        else:
            self._count += 1
            heappush(self._short, (self.rounds + size // BYTES_PER_ROUND, self._count, connection))

    def _take_turn(self, connection: ReadingConnection) -> bool:
        """Give `connection` a turn; return whether nothing is left."""
        self._renew_soon()
        began = self._clock()
        try:
            left = connection.take_turn(began + TURN_S)
        except Exception:  # one connection's fault must not stop the turns of the others
            logger.exception("reading from a connection failed")
            left = False
        self._spent_s += self._clock() - began
        return not left

    def _renew_soon(self) -> None:
        if not self._renewal_due:
            self._renewal_due = True
            asyncio.get_running_loop().call_soon(self._renew)

    def _renew(self) -> None:
        self._renewal_due = False
        self._spent_s = 0.0
        self.rounds += 1
        if self._owed_s > 0.0 and self._long:
            self._take_long_turn()
            self._owed_s -= self._spent_s
        began_s, short = self._spent_s, len(self._short)
        # Each waits for one turn: what a connection has left after it waits behind all others.
        for _ in range(short + len(self._long)):
            if self._spent_s >= ROUND_S:
                self._renew_soon()
                break
            if self._short:
                self._take_short_turn()
            else:
                self._take_long_turn()
        if self._short and self._long:
            # Each long one is owed as much as each short one got.
            owed_s = (self._spent_s - began_s) * len(self._long) / max(short, 1)
            self._owed_s = min(self._owed_s + owed_s, ROUND_S)
        else:
            self._owed_s = 0.0

    def _take_short_turn(self) -> None:
        connection = heappop(self._short)[-1]
        if not self._take_turn(connection):
            self._long.append(connection)

    def _take_long_turn(self) -> None:
        connection = self._long.popleft()
        if not self._take_turn(connection):
            self._long.append(connection)
