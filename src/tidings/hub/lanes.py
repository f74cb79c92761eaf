"""Subscribers and lanes (ARCHITECTURE.md, "Five ideas").

A subscriber is a cursor in the log and the outlet that its events go to. Live subscribers that receive identical bytes
share a lane.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import islice

from msgspec import Struct

from tidings.hub.frame_run import FrameRun, write_rest, write_run
from tidings.hub.ring import ENTRY_OVERHEAD_BYTES, RingEntry
from tidings.hub.wire import Outlet, Send, WireForm
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import NO_PATHS, PathSet
from tidings.protocol.positions import Position

_MAX_ROUTES_BYTES = 16 << 20
"""Memory of the cached routes. The whole cache is dropped beyond it, and whenever a lane comes or goes."""
_ROUTE_BYTES = 400
"""Memory of a cached route besides 8 bytes for each lane, measured with keys of 36 characters."""


class SubscriberState(Enum):
    """The state of a subscriber."""

    LIVE = "live"
    """At the head: receives each batch as it is appended."""
    CATCHING_UP = "catching up"
    """Behind the head, reading forward."""
    CLOSED = "closed"


class BacklogRange(Struct, kw_only=True):
    """A range of the log that one subscriber reads before it goes on."""

    paths: PathSet
    excluded: PathSet = NO_PATHS
    """Paths that the subscriber has already."""
    after: int
    """Offset to read after; it moves on as the range is read."""
    until: int
    newest_only: bool = False
    gap_until: int = 0
    """Offset up to which a gap in this range was reported to the subscriber."""
    on_done: Callable[[int], None]
    """Called with `until` when the range has been read."""


class Subscriber:
    """One cursor. `offset` is its whole state: everything on `paths` up to there was written to its outlet."""

    __slots__ = (
        "__weakref__",
        "backlog",
        "blocked",
        "form",
        "gap_until",
        "lane",
        "offset",
        "on_gap",
        "outlet",
        "pace_ms",
        "paths",
        "queued",
        "reading",
        "state",
    )

    def __init__(
        self,
        outlet: Outlet,
        form: WireForm,
        *,
        pace_ms: int = 0,
        on_gap: Callable[[Position, Position, str], None],
    ) -> None:
        self.outlet = outlet
        self.form = form
        self.pace_ms = pace_ms
        self.paths = NO_PATHS
        self.offset = 0
        self.state = SubscriberState.CATCHING_UP
        self.lane: Lane | None = None
        self.blocked = False
        """Whether the outlet takes no more for now."""
        self.queued = False
        """Whether the subscriber waits for its turn to catch up."""
        self.reading = False
        """Whether a read of the log is under way for it; its next turn comes with the result."""
        self.gap_until = 0
        """Offset up to which a gap was reported to it."""
        self.backlog: deque[BacklogRange] = deque()
        """Ranges to read before it goes on from `offset`."""
        self.on_gap = on_gap
        """Called with the last position read, the position up to which durable events of its paths may be gone, and
        the reason."""


class LaneKey(Struct, frozen=True):
    """Everything that the bytes depend on. Subscribers with equal keys share a lane."""

    paths: PathSet
    form: WireForm
    pace_ms: int


_END = 1 << 62
"""A byte position beyond every run."""


class Lane:
    """The live subscribers that receive identical bytes, and the events of the current tick.

    A member whose socket takes no more is *blocked*: it has a place in the runs that the lane has written since, and
    the lane holds these runs for all blocked members together. Its socket has at most the rest of one frame.
    """

    __slots__ = (
        "_by_send",
        "_held",
        "_number",
        "_sends",
        "_tuple",
        "blocked",
        "form",
        "held_bytes",
        "key",
        "members",
        "offset",
        "overflowed",
        "pending",
        "slots",
        "waiting",
        "wrote_at",
    )

    def __init__(self, key: LaneKey, offset: int) -> None:
        self.key = key
        self.form = key.form
        self.members: dict[Subscriber, Send] = {}
        self.blocked: dict[Subscriber, tuple[int, int]] = {}
        """Members with unsent bytes, in the order in which they were blocked, which is that of their places: number of
        a run, and the end of the last frame of it that was written."""
        self.held_bytes = 0
        """Memory of the runs that are held for blocked members."""
        self.waiting: dict[Subscriber, None] = {}
        """Paced lanes only: subscribers that join at the next flush."""
        self.pending: list[RingEntry] = []
        """Events of the current tick."""
        self.overflowed = False
        """Paced lanes only: whether too many events wait, so that the members read them from the log."""
        self.offset = offset
        """Paced lanes only: offset up to which everything on the lane's paths was written, while events wait."""
        self.wrote_at = 0.0
        """When the members were last written to, in seconds of the monotonic clock."""
        self.slots: dict[object, RingEntry] = {}
        """Paced lanes only: the events that wait for the next flush in log order, the newest of each `latest` key."""
        self._sends: dict[Send, Subscriber] = {}
        """Members without unsent bytes."""
        self._tuple: tuple[Send, ...] | None = ()
        self._by_send: dict[Send, Subscriber] = {}
        self._number = 0
        """Number of runs written."""
        self._held: deque[FrameRun] = deque()
        """The newest runs, from that of the first blocked member on."""

    def add(self, subscriber: Subscriber) -> None:
        """Write to `subscriber` from the next write on."""
        send = self.members[subscriber] = subscriber.outlet.direct()
        if subscriber.blocked:
            self.blocked[subscriber] = self._number, _END
        else:
            self._sends[send] = subscriber
            self._tuple = None

    def remove(self, subscriber: Subscriber) -> None:
        """Stop writing to `subscriber`; safe during a write."""
        send = self.members.pop(subscriber, None)
        if send is None:
            return
        self.blocked.pop(subscriber, None)
        self._trim()
        if self._sends.pop(send, None) is not None:
            self._tuple = None

    def block(self, subscriber: Subscriber) -> None:
        """Record that `subscriber`, a member, has unsent bytes; safe during a write."""
        if subscriber not in self.blocked:
            self.blocked[subscriber] = self._number, _END
            self._sends.pop(self.members[subscriber], None)
            self._tuple = None

    def resume(self, subscriber: Subscriber) -> int | None:
        """Write what `subscriber` has missed while it was blocked.

        Returns:
            The offset that it has reached if it did not take everything, and has to leave the lane; else None.
        """
        missed = self._missed(*self.blocked.pop(subscriber))
        written = write_run(subscriber, missed) if missed is not None else 0
        if missed is not None and written < len(missed.frames):
            self.blocked.pop(subscriber, None)
            return missed.offset(written)
        if not subscriber.blocked:
            self._sends[self.members[subscriber]] = subscriber
            self._tuple = None
        self._trim()
        return None

    def reached(self, subscriber: Subscriber, head: int) -> int:
        """Return the offset up to which everything was written to `subscriber`, a member.

        Args:
            subscriber: The member.
            head: The offset that the members which are not blocked have reached.
        """
        place = self.blocked.get(subscriber)
        missed = self._missed(*place) if place is not None else None
        return head if missed is None else missed.after

    def _missed(self, number: int, end: int) -> FrameRun | None:
        """Return what follows a place in the lane's runs, or None."""
        index = number - self._number + len(self._held) - 1
        runs = list(islice(self._held, max(0, index), None))
        if index >= 0:
            first = runs.pop(0)
            if end < len(first.frames):
                runs.insert(0, first.rest(end))
        return FrameRun.joined(runs) if runs else None

    # Paced lanes: events are collected until the next flush.

    def collect(self, entry: RingEntry) -> int:
        """Keep `entry` for the next flush, and return by how many bytes the lane's events have grown."""
        event = entry.record.event
        size = len(event.data) + ENTRY_OVERHEAD_BYTES
        if event.event_class is not EventClass.LATEST:
            self.slots[entry.record.offset] = entry
            return size
        slot = event.channel, event.type, event.key
        before = self.slots.pop(slot, None)
        self.slots[slot] = entry
        return size if before is None else len(event.data) - len(before.record.event.data)

    def overflow(self) -> int:
        """Drop the collected events, which the members read from the log, and return their size in bytes."""
        self.overflowed = True
        return self._clear()

    def flush(self) -> tuple[list[RingEntry], int]:
        """Return the collected events and their size in bytes, and start to collect again."""
        entries = list(self.slots.values())
        self.overflowed = False
        return entries, self._clear()

    def _clear(self) -> int:
        size = sum(len(entry.record.event.data) + ENTRY_OVERHEAD_BYTES for entry in self.slots.values())
        self.slots.clear()
        return size

    @property
    def collecting(self) -> bool:
        """Whether events wait for the next flush."""
        return bool(self.slots) or self.overflowed

    # Writing.

    def wrote_within(self, seconds: float, now: float) -> bool:
        """Return whether the members were written to in the last `seconds` before `now`."""
        return now - self.wrote_at < seconds

    def write(self, frames: bytes, entries: Sequence[RingEntry], after: int) -> int:
        """Write to every member that is not blocked, and return their number.

        Args:
            frames: The joined frames of `entries`.
            entries: Events of the log, in order.
            after: Offset up to which everything on the lane's paths was written before.
        """
        self._number += 1
        sends = self._tuple
        if sends is None:
            # Tuples, rebuilt when membership changed: `pause_writing` fires inside a write and changes it.
            by_send = self._by_send = self._sends.copy()
            sends = self._tuple = tuple(by_send)
        run = self._hold(frames, entries, after) if self.blocked else None
        size = len(frames)
        for send in sends:
            try:
                sent = send(frames)
            except BlockingIOError:
                sent = 0
            except OSError:
                continue  # the peer is gone; its socket is about to report that
            if sent != size:
                run = run or self._hold(frames, entries, after)
                subscriber = self._by_send[send]
                end = write_rest(subscriber, run, sent)
                if end < size and subscriber in self.blocked:
                    self.blocked[subscriber] = self._number, end
        if run is not None:
            self._trim()
        return len(sends)

    def _hold(self, frames: bytes, entries: Sequence[RingEntry], after: int) -> FrameRun:
        form = self.form
        sizes = [len(entry.frames[form]) for entry in entries]
        run = FrameRun(frames, sizes, [entry.record.offset for entry in entries], after)
        self._held.append(run)
        self.held_bytes += run.memory
        return run

    def _trim(self) -> None:
        """Drop the runs that no blocked member needs."""
        held = self._held
        if not held:
            return
        number, end = next(iter(self.blocked.values()), (self._number, _END))
        needed = self._number - number + (end < _END)
        while len(held) > needed:
            self.held_bytes -= held.popleft().memory


Route = tuple[tuple[Lane, ...], tuple[Lane, ...]]
"""The lanes that an event belongs to: those without a pace, and the paced ones."""


class Lanes:
    """All lanes of a hub, found by their key and by the path of an event."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, dict[Lane, None]] = {}
        self._keys: dict[tuple[str, str], dict[Lane, None]] = {}
        self._prefixes: dict[str, dict[int, dict[str, dict[Lane, None]]]] = {}
        self._routes: dict[tuple[str, str | None], Route] = {}
        self._routes_bytes = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def find(self, key: LaneKey) -> Lane | None:
        """Return the lane of `key`, or None."""
        return self._lanes.get(key)

    def find_or_create(self, key: LaneKey, offset: int) -> Lane:
        """Return the lane of `key`; create it at `offset` if there is none."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, offset)
            self._index(lane)
        return lane

    def discard(self, lane: Lane) -> None:
        """Remove `lane` if it has no subscribers left."""
        if lane.members or lane.waiting or self._lanes.get(lane.key) is not lane:
            return
        del self._lanes[lane.key]
        self._unindex(lane)

    def route(self, channel: str, key: str | None) -> Route:
        """Return the lanes whose paths match an event of `channel` and `key`, each once."""
        route = self._routes.get((channel, key))
        if route is None:
            lanes = dict.fromkeys(self._find(channel, key))
            live = tuple(lane for lane in lanes if not lane.key.pace_ms)
            route = live, tuple(lane for lane in lanes if lane.key.pace_ms)
            self._routes_bytes += _ROUTE_BYTES + 8 * len(lanes)
            if self._routes_bytes > _MAX_ROUTES_BYTES:
                self._drop_routes()
            else:
                self._routes[channel, key] = route
        return route

    def _drop_routes(self) -> None:
        self._routes.clear()
        self._routes_bytes = 0

    def _find(self, channel: str, key: str | None) -> Iterator[Lane]:
        yield from self._channels.get(channel, ())
        if key is None:
            return
        yield from self._keys.get((channel, key), ())
        for length, prefixes in self._prefixes.get(channel, {}).items():
            yield from prefixes.get(key[:length], ())

    def _index(self, lane: Lane) -> None:
        for path in lane.key.paths.paths:
            if path.key is None:
                self._channels.setdefault(path.channel, {})[lane] = None
            elif path.prefix:
                lengths = self._prefixes.setdefault(path.channel, {})
                lengths.setdefault(len(path.key), {}).setdefault(path.key, {})[lane] = None
            else:
                self._keys.setdefault((path.channel, path.key), {})[lane] = None
        self._drop_routes()

    def _unindex(self, lane: Lane) -> None:
        for path in lane.key.paths.paths:
            if path.key is None:
                del self._channels[path.channel][lane]
            elif path.prefix:
                lengths = self._prefixes[path.channel]
                prefixes = lengths[len(path.key)]
                del prefixes[path.key][lane]
                if not prefixes[path.key]:
                    del prefixes[path.key]
                if not prefixes:
                    del lengths[len(path.key)]
            else:
                lanes = self._keys[path.channel, path.key]
                del lanes[lane]
                if not lanes:
                    del self._keys[path.channel, path.key]
        self._drop_routes()
