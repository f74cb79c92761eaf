"""Paces: events of paced lanes are collected, conflated, and written on a timer.

All lanes of a pace are written together. Events are collected by route, and joined once for all lanes that get the same
ones, so that a crowd costs events plus lanes (ARCHITECTURE.md, "Live, buffered, behind").
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import structlog

from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.lanes import Lane, RoutedEvents, Subscriber
from tidings.hub.ring import ENTRY_OVERHEAD_BYTES, RingEntry
from tidings.hub.routing import Route
from tidings.log.base import Log, Scheduler
from tidings.protocol.message_types import EventClass

log = structlog.get_logger("tidings.hub.paces")


class PacedDelivery(Protocol):
    """The part of the hub's delivery that paces depend on."""

    delivered: int
    """Offset up to which events were delivered or collected."""

    def write(self, lanes: Sequence[Lane], events: RoutedEvents, after: int) -> None:
        """Write `events` to the members of `lanes`, which have read everything up to `after`."""

    def read_again(self, subscriber: Subscriber) -> None:
        """Take `subscriber` out of its lane; it reads the log forward and joins again."""


class CollectedEvents:
    """The events of one route that wait for a flush: the newest of each `latest` key, and all durable ones."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[object, RingEntry] = {}

    def add(self, entry: RingEntry) -> int:
        """Add the newest event, and return by how many bytes the events have grown."""
        event = entry.record.event
        size = len(event.data) + ENTRY_OVERHEAD_BYTES
        if event.event_class is not EventClass.LATEST:
            self._entries[entry.record.offset] = entry
            return size
        slot = event.channel, event.type, event.key
        before = self._entries.pop(slot, None)
        self._entries[slot] = entry
        return size if before is None else len(event.data) - len(before.record.event.data)

    def entries(self) -> list[RingEntry]:
        """Return the events in log order."""
        return list(self._entries.values())

    def clear(self) -> None:
        """Drop the events."""
        self._entries.clear()


class _Window:
    """The events of one pace between two flushes."""

    __slots__ = ("overflowed", "routed", "size", "start", "waiting")

    def __init__(self, start: int) -> None:
        self.start = start
        """Offset after which the first event comes."""
        self.routed: dict[Route, CollectedEvents] = {}
        self.waiting: dict[Subscriber, None] = {}
        """Subscribers that join their lane after the flush."""
        self.size = 0
        self.overflowed = False
        """Whether there were too many events, so that the members read them from the log."""


class Paces:
    """The events of all paced lanes.

    Args:
        delivery: Writes to lanes and reads for subscribers.
        event_log: The log.
        scheduler: The event loop.
        clock: The machine's clocks.
        config: Limits and intervals.
    """

    def __init__(
        self, delivery: PacedDelivery, event_log: Log, scheduler: Scheduler, clock: Clock, config: HubConfig
    ) -> None:
        self._delivery = delivery
        self._log = event_log
        self._scheduler = scheduler
        self._clock = clock
        self._config = config
        self._windows: dict[int, _Window] = {}
        """The windows that collect, by pace; there is none for a pace whose lanes have no events."""
        self._flushing: dict[int, _Window] = {}
        """The windows that are written now, by pace."""
        self._flushed_at: dict[int, float] = {}
        """Time of the last flush by pace, in seconds of the monotonic clock."""
        self._size = 0

    def collect(self, entry: RingEntry, route: Route) -> None:
        """Keep an event for the next flush of the lanes of `route`."""
        for pace_ms in route.paces:
            window = self._windows.get(pace_ms)
            if window is None:
                window = self._open(pace_ms, entry.record.offset - 1)
            collected = window.routed.get(route)
            if collected is None:
                collected = window.routed[route] = CollectedEvents()
            if not window.overflowed:
                growth = collected.add(entry)
                window.size += growth
                self._size += growth
                if self._size > self._config.ring_bytes:
                    self._overflow(window)

    def head(self, lane: Lane) -> int:
        """Return the offset up to which everything was written to the members of a paced lane."""
        pace_ms = lane.key.pace_ms
        window = self._flushing.get(pace_ms) or self._windows.get(pace_ms)
        return self._delivery.delivered if window is None else max(lane.offset, window.start)

    def wait(self, subscriber: Subscriber) -> None:
        """Let `subscriber`, which is ahead of its lane, join after the next flush."""
        pace_ms = subscriber.pace_ms
        window = self._windows.get(pace_ms) or self._flushing[pace_ms]
        window.waiting[subscriber] = None

    def _open(self, pace_ms: int, start: int) -> _Window:
        # The first event after a silence is sent immediately; those that follow it wait for the pace.
        elapsed = self._clock.monotonic() - self._flushed_at.get(pace_ms, -1e9)
        self._scheduler.call_later(max(0.0, pace_ms / 1000 - elapsed), partial(self._flush, pace_ms))
        window = self._windows[pace_ms] = _Window(start)
        return window

    def _overflow(self, window: _Window) -> None:
        self._size -= window.size
        window.size = 0
        window.overflowed = True
        for collected in window.routed.values():
            collected.clear()

    def _flush(self, pace_ms: int) -> None:
        if pace_ms in self._flushing:  # the last flush is not over yet
            self._scheduler.call_soon(partial(self._flush, pace_ms))
            return
        self._flushed_at[pace_ms] = self._clock.monotonic()
        window = self._flushing[pace_ms] = self._windows.pop(pace_ms)
        self._run(self._steps(pace_ms, window), pace_ms)

    def _run(self, steps: Iterator[None], pace_ms: int) -> None:
        """Run the steps of a flush in slices, between which the loop serves others."""
        deadline = self._clock.monotonic() + self._config.catchup_budget_s
        window = self._flushing[pace_ms]
        try:
            for _ in steps:
                if self._clock.monotonic() >= deadline:
                    self._scheduler.call_soon(partial(self._run, steps, pace_ms))
                    return
        except Exception:  # one member's fault must not stop the pace of the others
            log.exception("a flush failed", pace_ms=pace_ms)
            for lane in {lane for route in window.routed for lane in route.paced if lane.key.pace_ms == pace_ms}:
                for subscriber in list(lane.members):
                    self._delivery.read_again(subscriber)
        del self._flushing[pace_ms]
        for subscriber in window.waiting:
            if subscriber.lane is not None and subscriber in subscriber.lane.waiting:
                self._delivery.read_again(subscriber)

    def _steps(self, pace_ms: int, window: _Window) -> Iterator[None]:
        end = self._delivery.delivered
        self._size -= window.size
        lanes: dict[Lane, list[CollectedEvents]] = {}
        for route, collected in window.routed.items():
            for lane in route.paced:
                if lane.key.pace_ms == pace_ms:
                    lanes.setdefault(lane, []).append(collected)
            yield
        if window.overflowed:
            for lane in lanes:
                # Without a pause: one that came back while others are left would join them at the start of the window.
                for subscriber in list(lane.members):
                    self._delivery.read_again(subscriber)
                yield
            return
        equal: dict[tuple[CollectedEvents, ...], list[Lane]] = {}
        for lane, parts in lanes.items():
            equal.setdefault(tuple(parts), []).append(lane)
        for group, members in equal.items():
            events = RoutedEvents.merged([RoutedEvents(self._current(each)) for each in group])
            for lane in members:
                self._write(lane, events, window.start, end)
                yield

    def _current(self, collected: CollectedEvents) -> list[RingEntry]:
        newest = self._log.newest
        return [
            entry
            for entry in collected.entries()
            if entry.record.event.event_class is not EventClass.LATEST
            or not newest.is_superseded(entry.offset, entry.record.event)
        ]

    def _write(self, lane: Lane, events: RoutedEvents, after: int, end: int) -> None:
        before = lane.offset
        if before > after:  # its first member joined later
            after = before
            events = RoutedEvents([entry for entry in events.entries if entry.offset > after])
        lane.offset = end  # before the write, which takes members out of the lane: they were given its events
        try:
            if events.entries and lane.members:
                self._delivery.write([lane], events, after)
        except Exception:
            lane.offset = before  # its members read the events again
            raise
