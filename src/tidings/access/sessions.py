"""The open sessions of a hub: whatever stays open for one subject, until its credential expires.

A session is asked for a new credential ahead of expiry, and ended at expiry.
"""

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Final, Protocol

import structlog

from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import AccessError, TokenExpired
from tidings.log.base import Scheduler

MAX_NOTICE_S: Final = 60.0
"""Longest time ahead of expiry at which a session is asked for a new credential, in seconds."""
_NOTICE_SHARE: Final = 5
"""A session is asked a fifth of the credential's life ahead of expiry, if that is shorter."""
_CLOCK_CHECK_S: Final = 1.0
"""Interval at which the wall clock is read while a session expires: it may be set."""
_SLICE: Final = 100
"""Sessions that are judged between two rounds of the event loop: a JWT costs 0.1 ms."""
_MAX_STALE: Final = 1_024
"""Superseded entries that the heap of expiries may hold in addition to as many as there are sessions."""

log = structlog.get_logger("tidings.access")


class AccessSession(Protocol):
    """Something that stays open for one subject: a WebSocket connection, an event stream, a request that waits."""

    credential: Credential
    """The credential that identified the subject; it is verified again when roles change."""
    request: AccessRequest

    @property
    def subject(self) -> Subject:
        """The subject, known since before the session was entered."""

    def reauthorized(self, subject: Subject) -> None:
        """Act on changed grants or another expiry of the same subject; `subject` is not replaced yet."""

    def expiring(self, deadline_s: float) -> None:
        """Ask for a new credential, because the present one expires in `deadline_s` seconds."""

    def ended(self, error: AccessError) -> None:
        """End: the credential has expired or was revoked. The session is left already."""


class OpenSessions:
    """The open sessions by number; a session gets another number with each credential.

    Args:
        wall_ns: Returns nanoseconds since 1970.
        scheduler: The event loop.
        end: Ends a session, and removes it.
    """

    def __init__(
        self, wall_ns: Callable[[], int], scheduler: Scheduler, end: Callable[[AccessSession, AccessError], None]
    ) -> None:
        self._wall_ns = wall_ns
        self._scheduler = scheduler
        self._end = end
        self._numbers = count()
        self._sessions: dict[int, AccessSession] = {}
        self._number_of: dict[AccessSession, int] = {}
        self._due: list[tuple[int, int]] = []
        """A heap of times in nanoseconds and numbers of sessions."""
        self._timer_runs = False

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, number: int) -> bool:
        return number in self._sessions

    def get(self, number: int) -> AccessSession | None:
        """Return the session with a number; None if it is not open any more, or has another number."""
        return self._sessions.get(number)

    def after(self, number: int) -> Iterator[tuple[int, AccessSession]]:
        """Yield the sessions with greater numbers, and these, in order."""
        for each, session in list(self._sessions.items()):
            if each > number:
                yield each, session

    def add(self, session: AccessSession) -> int:
        """Watch over the expiry of a session, and return its number."""
        number = next(self._numbers)
        self._sessions[number] = session
        self._number_of[session] = number
        expires_ns = session.subject.expires_ns
        if expires_ns is not None:
            heapq.heappush(self._due, (expires_ns - self._notice_ns(session.subject, expires_ns), number))
            self._start_timer()
        return number

    def remove(self, session: AccessSession) -> bool:
        """Forget a session; return whether it was open."""
        number = self._number_of.pop(session, None)
        if number is None:
            return False
        del self._sessions[number]
        if len(self._due) > 2 * len(self._sessions) + _MAX_STALE:
            self._due = [entry for entry in self._due if entry[1] in self._sessions]
            heapq.heapify(self._due)
        return True

    def visit(self, judge: Callable[[int, AccessSession], None], number: int | None = None) -> None:
        """Call `judge` with all sessions of now that are still open when it is their turn, in slices.

        Args:
            judge: Called with the number of a session, and the session.
            number: Number of the only session to visit, in the next round of the loop. Default: all.
        """
        if number is None:
            self._visit(list(self._sessions), judge, 0)
        else:
            self._scheduler.call_soon(partial(self._visit, [number], judge, 0))

    def _visit(self, numbers: list[int], judge: Callable[[int, AccessSession], None], start: int) -> None:
        for number in numbers[start : start + _SLICE]:
            session = self._sessions.get(number)
            if session is not None:
                judge(number, session)
        if start + _SLICE < len(numbers):
            self._scheduler.call_soon(partial(self._visit, numbers, judge, start + _SLICE))

    def _notice_ns(self, subject: Subject, expires_ns: int) -> int:
        began_ns = self._wall_ns() if subject.issued_ns is None else subject.issued_ns
        return max(0, min(int(MAX_NOTICE_S * 1e9), (expires_ns - began_ns) // _NOTICE_SHARE))

    def _start_timer(self) -> None:
        if self._timer_runs or not self._due:
            return
        self._timer_runs = True
        due_s = (self._due[0][0] - self._wall_ns()) / 1e9
        self._scheduler.call_later(min(max(due_s, 0.001), _CLOCK_CHECK_S), self._expire)

    def _expire(self) -> None:
        self._timer_runs = False
        now_ns = self._wall_ns()
        for _ in range(_SLICE):
            if not self._due or self._due[0][0] > now_ns:
                break
            _, number = heapq.heappop(self._due)
            session = self._sessions.get(number)
            if session is not None:
                self._remind(session, number, now_ns)
        self._start_timer()

    def _remind(self, session: AccessSession, number: int, now_ns: int) -> None:
        expires_ns = session.subject.expires_ns or now_ns
        if expires_ns <= now_ns:
            self._end(session, TokenExpired("the credential has expired"))
            return
        heapq.heappush(self._due, (expires_ns, number))
        guarded(partial(session.expiring, (expires_ns - now_ns) / 1e9))


def guarded(call: Callable[[], object]) -> None:
    """Call a session; its fault must not keep the others from theirs."""
    try:
        call()
    except Exception:
        log.exception("a session failed")
