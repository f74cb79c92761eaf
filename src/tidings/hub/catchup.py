"""Catching up: subscribers that are behind read themselves forward, a little at a time (DESIGN, idea 2).

Joining, resuming and having been too slow are all this. Cursors of one lane at one place are read once; a round has a
time budget, after which live delivery has its turn.
"""

from collections import OrderedDict, deque
from functools import partial
from typing import Protocol

import structlog
from msgspec import Struct

from tidings.contract.paths import NOTHING, PathSet
from tidings.contract.vocabulary import EventClass
from tidings.exceptions import LogError
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.ring import Ring
from tidings.hub.subscriber import State, Subscriber
from tidings.hub.wire import WireForm
from tidings.log.base import Log, Page, Query, Scheduler

_CHUNKS = 64
"""Encoded reads remembered, for others of the same lane at the same place."""
_ENTRIES = 512
"""Entries of the ring looked at in one read."""
_RETRY_S = 1.0
"""After a read failed."""

log = structlog.get_logger("tidings.hub.catchup")


class Chunk(Struct, frozen=True):
    """What one read brought, ready to be written."""

    frames: bytes
    scanned: int


class Place(Struct, frozen=True):
    """What is read: equal places bring equal chunks."""

    form: WireForm
    paths: PathSet
    but: PathSet
    after: int
    until: int
    newest_only: bool


class Horizon(Protocol):
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
        self, horizon: Horizon, event_log: Log, ring: Ring, scheduler: Scheduler, clock: Clock, config: HubConfig
    ) -> None:
        self._horizon = horizon
        self._log = event_log
        self._ring = ring
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._ready: deque[Subscriber] = deque()
        self._chunks: OrderedDict[Place, Chunk] = OrderedDict()
        self._reading: dict[Place, list[Subscriber]] = {}
        self._scheduled = False
        self.reads = 0
        """Reads made so far, of the log and of the ring."""
        self.writes = 0
        """Chunks written so far."""

    def __len__(self) -> int:
        return len(self._ready) + sum(map(len, self._reading.values()))

    def add(self, subscriber: Subscriber) -> None:
        """Give `subscriber` its turn, unless it has one already or its outlet takes nothing now."""
        if subscriber.queued or subscriber.blocked or subscriber.state is not State.CATCHING_UP:
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
            subscriber = ready.popleft()
            subscriber.queued = False
            if subscriber.state is State.CATCHING_UP and not subscriber.blocked:
                self._advance(subscriber)
            if self._clock.monotonic() >= deadline:
                break
        self._schedule()

    def _advance(self, subscriber: Subscriber) -> None:
        """Read `subscriber` one chunk forward, or end a stretch, or let it join its lane."""
        while subscriber.stretches:
            stretch = subscriber.stretches[0]
            if stretch.after < stretch.until:
                if not stretch.newest_only:
                    stretch.told = self._tell_gap(subscriber, stretch.paths, stretch.after, stretch.told)
                place = Place(
                    subscriber.form, stretch.paths, stretch.but, stretch.after, stretch.until, stretch.newest_only
                )
                self._read(place, subscriber)
                return
            subscriber.stretches.popleft()
            if stretch.then is not None:
                stretch.then()
            if subscriber.blocked or subscriber.state is not State.CATCHING_UP:
                return
        goal = self._horizon.goal(subscriber)
        if subscriber.offset >= goal:
            self._horizon.join(subscriber)
        elif subscriber.paths:
            subscriber.told = self._tell_gap(subscriber, subscriber.paths, subscriber.offset, subscriber.told)
            self._read(Place(subscriber.form, subscriber.paths, NOTHING, subscriber.offset, goal, False), subscriber)
        else:
            subscriber.offset = goal
            self._horizon.join(subscriber)

    def _tell_gap(self, subscriber: Subscriber, paths: PathSet, after: int, told: int) -> int:
        """Tell `subscriber` what trimming took before it was read; return up to where it has been told."""
        # Reading goes on from the same place: what is left of the gap is the newest event of each key, in log order.
        until = self._log.trimmed(after, paths)
        if until is None or until <= told:
            return told
        subscriber.on_gap(max(after, told), until)
        return until

    def _read(self, place: Place, subscriber: Subscriber) -> None:
        chunk = self._chunks.get(place)
        if chunk is not None:
            self._deliver(place, subscriber, chunk)
            return
        waiting = self._reading.get(place)
        if waiting is not None:
            waiting.append(subscriber)
            return
        chunk = self.chunk_of_ring(place)
        if chunk is not None:
            self._remember(place, chunk)
            self._deliver(place, subscriber, chunk)
            return
        self.reads += 1
        self._reading[place] = [subscriber]
        query = Query(
            after=place.after,
            until=place.until,
            paths=place.paths,
            but=place.but,
            newest_only=place.newest_only,
            max_bytes=self._config.catchup_bytes,
        )
        self._log.read(query, partial(self._arrived, place))

    def chunk_of_ring(self, place: Place) -> Chunk | None:
        """Return what the ring has for `place`, or None where that is no longer, or not all, in it."""
        if place.after < self._ring.floor or place.newest_only:
            return None
        self.reads += 1
        frames: list[bytes] = []
        size = 0
        scanned = place.after
        newest = self._log.newest
        entries = self._ring.after(place.after, _ENTRIES)
        for entry in entries:
            offset = entry.record.offset
            if offset > place.until:
                scanned = place.until
                break
            scanned = offset
            event = entry.record.event
            if not place.paths.matches(event.channel, event.key):
                continue
            if place.but and place.but.matches(event.channel, event.key):
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
        return Chunk(b"".join(frames), scanned)

    def _arrived(self, place: Place, page: Page | LogError) -> None:
        waiting = self._reading.pop(place)
        if isinstance(page, LogError):
            log.error("reading the log failed", error=str(page), code=page.code, after=place.after)
            for subscriber in waiting:
                self._scheduler.call_later(_RETRY_S, partial(self.add, subscriber))
            return
        form = place.form
        position = self._log.position
        frames = b"".join([form.event(record.event, str(position(record.offset))) for record in page.records])
        chunk = Chunk(frames, page.scanned)
        self._remember(place, chunk)
        for subscriber in waiting:
            if subscriber.state is State.CATCHING_UP:
                self._deliver(place, subscriber, chunk)

    def _remember(self, place: Place, chunk: Chunk) -> None:
        self._chunks[place] = chunk
        if len(self._chunks) > _CHUNKS:
            self._chunks.popitem(last=False)

    def _deliver(self, place: Place, subscriber: Subscriber, chunk: Chunk) -> None:
        if subscriber.stretches:
            subscriber.stretches[0].after = chunk.scanned
        else:
            subscriber.offset = chunk.scanned
        if chunk.frames:
            self.writes += 1
            subscriber.outlet.write(chunk.frames)
        if subscriber.blocked or subscriber.stretches or subscriber.offset < self._horizon.goal(subscriber):
            self.add(subscriber)
        else:  # at once: at its next turn the head would have moved on
            self._horizon.join(subscriber)
