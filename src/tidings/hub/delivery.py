"""Delivery: from the log's tail to everyone who watches (DESIGN, ideas 2 and 4).

Live subscribers stand in lanes and get each batch as it is appended: one encode a wire form and event, one write a
subscriber and tick. Whoever is behind is a cursor that `Catchup` reads forward, until it joins its lane.
"""

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct

from tidings.hub.catchup import Catchup, ReadKey
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.lanes import BacklogRange, Lane, LaneKey, Lanes, Subscriber, SubscriberState
from tidings.hub.ring import Ring
from tidings.log.base import Log, Record, Scheduler
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import NOTHING, PathSet
from tidings.protocol.positions import NOW, SNAPSHOT, Position

SubscribedCallback = Callable[[str, int], None]
"""Called before the events of a subscription, with its outcome (`live`, `complete`, `snapshot`, `gap`) and offset."""


LiveCallback = Callable[[int], None]
"""Called after the events of a subscription, with the offset up to which they went."""


class DeliveryCounters(Struct):
    """What delivery has done since it began; for metrics, and for the tests that count."""

    lane_writes: int = 0
    """Writes to live subscribers."""
    lane_bytes: int = 0
    fell_behind: int = 0
    """Live subscribers whose socket stopped draining."""
    joined: int = 0
    """Subscribers that came to the head."""
    gaps: int = 0
    """Subscribers that trimming overtook."""


class _Beginning(Struct, frozen=True):
    """How a subscription begins."""

    outcome: str
    after: int
    """From where on its paths are read."""
    newest_only: bool = False
    """Whether it reads a snapshot."""
    lost: str = ""
    """Why what `since` asked for is not there, where that is so before anything is read."""


class _Awaited(Struct):
    """A subscription whose position the tail has not reached yet."""

    subscriber: Subscriber
    offset: int
    resume: Callable[[], None]
    done: bool = False


class Delivery:
    """All subscribers of one hub."""

    def __init__(self, event_log: Log, scheduler: Scheduler, clock: Clock, config: HubConfig) -> None:
        self._log = event_log
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._pacing: set[int] = set()
        self._flushed_at: dict[int, float] = {}
        self._awaited: list[_Awaited] = []
        self.counters = DeliveryCounters()
        self.subscribers = 0
        self.lanes = Lanes()
        self.delivered = event_log.head
        """See `Horizon.delivered`."""
        self.ring = Ring(config.ring_bytes, event_log.head)
        self.catchup = Catchup(self, event_log, self.ring, scheduler, clock, config)

    def tail(self, records: Sequence[Record]) -> None:
        """Deliver a batch to the live subscribers."""
        prefix = self._log.epoch + ":"
        ring = self.ring
        newest = self._log.newest
        route = self.lanes.route
        touched: list[Lane] = []
        for record in records:
            event = record.event
            entry = ring.add(record, prefix + str(record.offset))
            if event.event_class is EventClass.LATEST and newest.is_superseded(record.offset, event):
                continue
            for lane in route(event.channel, event.key):
                if not lane.pending:
                    touched.append(lane)
                lane.pending.append(ring.frame(entry, lane.key.form))
        self.delivered = records[-1].offset
        if touched:
            now = self._clock.monotonic()
            for lane in touched:
                frames = b"".join(lane.pending)
                lane.pending.clear()
                self._write(lane, frames, now)
        ring.shrink()
        if self._awaited:
            self._resume_awaited()
        if self.lanes.paces:
            self._pace()

    def _write(self, lane: Lane, frames: bytes, now: float) -> None:
        lane.wrote_at = now
        owing = tuple(lane.buffered)
        count = lane.write(frames)
        for subscriber in owing:
            if subscriber.lane is lane:
                self._check_owed(subscriber)
        self.counters.lane_writes += count
        self.counters.lane_bytes += count * len(frames)

    # The live set.

    def goal(self, subscriber: Subscriber) -> int:
        """See `Horizon.goal`: a live lane is at the head, a paced one where its last flush ended."""
        if subscriber.pace_ms:
            lane = self.lanes.find(_lane_key(subscriber))
            if lane is not None and lane.members:
                return max(lane.offset, subscriber.offset)
        return self.delivered

    def reached(self, subscriber: Subscriber) -> int:
        """Return the offset up to which everything on the paths of `subscriber` was written to it."""
        if subscriber.state is SubscriberState.LIVE and subscriber.pace_ms and subscriber.lane is not None:
            return subscriber.lane.offset
        return self.delivered if subscriber.state is SubscriberState.LIVE or not subscriber.paths else subscriber.offset

    def join(self, subscriber: Subscriber) -> None:
        """See `Horizon.join`."""
        if not subscriber.paths:
            subscriber.offset = self.delivered
            return
        lane = self.lanes.lane(_lane_key(subscriber), self.delivered)
        subscriber.lane = lane
        if subscriber.pace_ms:
            if lane.members and subscriber.offset != lane.offset:
                lane.waiting[subscriber] = None
                return
            lane.offset = subscriber.offset
        lane.add(subscriber)
        subscriber.state = SubscriberState.LIVE
        self.counters.joined += 1

    def leave(self, subscriber: Subscriber) -> None:
        """Take `subscriber` out of the live set, with nothing but its position."""
        lane = subscriber.lane
        if lane is None:
            return
        if subscriber.state is SubscriberState.LIVE:
            subscriber.offset = self.reached(subscriber)
            subscriber.state = SubscriberState.CATCHING_UP
        subscriber.lane = None
        lane.waiting.pop(subscriber, None)
        lane.remove(subscriber)
        self.lanes.discard(lane)

    def pause(self, subscriber: Subscriber) -> None:
        """Note that bytes for `subscriber` wait: its socket does not drain. May be called from inside a write.

        A live one may owe up to the high-water mark. One that catches up is written to only when nothing waits: what
        waits in the log is conflated, what waits in a buffer is not.
        """
        subscriber.blocked = True
        lane = subscriber.lane
        if subscriber.state is SubscriberState.LIVE and lane is not None:
            lane.buffer(subscriber)
            self._check_owed(subscriber)

    def _check_owed(self, subscriber: Subscriber) -> None:
        """Let a live subscriber that owes too much leave the live set."""
        if subscriber.outlet.write_buffer_size() > self._config.high_water:
            self.counters.fell_behind += 1
            self.leave(subscriber)

    def resume(self, subscriber: Subscriber) -> None:
        """Note that nothing waits any more: `subscriber` is written to again, or reads itself forward."""
        subscriber.blocked = False
        if subscriber.state is SubscriberState.LIVE and subscriber.lane is not None:
            subscriber.lane.unbuffer(subscriber)
        else:
            self.catchup.add(subscriber)

    # Coming and going.

    def open(self, subscriber: Subscriber) -> None:
        """Let `subscriber` take part, at the head and with no paths."""
        self.subscribers += 1
        subscriber.offset = self.delivered

    def close(self, subscriber: Subscriber) -> None:
        """Forget `subscriber`."""
        if subscriber.state is SubscriberState.CLOSED:
            return
        self.leave(subscriber)
        subscriber.state = SubscriberState.CLOSED
        subscriber.backlog.clear()
        self.subscribers -= 1

    def subscribe(
        self,
        subscriber: Subscriber,
        added: PathSet,
        since: Position | str,
        *,
        begun: SubscribedCallback,
        live: LiveCallback,
    ) -> None:
        """Add paths: `subscriber` leaves the live set, reads what the added ones lack, and goes on with the union.

        Args:
            subscriber: Whose paths.
            added: Which paths.
            since: From where on the added ones are read.
            begun: Called before the events.
            live: Called when snapshot or catch-up has ended, with the offset up to which it went.
        """
        self.leave(subscriber)
        if isinstance(since, Position):
            offset = self._log.resolve(since)
            if offset is not None and offset > self.delivered:
                resume = partial(self._begin, subscriber, added, since, begun, live)
                self._await(_Awaited(subscriber, offset, resume))
                self.catchup.add(subscriber)
                return
        self._begin(subscriber, added, since, begun, live)

    def _begin(
        self,
        subscriber: Subscriber,
        added: PathSet,
        since: Position | str,
        begun: SubscribedCallback,
        live: LiveCallback,
    ) -> None:
        self.leave(subscriber)
        before = subscriber.paths
        lacking = PathSet(tuple(path for path in added.paths if not before.covers(path)))
        place = subscriber.offset if before else self.delivered
        beginning = self._beginning(since, lacking, place)
        after = beginning.after
        subscriber.paths = before | added
        begun(beginning.outcome, place if beginning.newest_only else after)
        if beginning.lost and isinstance(since, Position):
            subscriber.on_gap(since, self._log.position(place), beginning.lost)
        if after > place:  # ahead of the cursor: the paths it had follow up to there first
            stretch = BacklogRange(paths=before, after=place, until=after, told=subscriber.told, then=live)
            subscriber.offset = after
        else:
            stretch = BacklogRange(
                paths=lacking, but=before, after=after, until=place, newest_only=beginning.newest_only, then=live
            )
            subscriber.offset = place
        subscriber.backlog.append(stretch)
        self.catchup.add(subscriber)

    def _beginning(self, since: Position | str, lacking: PathSet, place: int) -> _Beginning:
        if since == NOW or not lacking:
            return _Beginning("live", place)
        if since == SNAPSHOT:
            return _Beginning("snapshot", 0, newest_only=True)
        offset = self._log.resolve(since) if isinstance(since, Position) else 0
        if offset is None:
            return _Beginning("gap", 0, newest_only=True, lost="epoch")
        if offset > self.delivered:
            return _Beginning("gap", 0, newest_only=True, lost="future")
        trimmed = offset < self.ring.floor and self._log.trimmed(offset, lacking) is not None
        return _Beginning("gap" if trimmed else "complete", offset)

    def unsubscribe(self, subscriber: Subscriber, removed: PathSet) -> None:
        """Take paths away from `subscriber`; what was not read of them yet is not read any more."""
        self.leave(subscriber)
        left = subscriber.paths = subscriber.paths.without(removed)
        for stretch in subscriber.backlog:
            # By what is left, not by what is removed: a stretch's paths may be parts of a path that was added later.
            stretch.paths = PathSet(tuple(path for path in stretch.paths.paths if left.covers(path)))
        self.catchup.add(subscriber)

    # Positions from the future.

    def _await(self, awaited: _Awaited) -> None:
        self._awaited.append(awaited)
        self._scheduler.call_later(self._config.future_wait_s, partial(self._resume_one, awaited))

    def _resume_awaited(self) -> None:
        for awaited in list(self._awaited):
            if awaited.offset <= self.delivered:
                self._resume_one(awaited)

    def _resume_one(self, awaited: _Awaited) -> None:
        if awaited.done:
            return
        awaited.done = True
        self._awaited.remove(awaited)
        if awaited.subscriber.state is not SubscriberState.CLOSED:
            awaited.resume()

    # Paced lanes: one shared cursor each, read forward on a timer.

    def _pace(self) -> None:
        for pace_ms in self.lanes.paces:
            if pace_ms not in self._pacing:
                self._pacing.add(pace_ms)
                # The first event after a silence goes out at once; those that follow it wait for the pace.
                elapsed = self._clock.monotonic() - self._flushed_at.get(pace_ms, -1e9)
                self._scheduler.call_later(max(0.0, pace_ms / 1000 - elapsed), partial(self._flush, pace_ms))

    def _flush(self, pace_ms: int) -> None:
        self._pacing.discard(pace_ms)
        now = self._flushed_at[pace_ms] = self._clock.monotonic()
        for lane in self.lanes.paced(pace_ms):
            if lane.members and lane.offset < self.delivered:
                self._flush_lane(lane, now)
            for subscriber in list(lane.waiting):
                self.leave(subscriber)
                self.catchup.add(subscriber)

    def _flush_lane(self, lane: Lane, now: float) -> None:
        key = lane.key
        while lane.members and lane.offset < self.delivered:
            place = ReadKey(key.form, key.paths, NOTHING, lane.offset, self.delivered, False)
            chunk = self.catchup.read_ring(place)
            if chunk is None:  # the ring has lost it: each reads on from the log by itself
                for subscriber in list(lane.members):
                    self.leave(subscriber)
                    self.catchup.add(subscriber)
                return
            lane.offset = chunk.scanned
            if chunk.frames:
                self._write(lane, chunk.frames, now)


def _lane_key(subscriber: Subscriber) -> LaneKey:
    return LaneKey(subscriber.paths, subscriber.form, subscriber.pace_ms)
