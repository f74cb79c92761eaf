"""Catching up: subscribers behind the head read themselves forward in small steps.

Joining, resuming and having been too slow all end here (ARCHITECTURE.md, "Live, buffered, behind"). Subscribers of one
lane at the same offset share one read, and the cache keeps what was read for others that reach the same offset. A round
has a time budget, after which live delivery has its turn.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from functools import partial
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from tidings.exceptions import LogError
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.frame_run import FrameRun, write_run
from tidings.hub.lanes import Subscriber, SubscriberState
from tidings.hub.ring import Ring
from tidings.hub.wire import WireForm
from tidings.log.base import Log, Page, Query, Scheduler
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import NO_PATHS, PathSet

UNBOUNDED = 1 << 62
"""An end of a read that is greater than any offset."""
_MAX_CACHE_BYTES = 4 << 20
"""Memory of the reads in the cache: 64 reads of 64 KiB each."""
_MAX_CACHE_AGE_S = 1.0
"""How long a read stays usable: a `latest` event in it may have been superseded since."""
_ALIGNMENT = 256
"""Offsets between the places at which a page that many subscribers share may begin."""
_MAX_RING_ENTRIES = 512
"""Entries of the ring examined in one read."""
_RETRY_S = 1.0
"""Delay before a failed read is tried again."""

log = structlog.get_logger("tidings.hub.catchup")


# The cache.


class CachedRead(Struct, frozen=True):
    """The result of one read, ready to be written."""

    run: FrameRun
    scanned: int
    """Offset up to which it read: `ReadKey.until`, or less where it was full before."""
    read_at: float
    """When it was read, in seconds of the monotonic clock."""


class ReadKey(Struct, frozen=True):
    """The parameters of a read: equal keys have equal results."""

    form: WireForm
    paths: PathSet
    excluded: PathSet
    after: int
    until: int
    newest_only: bool


class ReadCache:
    """The most recent reads, by their key."""

    def __init__(self) -> None:
        self._reads: OrderedDict[ReadKey, CachedRead] = OrderedDict()
        self._bytes = 0

    def find(self, key: ReadKey, now: float) -> CachedRead | None:
        """Return the cached result for `key`, unless it is too old at `now`, in seconds of the monotonic clock."""
        for candidate in (key,) if key.newest_only else (key, _without_end(key)):
            read = self._reads.get(candidate)
            if read is not None and read.scanned <= key.until:
                if now - read.read_at < _MAX_CACHE_AGE_S:
                    self._reads.move_to_end(candidate)
                    return read
                self._remove(candidate)
        return None

    def add(self, key: ReadKey, read: CachedRead) -> None:
        """Cache the result for `key`."""
        # A read that was full before its end is the same for subscribers that read further. A snapshot is not: it would
        # bring an alert that has been cleared since, without the event that cleared it.
        key = _without_end(key) if read.scanned < key.until and not key.newest_only else key
        self._remove(key)
        self._reads[key] = read
        self._bytes += read.run.memory
        while self._bytes > _MAX_CACHE_BYTES:
            self._remove(next(iter(self._reads)))

    def _remove(self, key: ReadKey) -> None:
        read = self._reads.pop(key, None)
        if read is not None:
            self._bytes -= read.run.memory


def alignment_cut(page: Page, until: int) -> int:
    """Return the offset at which to cut a page that was read up to `until`, so that reads from other offsets meet it.

    Cursors that come from different offsets would never read the same pages otherwise. A page that is not full ends at
    `until`. A full page ends at that offset of its last quarter which the most powers of two divide; neighbours mostly
    have that offset in common. Where 600 events fit, cursors from 0 and from 37 meet at 512.
    """
    if page.scanned >= until or not page.records:
        return page.scanned
    before = page.records[len(page.records) * 3 // 4].offset
    bits = max((before ^ page.scanned).bit_length() - 1, 0)
    return page.scanned >> bits << bits


def next_alignment(after: int) -> int:
    """Return how far a cursor at `after` may read: without bound from an aligned offset, else to the next aligned one.

    So a page that only one subscriber needs is short.
    """
    return after + _ALIGNMENT - after % _ALIGNMENT if after % _ALIGNMENT else UNBOUNDED


def _without_end(key: ReadKey) -> ReadKey:
    """Return the key that stands for all reads with the same beginning, whatever their end."""
    return ReadKey(key.form, key.paths, key.excluded, key.after, -1, False)


# The subscribers.


class CompletedRead(Struct):
    """A read of the log that has arrived, and the subscribers that have not received it yet."""

    key: ReadKey
    read: CachedRead
    waiting: deque[Subscriber]
    current: Subscriber | None = None
    """The subscriber whose turn it is, or was last."""


class LiveSet(Protocol):
    """The part of the hub's delivery that catching up depends on."""

    delivered: int
    """Offset up to which live subscribers have been written to."""

    def join(self, subscriber: Subscriber) -> None:
        """Take `subscriber`, which has read up to its goal, into the live set."""

    def goal(self, subscriber: Subscriber) -> int:
        """Return the offset up to which `subscriber` reads before it can join its lane."""


class Catchup:
    """All subscribers of a hub that are behind the head."""

    def __init__(
        self, live_set: LiveSet, event_log: Log, ring: Ring, scheduler: Scheduler, clock: Clock, config: HubConfig
    ) -> None:
        self._live_set = live_set
        self._log = event_log
        self._ring = ring
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._ready: deque[Subscriber | ReadKey | CompletedRead] = deque()
        """Turns of the coming rounds: a subscriber to advance, a read to start, or a read to hand out."""
        self._cache = ReadCache()
        self._reading: dict[ReadKey, list[Subscriber]] = {}
        """Subscribers that wait for a read of the log."""
        self._scheduled = False
        self.reads = 0
        """Reads of the log and of the ring so far."""
        self.writes = 0
        """Chunks written so far."""

    def __len__(self) -> int:
        ready = sum(isinstance(turn, Subscriber) for turn in self._ready)
        arrived = sum(len(turn.waiting) for turn in self._ready if isinstance(turn, CompletedRead))
        return ready + arrived + sum(map(len, self._reading.values()))

    def add(self, subscriber: Subscriber) -> None:
        """Give `subscriber` its turn, unless it has one already or its outlet takes nothing now."""
        if (
            subscriber.queued
            or subscriber.reading
            or subscriber.blocked
            or subscriber.state is not SubscriberState.CATCHING_UP
        ):
            return
        subscriber.queued = True
        self._ready.append(subscriber)
        self._schedule()

    def read_ring(self, key: ReadKey) -> CachedRead | None:
        """Return the result for `key` from the ring, or None where the ring does not hold all of it."""
        if key.after < self._ring.floor or key.newest_only:
            return None
        self.reads += 1
        frames: list[bytes] = []
        offsets: list[int] = []
        size = 0
        matches = key.paths.matcher()
        excludes = key.excluded.matcher()
        newest = self._log.newest
        entries = self._ring.after(key.after, key.paths, _MAX_RING_ENTRIES)
        scanned = entries[-1].offset if len(entries) == _MAX_RING_ENTRIES else key.until
        for entry in entries:
            offset = entry.record.offset
            if offset > key.until:
                break
            event = entry.record.event
            if not matches(event.channel, event.key) or excludes(event.channel, event.key):
                continue
            if event.event_class is EventClass.LATEST and newest.is_superseded(offset, event):
                continue
            frame = self._ring.frame(entry, key.form)
            frames.append(frame)
            offsets.append(offset)
            size += len(frame)
            if size >= self._config.catchup_bytes:
                scanned = offset
                break
        run = FrameRun(b"".join(frames), map(len, frames), offsets, key.after)
        read = CachedRead(run, min(scanned, key.until), self._clock.monotonic())
        self._cache.add(key, read)
        return read

    def _schedule(self) -> None:
        if not self._scheduled and self._ready:
            self._scheduled = True
            self._scheduler.call_soon(self._round)

    def _round(self) -> None:
        self._scheduled = False
        deadline = self._clock.monotonic() + self._config.catchup_budget_s
        ready = self._ready
        while ready:
            turn = ready.popleft()
            try:
                self._take_turn(turn)
            except Exception:  # one subscriber's fault must not stop the others
                log.exception("catching up failed")
                self._retry(turn)
            if self._clock.monotonic() >= deadline:
                break
        self._schedule()

    def _take_turn(self, turn: Subscriber | ReadKey | CompletedRead) -> None:
        if isinstance(turn, Subscriber):
            turn.queued = False
            if turn.state is SubscriberState.CATCHING_UP and not turn.blocked:
                self._advance(turn)
        elif isinstance(turn, ReadKey):
            self._start_read(turn)
        else:
            self._hand_out(turn)

    def _retry(self, turn: Subscriber | ReadKey | CompletedRead) -> None:
        """Give the subscribers of a turn that failed another one later; one whose outlet has closed needs none."""
        if isinstance(turn, Subscriber):
            subscribers = [turn]
        elif isinstance(turn, ReadKey):
            subscribers = self._reading.pop(turn, [])
        else:
            subscribers = [turn.current] if turn.current is not None else []
        self._retry_all(subscribers)

    def _retry_all(self, subscribers: Iterable[Subscriber]) -> None:
        for subscriber in subscribers:
            subscriber.reading = False
            self._scheduler.call_later(_RETRY_S, partial(self.add, subscriber))

    def _advance(self, subscriber: Subscriber) -> None:
        """Read `subscriber` one chunk forward, or end a range of its backlog, or let it join its lane."""
        while subscriber.backlog:
            current = subscriber.backlog[0]
            if current.paths and current.after < current.until:
                self._read(self._next_read(subscriber), subscriber)
                return
            del subscriber.backlog[0]
            current.on_done(current.until)
            if subscriber.blocked or subscriber.state is not SubscriberState.CATCHING_UP:
                return
        goal = self._live_set.goal(subscriber)
        if subscriber.paths and subscriber.offset < goal:
            self._read(self._next_read(subscriber), subscriber)
        else:
            subscriber.offset = max(subscriber.offset, goal)
            self._live_set.join(subscriber)

    def _end(self, subscriber: Subscriber) -> int:
        """Return the offset up to which `subscriber` reads before its backlog changes or it joins its lane."""
        return subscriber.backlog[0].until if subscriber.backlog else self._live_set.goal(subscriber)

    def _next_read(self, subscriber: Subscriber) -> ReadKey:
        key = _read_key(subscriber, self._end(subscriber))
        floor = self._ring.floor
        if key.newest_only or key.after >= floor:
            return key
        # The log is read only to where the ring begins. The rest is cheaper there, and the last read of the log is the
        # same for all subscribers, whenever each came. The first read is short, and ends where all others end.
        return replace(key, until=min(key.until, floor, next_alignment(key.after)))

    def _report_gap(self, key: ReadKey, subscriber: Subscriber) -> None:
        """Report to `subscriber` the range that was trimmed before it was read."""
        # Reading goes on from the same place: what is left of the gap is the newest event of each key, in log order.
        # A snapshot has no gaps, and the ring may still hold events that the log has trimmed.
        if key.newest_only or key.after >= self._ring.floor:
            return
        until = self._log.trimmed(key.after, key.paths)
        cursor = subscriber.backlog[0] if subscriber.backlog else subscriber
        if until is not None and until > cursor.gap_until:
            after = max(key.after, cursor.gap_until)
            cursor.gap_until = until
            subscriber.on_gap(self._log.position(after), self._log.position(until), "trimmed")

    def _read(self, key: ReadKey, subscriber: Subscriber) -> None:
        self._report_gap(key, subscriber)
        read = self._cache.find(key, self._clock.monotonic()) or self.read_ring(key)
        if read is not None:
            self._deliver(subscriber, read)
            return
        subscriber.reading = True
        waiting = self._reading.get(key)
        if waiting is not None:
            waiting.append(subscriber)
            return
        self._reading[key] = [subscriber]
        # After the subscribers that are ready now: those at the same offset then wait for the same read.
        self._ready.append(key)

    def _start_read(self, requested: ReadKey) -> None:
        """Read the log for all that wait for `requested`, as far as all of them may go by now."""
        ends = (
            self._next_read(subscriber).until
            for subscriber in self._reading[requested]
            if _is_next_read(requested, subscriber)
        )
        key = replace(requested, until=min(ends, default=requested.until))
        self.reads += 1
        query = Query(
            after=key.after,
            until=key.until,
            paths=key.paths,
            excluded=key.excluded,
            newest_only=key.newest_only,
            max_bytes=self._config.catchup_bytes,
        )
        self._log.read(query, partial(self._complete_read, requested, key))

    def _complete_read(self, requested: ReadKey, key: ReadKey, page: Page | LogError) -> None:
        waiting = self._reading.pop(requested)
        if isinstance(page, LogError):
            log.error("reading the log failed", error=str(page), code=page.code, after=key.after)
            self._retry_all(waiting)
            return
        scanned = alignment_cut(page, key.until)
        event, position = key.form.event, self._log.position
        records = [record for record in page.records if record.offset <= scanned]
        frames = [event(record.event, str(position(record.offset))) for record in records]
        run = FrameRun(b"".join(frames), map(len, frames), (record.offset for record in records), key.after)
        read = CachedRead(run, scanned, self._clock.monotonic())
        self._cache.add(key, read)
        # Before the subscribers that are ready, and one at a time: there may be thousands, and a round is short.
        self._ready.appendleft(CompletedRead(key, read, deque(waiting)))
        self._schedule()

    def _hand_out(self, completed: CompletedRead) -> None:
        """Deliver a completed read to the next subscriber that waits for it."""
        subscriber = completed.current = completed.waiting.popleft()
        if completed.waiting:
            self._ready.appendleft(completed)
        subscriber.reading = False
        key, read = completed.key, completed.read
        if subscriber.blocked or not _is_next_read(key, subscriber) or read.scanned > self._end(subscriber):
            self.add(subscriber)  # it has moved during the read, or came after the read had begun
        else:
            self._report_gap(key, subscriber)
            self._deliver(subscriber, read)

    def _deliver(self, subscriber: Subscriber, read: CachedRead) -> None:
        run, reached = read.run, read.scanned
        if run.frames:
            self.writes += 1
            written = write_run(subscriber, run)
            if written < len(run.frames):  # it reads the rest again, conflated, when it has read this
                reached = run.offset(written)
        if subscriber.backlog:
            subscriber.backlog[0].after = reached
        else:
            subscriber.offset = reached
        if subscriber.blocked or subscriber.backlog or subscriber.offset < self._live_set.goal(subscriber):
            self.add(subscriber)
        else:  # now, because the head would have moved on by its next turn
            self._live_set.join(subscriber)


def _read_key(subscriber: Subscriber, until: int) -> ReadKey:
    """Return the key of the next read of `subscriber`, if it reads up to `until`."""
    if subscriber.backlog:
        current = subscriber.backlog[0]
        return ReadKey(subscriber.form, current.paths, current.excluded, current.after, until, current.newest_only)
    return ReadKey(subscriber.form, subscriber.paths, NO_PATHS, subscriber.offset, until, False)


def _is_next_read(key: ReadKey, subscriber: Subscriber) -> bool:
    """Return whether `subscriber` reads `key` next."""
    return subscriber.state is SubscriberState.CATCHING_UP and _read_key(subscriber, key.until) == key
