"""Delivery: from the log's tail to all subscribers (ARCHITECTURE.md, "Five ideas").

Live subscribers are grouped in lanes and receive each batch as it is appended: one encode per event and wire form, one
write per subscriber and tick. `Catchup` reads the other subscribers forward until they can join their lane.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from tidings.hub.catchup import Catchup
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.lanes import (
    BacklogRange,
    Lane,
    LaneKey,
    RoutedEvents,
    Subscriber,
    SubscriberState,
    write_lanes,
)
from tidings.hub.outbound_budget import OutboundBudget
from tidings.hub.paces import Paces
from tidings.hub.ring import Ring
from tidings.hub.routing import Lanes, Route
from tidings.hub.wire import WireForm
from tidings.log.base import Log, Record, Scheduler
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import NOW, SNAPSHOT, Moment, Position, Since

SubscribedCallback = Callable[[str, int], None]
"""Called before the events of a subscription, with its outcome (`live`, `complete`, `snapshot`, `gap`) and offset."""

LiveCallback = Callable[[int], None]
"""Called after the events of a subscription, with the offset that they reached."""


class DeliveryCounters(Struct):
    """Counts since the hub started, for metrics and for tests that count."""

    lane_writes: int = 0
    """Writes to live subscribers."""
    lane_bytes: int = 0
    fell_behind: int = 0
    """Live subscribers whose socket stopped draining."""
    joined: int = 0
    """Times that a subscriber reached the head."""
    gaps: int = 0
    """Gaps reported to subscribers."""


class _Start(Struct, frozen=True):
    """Where a subscription starts, and its outcome."""

    outcome: str
    after: int
    """Offset to read its paths after."""
    newest_only: bool = False
    """Whether it reads a snapshot."""
    gap_reason: str = ""
    """Why the position in `since` cannot be resumed from, where that is certain before anything is read."""


class _FutureSubscription(Struct, eq=False):
    """A subscription from a position that the tail has not reached yet."""

    subscriber: Subscriber
    offset: int
    added: PathSet
    begin: Callable[[PathSet], None]
    """Begins the subscription to the paths that are `added` still."""
    done: bool = False


class Delivery:
    """All subscribers of one hub."""

    def __init__(self, event_log: Log, scheduler: Scheduler, clock: Clock, config: HubConfig) -> None:
        self._log = event_log
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._future: dict[_FutureSubscription, None] = {}
        self.counters = DeliveryCounters()
        self.subscribers = 0
        self.lanes = Lanes()
        self.delivered = event_log.head
        """See `LiveSet.delivered`."""
        self.ring = Ring(config.ring_bytes, event_log.head)
        self.catchup = Catchup(self, event_log, self.ring, scheduler, clock, config)
        self.paces = Paces(self, event_log, scheduler, clock, config)
        self.outbound = OutboundBudget(config.outbound_bytes, scheduler, clock, self._release)
        """The bytes that wait for all clients together."""

    def deliver(self, records: Sequence[Record]) -> None:
        """Deliver a batch from the log's tail to the live subscribers."""
        prefix = self._log.epoch + ":"
        ring = self.ring
        newest = self._log.newest
        route = self.lanes.route
        routed: dict[Route, RoutedEvents] = {}
        events: RoutedEvents | None = None
        last: Route | None = None
        for record in records:
            event = record.event
            entry = ring.add(record, prefix + str(record.offset))
            if event.event_class is EventClass.LATEST and newest.is_superseded(record.offset, event):
                continue
            target = route(event.channel, event.key)
            if target is not last:
                last = target
                events = routed.get(target)
                if events is None and target.live:
                    events = routed[target] = RoutedEvents([])
            if events is not None:
                events.entries.append(entry)
            if target.paced:
                self.paces.collect(entry, target)
        before, self.delivered = self.delivered, records[-1].offset
        if len(routed) == 1:
            [(target, events)] = routed.items()
            self.write(target.live, events, before)
        elif routed:
            self._write_routed(routed, before)
        ring.shrink()
        if self._future:
            self._begin_reached()

    def recover(self, records: Sequence[Record]) -> None:
        """Let all live subscribers read on from before a batch whose delivery failed.

        No subscriber misses an event of it; some may receive events of it twice.
        """
        before, self.delivered = records[0].offset - 1, records[-1].offset
        self.ring.clear(self.delivered)
        for lane in list(self.lanes):
            lane.pending.clear()
            for subscriber in list(lane.members):
                self.leave(subscriber)
                subscriber.offset = min(subscriber.offset, before)
                self.catchup.add(subscriber)

    def _write_routed(self, routed: Mapping[Route, RoutedEvents], after: int) -> None:
        """Write the events of one tick, joined once for all lanes that get the same events in the same wire form."""
        touched: list[Lane] = []
        for route, events in routed.items():
            for lane in route.live:
                if not lane.pending:
                    touched.append(lane)
                lane.pending.append(events)
        equal: dict[tuple[RoutedEvents, ...], list[Lane]] = {}
        for lane in touched:
            equal.setdefault(tuple(lane.pending), []).append(lane)
        for parts, lanes in equal.items():
            self.write(lanes, RoutedEvents.merged(parts), after)

    def write(self, lanes: Sequence[Lane], events: RoutedEvents, after: int) -> None:
        """See `PacedDelivery.write`."""
        written = write_lanes(lanes, events, self.ring.frame, after, self._clock.monotonic())
        self.counters.lane_writes += written.writes
        self.counters.lane_bytes += written.size
        for lane in written.holding:
            self._check_held(lane)

    def _check_held(self, lane: Lane) -> None:
        """Take members that are too far behind out of the live set."""
        while lane.held_bytes > self._config.high_water:
            self._fall_behind(next(iter(lane.blocked)))
        self.outbound.hold(lane)
        self.outbound.release_lanes()

    def _release(self, lane: Lane) -> None:
        for subscriber in list(lane.blocked):
            self._fall_behind(subscriber)

    def _fall_behind(self, subscriber: Subscriber) -> None:
        self.counters.fell_behind += 1
        self.leave(subscriber)

    # The live set.

    def goal(self, subscriber: Subscriber) -> int:
        """See `LiveSet.goal`: a live lane is at the head, a paced one where its last flush ended."""
        if subscriber.pace_ms:
            lane = self.lanes.find(_lane_key(subscriber))
            if lane is not None and lane.members:
                return max(self._head(lane), subscriber.offset)
        return self.delivered

    def _head(self, lane: Lane) -> int:
        """Return the offset that the members of `lane` have reached unless they are blocked."""
        if lane.key.pace_ms:
            return self.paces.head(lane)
        return lane.pending[0].entries[0].offset - 1 if lane.pending else self.delivered

    def reached(self, subscriber: Subscriber) -> int:
        """Return the offset up to which everything on the paths of `subscriber` was written to it."""
        if subscriber.state is SubscriberState.LIVE and subscriber.lane is not None:
            return subscriber.lane.reached(subscriber, self._head(subscriber.lane))
        return subscriber.offset if subscriber.paths else self.delivered

    def join(self, subscriber: Subscriber) -> None:
        """See `LiveSet.join`."""
        if not subscriber.paths:
            subscriber.offset = self.delivered
            return
        lane = self.lanes.find_or_create(_lane_key(subscriber), self.delivered)
        subscriber.lane = lane
        if not lane.members:
            lane.offset = subscriber.offset
        elif subscriber.pace_ms and subscriber.offset != self._head(lane):
            lane.waiting[subscriber] = None
            self.paces.wait(subscriber)
            return
        lane.add(subscriber)
        subscriber.state = SubscriberState.LIVE
        self.counters.joined += 1

    def leave(self, subscriber: Subscriber) -> None:
        """Take `subscriber` out of the live set; only its position remains."""
        lane = subscriber.lane
        if lane is None:
            return
        if subscriber.state is SubscriberState.LIVE:
            subscriber.offset = self.reached(subscriber)
            subscriber.state = SubscriberState.CATCHING_UP
        subscriber.lane = None
        lane.waiting.pop(subscriber, None)
        lane.remove(subscriber)
        self.outbound.hold(lane)
        self.lanes.discard(lane)

    def read_again(self, subscriber: Subscriber) -> None:
        """See `PacedDelivery.read_again`."""
        self.leave(subscriber)
        self.catchup.add(subscriber)

    def pause(self, subscriber: Subscriber) -> None:
        """Record that `subscriber` has unsent bytes: its socket does not drain. May be called during a write.

        Nothing more is written to it until all are sent: events that wait in the log are conflated, those that wait in
        a buffer are not. A live subscriber stays in its lane up to the high-water mark.
        """
        subscriber.blocked = True
        self.outbound.add_unsent(subscriber, subscriber.outlet.write_buffer_size())
        if subscriber.state is SubscriberState.LIVE and subscriber.lane is not None:
            subscriber.lane.block(subscriber)

    def resume(self, subscriber: Subscriber) -> None:
        """Record that all bytes are sent: `subscriber` gets what its lane holds for it, or reads itself forward."""
        subscriber.blocked = False
        self.outbound.remove_unsent(subscriber)
        lane = subscriber.lane
        if subscriber.state is not SubscriberState.LIVE or lane is None:
            self.catchup.add(subscriber)
            return
        offset = lane.resume(subscriber)
        if offset is not None:
            self._fall_behind(subscriber)
            subscriber.offset = offset
        self.outbound.hold(lane)

    # Subscriptions.

    def open(self, subscriber: Subscriber) -> None:
        """Add `subscriber`, at the head and with no paths."""
        self.subscribers += 1
        subscriber.offset = self.delivered

    def close(self, subscriber: Subscriber) -> None:
        """Remove `subscriber`."""
        if subscriber.state is SubscriberState.CLOSED:
            return
        self.leave(subscriber)
        self.outbound.remove_unsent(subscriber)
        subscriber.state = SubscriberState.CLOSED
        subscriber.backlog.clear()
        self.subscribers -= 1

    def subscribe(
        self,
        subscriber: Subscriber,
        added: PathSet,
        since: Since,
        *,
        on_subscribed: SubscribedCallback,
        on_live: LiveCallback,
    ) -> None:
        """Add paths: `subscriber` leaves the live set, reads what the added paths lack, and goes on with the union.

        Args:
            subscriber: The subscriber.
            added: The paths to add.
            since: Where to start reading the added paths.
            on_subscribed: Called before the events.
            on_live: Called when snapshot or catch-up has ended, with the offset that it reached.
        """
        self.leave(subscriber)
        if isinstance(since, Position):
            offset = self._log.resolve(since)
            if offset is not None and offset > self.delivered:
                begin = partial(self._begin, subscriber, since, on_subscribed, on_live)
                self._wait_for(_FutureSubscription(subscriber, offset, added, begin))
                self.catchup.add(subscriber)
                return
        self._begin(subscriber, since, on_subscribed, on_live, added)

    def _begin(
        self,
        subscriber: Subscriber,
        since: Since,
        on_subscribed: SubscribedCallback,
        on_live: LiveCallback,
        added: PathSet,
    ) -> None:
        self.leave(subscriber)
        before = subscriber.paths
        lacking = PathSet(tuple(path for path in added.paths if not before.covers(path)))
        current = subscriber.offset if before else self.delivered
        start = self._find_start(since, lacking, current)
        after = start.after
        subscriber.paths = before | added
        on_subscribed(start.outcome, current if start.newest_only else after)
        if start.gap_reason and isinstance(since, Position):
            subscriber.on_gap(since, self._log.position(current), start.gap_reason)
        if after > current:  # ahead of the cursor: the paths it had before follow up to there first
            backlog = BacklogRange(
                paths=before, after=current, until=after, gap_until=subscriber.gap_until, on_done=on_live
            )
            subscriber.offset = after
        else:
            backlog = BacklogRange(
                paths=lacking,
                excluded=before,
                after=after,
                until=current,
                newest_only=start.newest_only,
                on_done=on_live,
            )
            subscriber.offset = current
        subscriber.backlog.append(backlog)
        self.catchup.add(subscriber)

    def _find_start(self, since: Since, lacking: PathSet, current: int) -> _Start:
        if since == NOW or not lacking:
            return _Start("live", current)
        if since == SNAPSHOT:
            return _Start("snapshot", 0, newest_only=True)
        if isinstance(since, Moment):
            offset: int | None = min(self._log.last_before(since.unix_ns), self.delivered)
        else:
            offset = self._log.resolve(since) if isinstance(since, Position) else 0
        if offset is None:
            return _Start("gap", 0, newest_only=True, gap_reason="epoch")
        if offset > self.delivered:
            return _Start("gap", 0, newest_only=True, gap_reason="future")
        trimmed = offset < self.ring.floor and self._log.trimmed(offset, lacking) is not None
        return _Start("gap" if trimmed else "complete", offset)

    def unsubscribe(self, subscriber: Subscriber, removed: PathSet) -> None:
        """Remove paths from `subscriber`; what it has not read of them yet, it never reads."""
        self._keep(subscriber, subscriber.paths.without(removed))

    def restrict(self, subscriber: Subscriber, left: PathSet, readable: PathSet, form: WireForm) -> None:
        """Leave paths to `subscriber`, which misses and repeats no event on them.

        Args:
            subscriber: The subscriber.
            left: Parts of its paths.
            readable: The paths to which its subscriptions are limited that have not begun yet.
            form: The wire form of events from now on.
        """
        for future in self._future:
            if future.subscriber is subscriber:
                future.added &= readable
        if (left, form) != (subscriber.paths, subscriber.form):
            self._keep(subscriber, left, form)

    def _keep(self, subscriber: Subscriber, left: PathSet, form: WireForm | None = None) -> None:
        self.leave(subscriber)
        subscriber.paths = left
        subscriber.form = form or subscriber.form
        for backlog in subscriber.backlog:
            # By the paths that are left, not by the removed ones: a range's paths may be parts of a path added later.
            backlog.paths &= left
        self.catchup.add(subscriber)

    # Positions from the future.

    def _wait_for(self, future: _FutureSubscription) -> None:
        self._future[future] = None
        self._scheduler.call_later(self._config.future_wait_s, partial(self._begin_future, future))

    def _begin_reached(self) -> None:
        for future in list(self._future):
            if future.offset <= self.delivered:
                self._begin_future(future)

    def _begin_future(self, future: _FutureSubscription) -> None:
        if future.done:
            return
        future.done = True
        del self._future[future]
        if future.subscriber.state is not SubscriberState.CLOSED:
            future.begin(future.added)


def _lane_key(subscriber: Subscriber) -> LaneKey:
    return LaneKey(subscriber.paths, subscriber.form, subscriber.pace_ms)
