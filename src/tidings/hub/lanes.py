"""Subscribers and lanes (ARCHITECTURE.md, "Five ideas").

A subscriber is a cursor in the log and the outlet that its events go to. Live subscribers that receive identical bytes
share a lane.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import chain, islice
from typing import NamedTuple

from msgspec import Struct

from tidings.hub.frame_run import FrameRun, write_rest, write_run
from tidings.hub.ring import RingEntry
from tidings.hub.wire import Outlet, Send, WireForm
from tidings.protocol.paths import NO_PATHS, PathSet
from tidings.protocol.positions import Position


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
        self.backlog: list[BacklogRange] = []
        """Ranges to read before it goes on from `offset`, few: a deque is ten times as large."""
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
        "_held_number",
        "_partial",
        "_sends",
        "blocked",
        "form",
        "held_bytes",
        "key",
        "members",
        "number",
        "offset",
        "pending",
        "sends",
        "waiting",
        "wrote_at",
    )

    def __init__(self, key: LaneKey, offset: int) -> None:
        self.key = key
        self.form = key.form
        self.members: dict[Subscriber, Send] = {}
        self.blocked: dict[Subscriber, tuple[int, int]] = {}
        """Members with unsent bytes, in the order in which they were blocked, and their places: number of a run, which
        only grows in this order, and the end of the last frame of it that was written."""
        self._partial: Counter[int] = Counter()
        """Number of blocked members that need a part of a run, by its number."""
        self.held_bytes = 0
        """Memory of the runs that are held for blocked members."""
        self.waiting: dict[Subscriber, None] = {}
        """Paced lanes only: subscribers that join at the next flush."""
        self.pending: list[RoutedEvents] = []
        """Events of the current tick that are not written yet."""
        self.offset = offset
        """Paced lanes only: offset that the last flush with its events, or its first member before that, reached."""
        self.wrote_at = 0.0
        """When the members were last written to, in seconds of the monotonic clock."""
        self._sends: dict[Send, Subscriber] = {}
        """Members without unsent bytes."""
        self.sends: tuple[Send, ...] | None = ()
        """Functions that write to them; None if that changed since the last write."""
        self._by_send: dict[Send, Subscriber] = {}
        self.number = 0
        """Number of writes."""
        self._held_number = 0
        """Number of the newest run in `_held`."""
        self._held: deque[FrameRun] = deque()
        """The newest runs, from that of the first blocked member on."""

    def add(self, subscriber: Subscriber) -> None:
        """Write to `subscriber` from the next write on."""
        send = self.members[subscriber] = subscriber.outlet.direct()
        if subscriber.blocked:
            self.blocked[subscriber] = self.number, _END
        else:
            self._sends[send] = subscriber
            self.sends = None

    def remove(self, subscriber: Subscriber) -> None:
        """Stop writing to `subscriber`; safe during a write."""
        send = self.members.pop(subscriber, None)
        if send is None:
            return
        self._leave_place(subscriber)
        self.trim()
        if self._sends.pop(send, None) is not None:
            self.sends = None

    def block(self, subscriber: Subscriber) -> None:
        """Record that `subscriber`, a member, has unsent bytes; safe during a write."""
        if subscriber not in self.blocked:
            self.blocked[subscriber] = self.number, _END
            self._sends.pop(self.members[subscriber], None)
            self.sends = None

    def resume(self, subscriber: Subscriber) -> int | None:
        """Write what `subscriber` has missed while it was blocked.

        Returns:
            The offset that it has reached if it did not take everything, and has to leave the lane; else None.
        """
        missed = self._missed(*self.blocked[subscriber])
        self._leave_place(subscriber)
        written = write_run(subscriber, missed) if missed is not None else 0
        if missed is not None and written < len(missed.frames):
            self._leave_place(subscriber)
            return missed.offset(written)
        if not subscriber.blocked:
            self._sends[self.members[subscriber]] = subscriber
            self.sends = None
        self.trim()
        return None

    def reached(self, subscriber: Subscriber, head: int) -> int:
        """Return the offset up to which everything was written to `subscriber`, a member.

        Args:
            subscriber: The member.
            head: The offset that the members which are not blocked have reached.
        """
        place = self.blocked.get(subscriber)
        if place is None:
            return head
        # Without joining what it missed: hundreds of members may leave in one turn, each with megabytes behind it.
        number, end = place
        index = number - self.number + len(self._held) - 1
        if index >= 0 and end < len(self._held[index].frames):
            return self._held[index].offset(end)
        following = max(0, index + 1)
        return self._held[following].after if following < len(self._held) else head

    def _leave_place(self, subscriber: Subscriber) -> None:
        number, end = self.blocked.pop(subscriber, (0, _END))
        if end < _END:
            self._partial[number] -= 1
            if not self._partial[number]:
                del self._partial[number]

    def _missed(self, number: int, end: int) -> FrameRun | None:
        """Return what follows a place in the lane's runs, or None."""
        index = number - self.number + len(self._held) - 1
        runs = list(islice(self._held, max(0, index), None))
        if index >= 0:
            first = runs.pop(0)
            if end < len(first.frames):
                runs.insert(0, first.rest(end))
        return FrameRun.joined(runs) if runs else None

    def missed_bytes(self, subscriber: Subscriber) -> int:
        """Return the size of what the lane holds for `subscriber`."""
        number, end = self.blocked.get(subscriber, (self.number, _END))
        index = number - self.number + len(self._held) - 1
        sizes = [len(run.frames) for run in islice(self._held, max(0, index), None)]
        if index >= 0 and sizes:
            sizes[0] = max(0, sizes[0] - end)
        return sum(sizes)

    def wrote_within(self, seconds: float, now: float) -> bool:
        """Return whether the members were written to in the last `seconds` before `now`."""
        return now - self.wrote_at < seconds

    def prepare(self, events: "RoutedEvents", after: int) -> tuple[Send, ...]:
        """Hold `events` for blocked members, and return the functions that write to the others; see `write_lanes`."""
        if self.blocked:
            self._hold(events, after)
        if self.sends is None:
            # Tuples, rebuilt when membership changed: `pause_writing` fires inside a write and changes it.
            by_send = self._by_send = self._sends.copy()
            self.sends = tuple(by_send)
        return self.sends

    def cut(self, send: Send, sent: int, events: "RoutedEvents", after: int) -> None:
        """Go on with a member that took only the first `sent` bytes of `events`; see `write_lanes`."""
        # The first of a write holds them, if they are not held for members that were blocked before.
        run = self._held[-1] if self._held_number == self.number else self._hold(events, after)
        subscriber = self._by_send[send]
        end = write_rest(subscriber, run, sent)
        if end < len(run.frames) and subscriber in self.blocked:
            self.blocked[subscriber] = self.number, end
            self._partial[self.number] += 1

    def _hold(self, events: "RoutedEvents", after: int) -> FrameRun:
        form = self.form
        entries = events.entries
        sizes = [len(entry.frames[form]) for entry in entries]
        run = FrameRun(events.frames[form], sizes, [entry.record.offset for entry in entries], after)
        self._held.append(run)
        self._held_number = self.number
        self.held_bytes += run.memory
        return run

    def trim(self) -> None:
        """Drop the runs that no blocked member needs."""
        held = self._held
        if not held:
            return
        number, _ = next(iter(self.blocked.values()), (self.number, _END))
        needed = self.number - number + (number in self._partial)
        while len(held) > needed:
            self.held_bytes -= held.popleft().memory


class RoutedEvents:
    """Events of one tick that go to the same lanes, and their frames by wire form."""

    __slots__ = ("entries", "frames")

    def __init__(self, entries: list[RingEntry]) -> None:
        self.entries = entries
        self.frames: dict[WireForm, bytes] = {}

    @classmethod
    def merged(cls, parts: Sequence["RoutedEvents"]) -> "RoutedEvents":
        """Return the events of all parts in log order."""
        if len(parts) == 1:
            return parts[0]
        return cls(sorted(chain.from_iterable(part.entries for part in parts), key=_offset))


def _offset(entry: RingEntry) -> int:
    return entry.record.offset


class Written(NamedTuple):
    """The result of `write_lanes`."""

    writes: int
    size: int
    """Bytes of all writes."""
    holding: list[Lane]
    """The lanes that hold runs for blocked members."""


def write_lanes(
    lanes: Iterable[Lane], events: RoutedEvents, encode: Callable[[RingEntry, WireForm], bytes], after: int, now: float
) -> Written:
    """Write `events` to every member of `lanes` that is not blocked.

    Args:
        lanes: Lanes that all these events belong to.
        events: The events.
        encode: Returns the frame of an event.
        after: Offset up to which everything on the lanes' paths was written before.
        now: The time in seconds of the monotonic clock.
    """
    writes = total = size = 0
    holding: list[Lane] = []
    form = None
    frames = b""
    for lane in lanes:
        if lane.form is not form:
            form = lane.form
            joined = events.frames.get(form)
            if joined is None:
                joined = events.frames[form] = b"".join([encode(entry, form) for entry in events.entries])
            frames, size = joined, len(joined)
        lane.wrote_at = now
        lane.number += 1
        sends = lane.sends
        if sends is None or lane.blocked:
            sends = lane.prepare(events, after)
        for send in sends:
            try:
                sent = send(frames)
            except BlockingIOError:
                sent = 0
            except OSError:
                continue  # the peer is gone; its socket is about to report that
            if sent != size:
                lane.cut(send, sent, events, after)
        writes += len(sends)
        total += len(sends) * size
        if lane.pending:
            lane.pending.clear()
        if lane.held_bytes:
            lane.trim()
            holding.append(lane)
    return Written(writes, total, holding)
