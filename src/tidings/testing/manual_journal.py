"""A journal on a manual clock, with the faults of real engines: it loses, doubles, delays and reorders entries.

The faults are drawn from a seed, so that a failed run can be repeated.
"""

import random
from collections.abc import Callable

from tidings.exceptions import LogError, LogUnavailable
from tidings.log.journal.base import JournalEntry, JournalState, LossReason, Lost, Receive
from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop

MAX_BODY_BYTES = 1 << 20


class ManualEngine:
    """The engine behind all `ManualJournal`s of a test: the entries, and the faults.

    Args:
        loop: The loop of the test.
        clock: Its clock, which also dates the entries.
        seed: The seed of the faults.
        lost: Share of the appends that store nothing, 0 to 1.
        doubled: Share of the others that store their entry twice.
        max_delay_s: Maximum time until a copy is stored, and until a follower receives it. With a delay, two appends
            may be stored in another order. Default: no delay.
    """

    def __init__(
        self,
        loop: ManualLoop,
        clock: ManualClock,
        *,
        seed: int = 0,
        lost: float = 0.0,
        doubled: float = 0.0,
        max_delay_s: float = 0.0,
    ) -> None:
        self.lost = lost
        self.doubled = doubled
        self.max_delay_s = max_delay_s
        self.append_failure: LogError | None = None
        """The error with which every append fails; None for none."""
        self.entries: list[JournalEntry] = []
        """The entries that are not trimmed."""
        self._last = 0
        self._loop = loop
        self._clock = clock
        self._random = random.Random(seed)
        self._journals: list[ManualJournal] = []

    def open(self) -> "ManualJournal":
        """Return the journal as one process sees it."""
        journal = ManualJournal(self)
        self._journals.append(journal)
        return journal

    def state(self) -> JournalState:
        """Return the range of entries."""
        return JournalState(self.entries[0].seq if self.entries else self._last + 1, self._last)

    def copies(self) -> int:
        """Return how many times the next append stores its entry."""
        if self._random.random() < self.lost:
            return 0
        return 2 if self._random.random() < self.doubled else 1

    def later(self, callback: Callable[[], object]) -> None:
        """Call `callback` after a random delay, and never within this call."""
        if self.max_delay_s:
            self._loop.call_later(self._random.uniform(0, self.max_delay_s), callback)
        else:
            self._loop.call_soon(callback)

    def store(self, body: bytes) -> None:
        """Store an entry, and let all followers receive it."""
        self._last += 1
        self.entries.append(JournalEntry(self._last, self._clock.wall_ns(), body))
        for journal in self._journals:
            journal.wake()

    def after(self, seq: int) -> list[JournalEntry]:
        """Return the entries after a sequence, oldest first."""
        return self.entries[max(0, seq + 1 - self.state().first) :]

    def trim(self, until: int) -> None:
        """Delete all entries up to a sequence."""
        self.entries = self.after(until)

    def rewind(self, last: int) -> None:
        """Put back an older copy, which ends at a sequence."""
        self.entries = [entry for entry in self.entries if entry.seq <= last]
        self._last = last
        for journal in self._journals:
            journal.wake()

    def forget(self, journal: "ManualJournal") -> None:
        """Wake a journal no more."""
        self._journals.remove(journal)


class ManualJournal:
    """A `tidings.log.journal.base.Journal` of a `ManualEngine`, for one process.

    Args:
        engine: The engine.
    """

    max_bytes = MAX_BODY_BYTES

    def __init__(self, engine: ManualEngine) -> None:
        self.failure: LogError | None = None
        self._engine = engine
        self._away = False
        self._held: list[bytes] = []
        """Entries that were appended while the process was away: they are sent later, as a client's buffer is."""
        self._place = 0
        self._receive: Receive | None = None
        self._lost: Lost = _ignore_loss
        self._woken = False
        self._paused = False
        self._closed = False

    # Faults.

    def leave(self) -> None:
        """Cut the connection to the engine: nothing is stored or received until `come_back`."""
        self._away = True

    def come_back(self) -> None:
        """Restore the connection. Everything that was appended in the meantime is stored now: late."""
        self._away = False
        held, self._held = self._held, []
        for body in held:
            self._send(body)
        self.wake()

    # The port.

    def append(self, body: bytes) -> None:
        """See `Journal.append`."""
        if self._closed:
            self.failure = LogUnavailable("the journal is closed")
        elif len(body) > self.max_bytes:
            self.failure = LogUnavailable(f"the entry has {len(body)} bytes; {self.max_bytes} are allowed")
        elif self._away:
            self._held.append(body)
        else:
            self._send(body)

    def _send(self, body: bytes) -> None:
        self.failure = self._engine.append_failure
        if self.failure is None:
            for _ in range(self._engine.copies()):
                self._engine.later(lambda: self._engine.store(body))

    def follow(self, after: int, receive: Receive, lost: Lost) -> None:
        """See `Journal.follow`."""
        self._place = after
        self._paused = False
        self._receive = receive
        self._lost = lost
        self.wake()

    def pause(self) -> None:
        """See `Journal.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Journal.resume`."""
        self._paused = False
        self.wake()

    def wake(self) -> None:
        """Read what is new, after a random delay."""
        if not self._woken and self._receive is not None:
            self._woken = True
            self._engine.later(self._read)

    def _read(self) -> None:
        self._woken = False
        receive = self._receive
        if receive is None or self._away or self._paused:
            return
        state = self._engine.state()
        if state.last < self._place:
            self._lose(LossReason.REWRITTEN, f"the journal ends at {state.last}, before {self._place}")
        elif state.first > self._place + 1:
            self._lose(LossReason.TRIMMED, f"the entries from {self._place + 1} to {state.first - 1} were trimmed")
        elif entries := self._engine.after(self._place):
            self._place = state.last
            receive(entries)

    def _lose(self, reason: LossReason, text: str) -> None:
        self._receive = None
        self._lost(reason, LogUnavailable(text))

    async def look(self) -> JournalState:
        """See `Journal.look`."""
        self._check()
        return self._engine.state()

    async def entry(self, seq: int) -> JournalEntry | None:
        """See `Journal.entry`."""
        self._check()
        return next((entry for entry in self._engine.entries if entry.seq == seq), None)

    async def trim(self, until: int) -> None:
        """See `Journal.trim`."""
        self._check()
        self._engine.trim(until)

    def _check(self) -> None:
        if self._away or self._closed:
            raise LogUnavailable("the engine cannot be reached")

    def close(self) -> None:
        """See `Journal.close`."""
        if not self._closed:
            self._closed = True
            self._receive = None
            self._engine.forget(self)


def _ignore_loss(reason: LossReason, error: LogError) -> None:
    """Do nothing: before the first `follow`."""
