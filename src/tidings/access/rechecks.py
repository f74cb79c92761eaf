"""Identifies the senders of open sessions again, one after the other: nothing reports that someone has signed out."""

from collections import deque
from collections.abc import Callable, Sized
from itertools import islice
from typing import Final

from tidings.log.base import Scheduler

_CHECK_S: Final = 1.0
"""Interval at which senders are identified again whose time has come."""
_SHARE: Final = 30
"""Part of the sessions whose senders are identified again in one such interval: for 10,000 sessions, a server gets 333
requests a second after a restart of the hub, and not all of them together."""
_MIN_BATCH: Final = 100
"""Sessions of one such interval where there are few."""
_RETRIES: Final = 50
"""Sessions that could not be verified, and are tried again in one such interval, beside those whose time has come."""


class Rechecks:
    """The times at which the senders of sessions are identified again.

    Args:
        interval_s: Time between two identifications of one sender, in seconds.
        wall_ns: Returns nanoseconds since 1970.
        scheduler: The event loop.
        sessions: All open sessions, which are counted.
        verify: Identifies the sender of the session with a number again; returns whether the session is open.
    """

    def __init__(
        self,
        interval_s: float,
        *,
        wall_ns: Callable[[], int],
        scheduler: Scheduler,
        sessions: Sized,
        verify: Callable[[int], bool],
    ) -> None:
        self._interval_ns = int(interval_s * 1e9)
        self._wall_ns = wall_ns
        self._scheduler = scheduler
        self._sessions = sessions
        self._verify = verify
        self._due: deque[tuple[int, int]] = deque()
        """Times in nanoseconds, and numbers of sessions."""
        self._unverified: dict[int, None] = {}
        """Numbers of sessions that could not be verified when it was their turn."""
        self._timer_runs = False

    def add(self, number: int) -> None:
        """Identify the sender of a session again, for as long as it is open."""
        self._due.append((self._wall_ns() + self._interval_ns, number))
        self._start_timer()

    def retry(self, number: int) -> None:
        """Identify the sender of a session again soon, because it could not be verified."""
        self._unverified[number] = None
        self._start_timer()

    def _start_timer(self) -> None:
        if not self._timer_runs and (self._due or self._unverified):
            self._timer_runs = True
            self._scheduler.call_later(_CHECK_S, self._check)

    def _check(self) -> None:
        """Identify the senders again whose time has come: some in each interval, so that all have their turn."""
        self._timer_runs = False
        for number in list(islice(self._unverified, _RETRIES)):
            del self._unverified[number]
            self._verify(number)
        now_ns = self._wall_ns()
        for _ in range(max(_MIN_BATCH, len(self._sessions) // _SHARE)):
            # A time that is further ahead than the interval was noted before the clock was set back.
            if not self._due or now_ns < self._due[0][0] <= now_ns + self._interval_ns:
                break
            _, number = self._due.popleft()
            if self._verify(number):
                self._due.append((now_ns + self._interval_ns, number))
        self._start_timer()
