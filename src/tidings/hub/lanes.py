"""Subscribers and lanes (ARCHITECTURE.md, "Five ideas").

A subscriber is a cursor in the log and the outlet that its events go to. Live subscribers that receive identical bytes
share a lane.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from msgspec import Struct

from tidings.hub.wire import Outlet, WireForm
from tidings.protocol.paths import NO_PATHS, PathSet
from tidings.protocol.positions import Position

_MAX_ROUTES = 65_536
"""Cached (channel, key) pairs. The whole cache is dropped beyond this number, and whenever a lane comes or goes."""

Send = Callable[[bytes], int | None]
"""See `Outlet.direct`."""


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


class Lane:
    """The live subscribers that receive identical bytes, and the frames of the current tick."""

    __slots__ = ("_by_send", "_senders", "buffered", "key", "members", "offset", "pending", "waiting", "wrote_at")

    def __init__(self, key: LaneKey, offset: int) -> None:
        self.key = key
        self.members: dict[Subscriber, None] = {}
        self.buffered: dict[Subscriber, None] = {}
        """Members with unsent bytes: new frames must queue behind those."""
        self.waiting: dict[Subscriber, None] = {}
        """Paced lanes only: subscribers that join at the next flush."""
        self.pending: list[bytes] = []
        """Frames of the current tick."""
        self.offset = offset
        """Offset up to which everything on the lane's paths was written to its members."""
        self.wrote_at = 0.0
        """When the members were last written to, in seconds of the monotonic clock."""
        self._senders: tuple[Send, ...] | None = ()
        self._by_send: dict[Send, Subscriber] = {}

    def add(self, subscriber: Subscriber) -> None:
        """Write to `subscriber` from the next write on."""
        self.members[subscriber] = None
        if subscriber.blocked:
            self.buffered[subscriber] = None
        self._senders = None

    def remove(self, subscriber: Subscriber) -> None:
        """Stop writing to `subscriber`; safe during a write."""
        if self.members.pop(subscriber, self) is None:
            self.buffered.pop(subscriber, None)
            self._senders = None

    def buffer(self, subscriber: Subscriber) -> None:
        """Record that `subscriber`, a member, has unsent bytes; safe during a write."""
        self.buffered[subscriber] = None
        self._senders = None

    def unbuffer(self, subscriber: Subscriber) -> None:
        """Record that `subscriber` has no unsent bytes any more."""
        if self.buffered.pop(subscriber, self) is None:
            self._senders = None

    def wrote_within(self, seconds: float, now: float) -> bool:
        """Return whether the members were written to in the last `seconds` before `now`."""
        return now - self.wrote_at < seconds

    def write(self, frames: bytes) -> int:
        """Write `frames` to every member; return the number of members."""
        buffered = tuple(self.buffered)
        senders = self._senders
        if senders is None:
            # Tuples, rebuilt when membership changed: `pause_writing` fires inside a write and changes it.
            self._by_send = {member.outlet.direct(): member for member in self.members if member not in self.buffered}
            senders = self._senders = tuple(self._by_send)
        size = len(frames)
        for send in senders:
            try:
                sent = send(frames)
            except BlockingIOError:
                sent = 0
            except OSError:
                continue  # the peer is gone; its socket is about to report that
            if sent != size and sent is not None:
                self._by_send[send].outlet.write(frames[sent:])
        for member in buffered:
            if member in self.members:
                member.outlet.write(frames)
        return len(senders) + len(buffered)


class Lanes:
    """All lanes of a hub, found by their key and by the path of an event."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, dict[Lane, None]] = {}
        self._keys: dict[tuple[str, str], dict[Lane, None]] = {}
        self._prefixes: dict[str, dict[int, dict[str, dict[Lane, None]]]] = {}
        self._routes: dict[tuple[str, str | None], tuple[Lane, ...]] = {}
        self.paces: Counter[int] = Counter()
        """Number of lanes by pace, in milliseconds."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def paced(self, pace_ms: int) -> Iterable[Lane]:
        """Return the lanes of one pace."""
        return [lane for lane in self._lanes.values() if lane.key.pace_ms == pace_ms]

    def find(self, key: LaneKey) -> Lane | None:
        """Return the lane of `key`, or None."""
        return self._lanes.get(key)

    def find_or_create(self, key: LaneKey, offset: int) -> Lane:
        """Return the lane of `key`; create it at `offset` if there is none."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, offset)
            if key.pace_ms:  # a paced lane is a cursor: it reads by itself, and no event is routed to it
                self.paces[key.pace_ms] += 1
            else:
                self._index(lane)
        return lane

    def discard(self, lane: Lane) -> None:
        """Remove `lane` if it has no subscribers left."""
        if lane.members or lane.waiting or self._lanes.get(lane.key) is not lane:
            return
        del self._lanes[lane.key]
        pace_ms = lane.key.pace_ms
        if not pace_ms:
            self._unindex(lane)
        elif self.paces[pace_ms] == 1:
            del self.paces[pace_ms]
        else:
            self.paces[pace_ms] -= 1

    def route(self, channel: str, key: str | None) -> tuple[Lane, ...]:
        """Return the lanes whose paths match an event of `channel` and `key`, each once."""
        lanes = self._routes.get((channel, key))
        if lanes is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            lanes = self._routes[channel, key] = tuple(dict.fromkeys(self._find(channel, key)))
        return lanes

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
        self._routes.clear()

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
        self._routes.clear()
