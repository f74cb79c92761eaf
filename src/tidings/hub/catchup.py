"""Catching up: subscribers that are behind read themselves forward, a little at a time (DESIGN, idea 2).

Joining, resuming and having been too slow are all this. Cursors of one lane at one place are read once; a round has a
time budget, after which live delivery has its turn.

What was read for those who are behind, remembered for others at the same place.
"""

from collections import OrderedDict, deque
from functools import partial
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from tidings.exceptions import LogError
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.lanes import Subscriber, SubscriberState
from tidings.hub.ring import Ring
from tidings.hub.wire import WireForm
from tidings.log.base import Log, Page, Query, Scheduler
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import NOTHING, PathSet

UNBOUNDED = 1 << 62
"""More than any offset."""
_MOST = 64
"""Chunks remembered: 4 MiB of 64 KiB."""
_STOP = 256
"""Offsets between the places at which a page may begin that is read for many."""
_AGE_S = 1.0
"""How long they are: a `latest` event in one may have been superseded since."""


class CachedRead(Struct, frozen=True):
    """What one read brought, ready to be written."""

    frames: bytes
    scanned: int
    """Up to where it was read: `ReadKey.until`, or less where the chunk was full before."""
    read_at: float
    """On the monotonic clock."""


class ReadKey(Struct, frozen=True):
    """What is read: equal places bring equal chunks."""

    form: WireForm
    paths: PathSet
    but: PathSet
    after: int
    until: int
    newest_only: bool


class ReadCache:
    """The newest chunks, by place."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[ReadKey, CachedRead] = OrderedDict()

    def find(self, place: ReadKey, now: float) -> CachedRead | None:
        """Return what was read at `place`, unless that is too long before `now` on the monotonic clock."""
        for known in (place,) if place.newest_only else (place, _from(place)):
            chunk = self._chunks.get(known)
            if chunk is not None and chunk.scanned <= place.until:
                if now - chunk.read_at < _AGE_S:
                    self._chunks.move_to_end(known)
                    return chunk
                del self._chunks[known]
        return None

    def remember(self, place: ReadKey, chunk: CachedRead) -> None:
        """Remember what was read at `place`."""
        # A chunk that was full before it came to its end is the same for those who read further than that. Not so of a
        # snapshot: an alert that was cleared meanwhile would be brought, and the clearing not.
        self._chunks[_from(place) if chunk.scanned < place.until and not place.newest_only else place] = chunk
        if len(self._chunks) > _MOST:
            self._chunks.popitem(last=False)


def alignment_cut(page: Page, until: int) -> int:
    """Return where to cut a page that was asked for up to `until`: there those who read from elsewhere cut theirs, too.

    Cursors that come from different offsets would never read the same pages otherwise. A page that is not full ends at
    `until`. A full one ends, of the offsets of its last quarter, at the one that most powers of two divide; neighbours
    have mostly that one in common. Where 600 events fit, those who were at 0 and at 37 meet at 512.
    """
    if page.scanned >= until or not page.records:
        return page.scanned
    before = page.records[len(page.records) * 3 // 4].offset
    bits = max((before ^ page.scanned).bit_length() - 1, 0)
    return page.scanned >> bits << bits


def next_alignment(after: int) -> int:
    """Return how far one may read who is at `after`: from a stop without bound, from elsewhere to the next stop.

    A page for one reader alone is short thereby.
    """
    return after + _STOP - after % _STOP if after % _STOP else UNBOUNDED


def _from(place: ReadKey) -> ReadKey:
    """Return what stands for all places that begin as this one does, whatever their end."""
    return ReadKey(place.form, place.paths, place.but, place.after, -1, False)


_ENTRIES = 512
"""Entries of the ring looked at in one read."""
_RETRY_S = 1.0
"""After a read failed."""

log = structlog.get_logger("tidings.hub.catchup")


class CompletedRead(Struct):
    """What the log read, and those who wait for it and have not had it yet."""

    place: ReadKey
    chunk: CachedRead
    waiting: deque[Subscriber]


class LiveSet(Protocol):
    """What catching up must know of the hub."""

    delivered: int
    """The offset up to which live subscribers have been written to."""

    def join(self, subscriber: Subscriber) -> None:
        """Take `subscriber`, which has read up to its goal, into the live set."""
        ...

    def goal(self, subscriber: Subscriber) -> int:
        """Return the offset up to which `subscriber` reads before it can join its lane."""
        ...


class Catchup:
    """All subscribers that are behind."""

    def __init__(
        self, horizon: LiveSet, event_log: Log, ring: Ring, scheduler: Scheduler, clock: Clock, config: HubConfig
    ) -> None:
        self._horizon = horizon
        self._log = event_log
        self._ring = ring
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._ready: deque[Subscriber | ReadKey | CompletedRead] = deque()
        self._chunks = ReadCache()
        self._reading: dict[ReadKey, list[Subscriber]] = {}
        self._scheduled = False
        self.reads = 0
        """Reads made so far, of the log and of the ring."""
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
            if isinstance(turn, Subscriber):
                turn.queued = False
                if turn.state is SubscriberState.CATCHING_UP and not turn.blocked:
                    self._advance(turn)
            elif isinstance(turn, ReadKey):
                self._ask(turn)
            else:
                self._give(turn)
            if self._clock.monotonic() >= deadline:
                break
        self._schedule()

    def _advance(self, subscriber: Subscriber) -> None:
        """Read `subscriber` one chunk forward, or end a stretch, or let it join its lane."""
        while subscriber.backlog:
            stretch = subscriber.backlog[0]
            if stretch.paths and stretch.after < stretch.until:
                self._read(self._next(subscriber), subscriber)
                return
            subscriber.backlog.popleft()
            stretch.then(stretch.until)
            if subscriber.blocked or subscriber.state is not SubscriberState.CATCHING_UP:
                return
        goal = self._horizon.goal(subscriber)
        if subscriber.paths and subscriber.offset < goal:
            self._read(self._next(subscriber), subscriber)
        else:
            subscriber.offset = max(subscriber.offset, goal)
            self._horizon.join(subscriber)

    def _end(self, subscriber: Subscriber) -> int:
        """Return how far `subscriber` reads before something else happens to it."""
        return subscriber.backlog[0].until if subscriber.backlog else self._horizon.goal(subscriber)

    def _next(self, subscriber: Subscriber) -> ReadKey:
        """Return what `subscriber` reads next."""
        place = _place(subscriber, self._end(subscriber))
        floor = self._ring.floor
        if place.newest_only or place.after >= floor:
            return place
        # The log is read no further than to where the ring begins. The rest is cheaper there, and the last read of the
        # log is the same for all, at whatever moment each came. The first is short, and ends where everyone's does.
        return replace(place, until=min(place.until, floor, next_alignment(place.after)))

    def _tell_gap(self, place: ReadKey, subscriber: Subscriber) -> None:
        """Tell `subscriber` what trimming took before it was read."""
        # Reading goes on from the same place: what is left of the gap is the newest event of each key, in log order.
        # A snapshot has no gaps, and what the ring still holds can be read though the log has trimmed it.
        if place.newest_only or place.after >= self._ring.floor:
            return
        until = self._log.trimmed(place.after, place.paths)
        cursor = subscriber.backlog[0] if subscriber.backlog else subscriber
        if until is not None and until > cursor.told:
            after = max(place.after, cursor.told)
            cursor.told = until
            subscriber.on_gap(self._log.position(after), self._log.position(until), "trimmed")

    def _read(self, place: ReadKey, subscriber: Subscriber) -> None:
        self._tell_gap(place, subscriber)
        chunk = self._chunks.find(place, self._clock.monotonic()) or self.read_ring(place)
        if chunk is not None:
            self._deliver(subscriber, chunk)
            return
        subscriber.reading = True
        waiting = self._reading.get(place)
        if waiting is not None:
            waiting.append(subscriber)
            return
        self._reading[place] = [subscriber]
        # After those who are ready now: whoever of them is at the same place waits for the same read.
        self._ready.append(place)

    def _ask(self, wanted: ReadKey) -> None:
        """Read for all who wait, as far as they may go by now."""
        ends = (self._next(subscriber).until for subscriber in self._reading[wanted] if _is_at(subscriber, wanted))
        place = replace(wanted, until=min(ends, default=wanted.until))
        self.reads += 1
        query = Query(
            after=place.after,
            until=place.until,
            paths=place.paths,
            but=place.but,
            newest_only=place.newest_only,
            max_bytes=self._config.catchup_bytes,
        )
        self._log.read(query, partial(self._arrived, wanted, place))

    def read_ring(self, place: ReadKey) -> CachedRead | None:
        """Return what the ring has for `place`, or None where that is no longer, or not all, in it."""
        if place.after < self._ring.floor or place.newest_only:
            return None
        self.reads += 1
        frames: list[bytes] = []
        size = 0
        scanned = place.after
        matches = place.paths.matcher()
        excludes = place.but.matcher()
        newest = self._log.newest
        entries = self._ring.after(place.after, _ENTRIES)
        for entry in entries:
            offset = entry.record.offset
            if offset > place.until:
                scanned = place.until
                break
            scanned = offset
            event = entry.record.event
            if not matches(event.channel, event.key) or excludes(event.channel, event.key):
                continue
            if event.event_class is EventClass.LATEST and newest.is_superseded(offset, event):
                continue
            frame = self._ring.frame(entry, place.form)
            frames.append(frame)
            size += len(frame)
            if size >= self._config.catchup_bytes:
                break
        else:
            if len(entries) < _ENTRIES:
                scanned = place.until
        chunk = CachedRead(b"".join(frames), scanned, self._clock.monotonic())
        self._chunks.remember(place, chunk)
        return chunk

    def _arrived(self, wanted: ReadKey, place: ReadKey, page: Page | LogError) -> None:
        waiting = self._reading.pop(wanted)
        if isinstance(page, LogError):
            log.error("reading the log failed", error=str(page), code=page.code, after=place.after)
            for subscriber in waiting:
                subscriber.reading = False
                self._scheduler.call_later(_RETRY_S, partial(self.add, subscriber))
            return
        scanned = alignment_cut(page, place.until)
        event, position = place.form.event, self._log.position
        frames = [
            event(record.event, str(position(record.offset))) for record in page.records if record.offset <= scanned
        ]
        chunk = CachedRead(b"".join(frames), scanned, self._clock.monotonic())
        self._chunks.remember(place, chunk)
        # Before those who are ready, and one by one: there may be thousands, and a round is short.
        self._ready.appendleft(CompletedRead(place, chunk, deque(waiting)))
        self._schedule()

    def _give(self, arrival: CompletedRead) -> None:
        """Give what arrived to the next of those who wait for it."""
        subscriber = arrival.waiting.popleft()
        if arrival.waiting:
            self._ready.appendleft(arrival)
        subscriber.reading = False
        place, chunk = arrival.place, arrival.chunk
        if subscriber.blocked or not _is_at(subscriber, place) or chunk.scanned > self._end(subscriber):
            self.add(subscriber)  # it has gone elsewhere while the log was reading, or came when it had begun
        else:
            self._tell_gap(place, subscriber)
            self._deliver(subscriber, chunk)

    def _deliver(self, subscriber: Subscriber, chunk: CachedRead) -> None:
        if subscriber.backlog:
            subscriber.backlog[0].after = chunk.scanned
        else:
            subscriber.offset = chunk.scanned
        if chunk.frames:
            self.writes += 1
            subscriber.outlet.write(chunk.frames)
        if subscriber.blocked or subscriber.backlog or subscriber.offset < self._horizon.goal(subscriber):
            self.add(subscriber)
        else:  # at once: at its next turn the head would have moved on
            self._horizon.join(subscriber)


def _place(subscriber: Subscriber, until: int) -> ReadKey:
    """Return what `subscriber` reads next, if it reads up to `until`."""
    if subscriber.backlog:
        stretch = subscriber.backlog[0]
        return ReadKey(subscriber.form, stretch.paths, stretch.but, stretch.after, until, stretch.newest_only)
    return ReadKey(subscriber.form, subscriber.paths, NOTHING, subscriber.offset, until, False)


def _is_at(subscriber: Subscriber, place: ReadKey) -> bool:
    """Return whether `place` is what `subscriber` reads next."""
    return subscriber.state is SubscriberState.CATCHING_UP and _place(subscriber, place.until) == place
