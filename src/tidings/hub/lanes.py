"""Lanes: subscribers that get identical bytes (DESIGN, "A lane is one byte stream").

A subscriber: a cursor in the log, and the outlet its events go to (DESIGN, "A subscriber is a cursor").
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from msgspec import Struct

from tidings.hub.wire import Outlet, WireForm
from tidings.protocol.paths import NOTHING, PathSet
from tidings.protocol.positions import Position

_MAX_ROUTES = 65_536
"""Remembered (channel, key) pairs; all are thrown away when there are more, and whenever a lane comes or goes."""


Send = Callable[[bytes], int | None]
"""See `Outlet.direct`."""


class LaneKey(Struct, frozen=True):
    """What makes bytes identical: equal keys are one lane."""

    paths: PathSet
    form: WireForm
    pace_ms: int


class Lane:
    """The live subscribers of one lane, and what the tick has for them."""

    __slots__ = ("_by_send", "_senders", "buffered", "key", "members", "offset", "pending", "waiting", "wrote_at")

    def __init__(self, key: LaneKey, offset: int) -> None:
        self.key = key
        self.members: dict[Subscriber, None] = {}
        self.buffered: dict[Subscriber, None] = {}
        """Members with bytes that wait to be sent: theirs must queue behind these."""
        self.waiting: dict[Subscriber, None] = {}
        """Paced: those who join at the next flush."""
        self.pending: list[bytes] = []
        """Frames of the tick under way."""
        self.offset = offset
        """Everything on the lane's paths up to here was written to its members."""
        self.wrote_at = 0.0
        """When the members were last written to, on the monotonic clock."""
        self._senders: tuple[Send, ...] | None = ()
        self._by_send: dict[Send, Subscriber] = {}

    def add(self, subscriber: "Subscriber") -> None:
        """Let `subscriber` be written to from the next write on."""
        self.members[subscriber] = None
        if subscriber.blocked:
            self.buffered[subscriber] = None
        self._senders = None

    def remove(self, subscriber: "Subscriber") -> None:
        """Write no more to `subscriber`; safe in the middle of a write."""
        if self.members.pop(subscriber, self) is None:
            self.buffered.pop(subscriber, None)
            self._senders = None

    def buffer(self, subscriber: "Subscriber") -> None:
        """Note that bytes for `subscriber`, a member, wait to be sent; safe in the middle of a write."""
        self.buffered[subscriber] = None
        self._senders = None

    def unbuffer(self, subscriber: "Subscriber") -> None:
        """Note that no bytes for `subscriber` wait any more."""
        if self.buffered.pop(subscriber, self) is None:
            self._senders = None

    def wrote_within(self, seconds: float, now: float) -> bool:
        """Return whether the members were written to in the last `seconds` before `now`."""
        return now - self.wrote_at < seconds

    def write(self, frames: bytes) -> int:
        """Write `frames` to every member; return how many there were."""
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
                continue  # the peer is gone, as its socket is about to say
            if sent != size and sent is not None:
                self._by_send[send].outlet.write(frames[sent:])
        for member in buffered:
            if member in self.members:
                member.outlet.write(frames)
        return len(senders) + len(buffered)


class Lanes:
    """All lanes, found by key and by the path of an event."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, dict[Lane, None]] = {}
        self._keys: dict[tuple[str, str], dict[Lane, None]] = {}
        self._prefixes: dict[str, dict[int, dict[str, dict[Lane, None]]]] = {}
        self._routes: dict[tuple[str, str | None], tuple[Lane, ...]] = {}
        self.paces: Counter[int] = Counter()
        """How many lanes there are of each pace."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def paced(self, pace_ms: int) -> Iterable[Lane]:
        """Return the lanes of one pace."""
        return [lane for lane in self._lanes.values() if lane.key.pace_ms == pace_ms]

    def find(self, key: LaneKey) -> Lane | None:
        """Return the lane of `key`, if there is one."""
        return self._lanes.get(key)

    def lane(self, key: LaneKey, offset: int) -> Lane:
        """Return the lane of `key`, made at `offset` if there was none."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, offset)
            if key.pace_ms:  # a paced lane is a cursor: it reads, and is not routed to
                self.paces[key.pace_ms] += 1
            else:
                self._index(lane)
        return lane

    def discard(self, lane: Lane) -> None:
        """Forget `lane` if nobody is left in it."""
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
        """Return the lanes that an event of `channel` and `key` concerns, each once."""
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


class SubscriberState(Enum):
    """Where a subscriber is."""

    LIVE = "live"
    """At the head: gets each batch as it is appended."""
    CATCHING_UP = "catching up"
    """Behind the head, reading forward."""
    CLOSED = "closed"


class BacklogRange(Struct, kw_only=True):
    """A stretch of the log to be read to one subscriber before it goes on."""

    paths: PathSet
    but: PathSet = NOTHING
    """Paths it has already."""
    after: int
    """Moves on as the stretch is read."""
    until: int
    newest_only: bool = False
    told: int = 0
    """Up to where the subscriber was told of a gap in it."""
    then: Callable[[int], None]
    """Called with `until`, when the stretch has been read."""


class Subscriber:
    """One cursor. `offset` is its whole state: everything on `paths` up to there was written to its outlet."""

    __slots__ = (
        "__weakref__",
        "backlog",
        "blocked",
        "form",
        "lane",
        "offset",
        "on_gap",
        "outlet",
        "pace_ms",
        "paths",
        "queued",
        "reading",
        "state",
        "told",
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
        self.paths = NOTHING
        self.offset = 0
        self.state = SubscriberState.CATCHING_UP
        self.lane: Lane | None = None
        self.blocked = False
        """Whether the outlet takes no more for now."""
        self.queued = False
        """Whether it waits for its turn to catch up."""
        self.reading = False
        """Whether the log reads for it: it has its turn when that arrives."""
        self.told = 0
        """Up to where it was told of a gap."""
        self.backlog: deque[BacklogRange] = deque()
        self.on_gap = on_gap
        """Called with the last position read, the one up to which durable events of its paths may be gone, and why."""
