"""The newest event of each (channel, type, key): what conflation, snapshots and retention look at.

A fold over the log's order, held in memory by every adapter, and bounded (CONTRACT §6).
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice

from tidings.contract.envelope import Event
from tidings.contract.paths import PathSet
from tidings.contract.vocabulary import EventClass, SlotEffect

_PLANS = 16
"""Snapshots remembered while they are read: many subscribers of a few lanes ask for the same one."""
_EVICTED_AT_ONCE = 1_000
"""The oldest are found by walking a dictionary from its start, which is cheap only for many at once."""
_MARK_EVERY_NS = 1_000_000_000
"""How finely ages are known: to the second."""


class Group:
    """The newest events of one (channel, type)."""

    __slots__ = ("latest", "offsets")

    def __init__(self, *, latest: bool) -> None:
        self.latest = latest
        """Whether the type is of class `latest`; else it is durable."""
        self.offsets: dict[str | None, int] = {}
        """By key, in offset order: a key that is written again moves to the end."""


class Newest:
    """The table of newest events.

    Args:
        per_type: How many keys of one type it holds; beyond it the oldest leave, counted in `evicted`.
        age_ns: After which a key that was not written leaves.
        ended_ns: After which a key that ended (a finished operation) leaves.
    """

    def __init__(self, *, per_type: int, age_ns: int, ended_ns: int) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self._per_type = per_type
        self._age_ns = age_ns
        self._ended_ns = ended_ns
        self._ended: deque[tuple[int, str, str | None, int]] = deque()
        self._marks: deque[tuple[int, int]] = deque()
        self._plans: OrderedDict[tuple[PathSet, PathSet, int], array[int]] = OrderedDict()
        self.durable_floor = self.latest_floor = 0
        """The offsets up to which the range was swept of durable, and of superseded `latest` events.
        Events at or below are in the log only because they are the newest of their key."""
        self.released: list[int] = []
        """Offsets at or below their floor that are no longer the newest of their key: the adapter deletes them."""
        self.evicted = 0

    def __len__(self) -> int:
        return sum(len(group.offsets) for group in self._groups.values())

    def note(self, offset: int, event: Event, received_ns: int) -> None:
        """Fold in the event at `offset`, which is greater than every one before."""
        latest = event.event_class is EventClass.LATEST
        self.note_columns(offset, event.channel, event.type, event.key, received_ns, latest=latest, effect=event.effect)

    def note_columns(
        self,
        offset: int,
        channel: str,
        type: str,
        key: str | None,
        received_ns: int,
        *,
        latest: bool,
        effect: SlotEffect,
    ) -> None:
        """Fold in an event by its parts, as an adapter reads them back."""
        group = self._groups.get((channel, type))
        if group is None:
            group = self._groups[channel, type] = Group(latest=latest)
        offsets = group.offsets
        before = offsets.pop(key, None)
        if before is not None and before <= (self.latest_floor if latest else self.durable_floor):
            self.released.append(before)
        marks = self._marks
        if not marks or received_ns - marks[-1][0] >= _MARK_EVERY_NS:
            marks.append((received_ns, offset))
        if effect is SlotEffect.CLEAR:
            return
        offsets[key] = offset
        if effect is SlotEffect.END:
            self._ended.append((received_ns, channel, key, offset))
        if len(offsets) > self._per_type:
            self._evict(group, min(_EVICTED_AT_ONCE, max(1, self._per_type // 100)))

    def offset(self, channel: str, type: str, key: str | None) -> int | None:
        """Return the offset of the newest event of that key, or None."""
        group = self._groups.get((channel, type))
        return None if group is None else group.offsets.get(key)

    def is_newest(self, offset: int, event: Event) -> bool:
        """Return whether the event at `offset` is the newest of its key."""
        group = self._groups.get((event.channel, event.type))
        return group is not None and group.offsets.get(event.key) == offset

    def is_superseded(self, offset: int, event: Event) -> bool:
        """Return whether a newer event of the same key came after the one at `offset`."""
        group = self._groups.get((event.channel, event.type))
        return group is not None and group.offsets.get(event.key, 0) > offset

    def plan(self, paths: PathSet, but: PathSet, until: int) -> "array[int]":
        """Return, in order, the offsets of the newest events on `paths` and not on `but`, up to `until`.

        The same plan is returned while it is being read, so that pages of one snapshot fit together; an offset in
        it may have been superseded since (`is_newest` tells), and is then to be skipped.
        """
        wanted = (paths, but, until)
        plan = self._plans.get(wanted)
        if plan is None:
            plan = self._plans[wanted] = array("q", sorted(self._on(paths, but, until)))
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(wanted)
        return plan

    def _on(self, paths: PathSet, but: PathSet, until: int) -> Iterator[int]:
        by_channel = paths.by_channel()
        excluded = but.by_channel()
        for (channel, _), group in self._groups.items():
            own = by_channel.get(channel)
            if own is None:
                continue
            without = excluded.get(channel, ())
            exact = [path.key for path in own if path.key is not None and not path.prefix]
            if len(exact) == len(own):  # single keys: no walk over all of them
                pairs: list[tuple[str | None, int]] = [
                    (key, group.offsets[key]) for key in exact if key in group.offsets
                ]
            else:
                pairs = [
                    (key, offset)
                    for key, offset in group.offsets.items()
                    if any(path.matches(channel, key) for path in own)
                ]
            for key, offset in pairs:
                if offset <= until and not any(path.matches(channel, key) for path in without):
                    yield offset

    def expire(self, now_ns: int) -> None:
        """Let keys leave that ended, or fell silent, long enough before `now_ns`."""
        while self._ended and self._ended[0][0] + self._ended_ns <= now_ns:
            _, channel, key, offset = self._ended.popleft()
            if self._last(channel, key) == offset:
                for (at, _), group in self._groups.items():
                    if at == channel and key in group.offsets:
                        self._release(group, key)
        cutoff = 0
        while self._marks and self._marks[0][0] + self._age_ns <= now_ns:
            # A mark covers the offsets up to the next mark's.
            self._marks.popleft()
            cutoff = self._marks[0][1] - 1 if self._marks else -1
        if cutoff:
            self._expire_silent(cutoff)

    def _expire_silent(self, cutoff: int) -> None:
        for (channel, _), group in self._groups.items():
            silent = []
            for key, offset in group.offsets.items():
                if 0 <= cutoff < offset:
                    break
                last = self._last(channel, key)
                if cutoff < 0 or last <= cutoff:
                    silent.append(key)
            for key in silent:
                self._release(group, key)

    def _last(self, channel: str, key: str | None) -> int:
        return max((group.offsets.get(key, 0) for (at, _), group in self._groups.items() if at == channel), default=0)

    def _evict(self, group: Group, count: int) -> None:
        for key in list(islice(group.offsets, count)):
            self._release(group, key)
            self.evicted += 1

    def _release(self, group: Group, key: str | None) -> None:
        offset = group.offsets.pop(key)
        if offset <= (self.latest_floor if group.latest else self.durable_floor):
            self.released.append(offset)


def page_of(plan: "array[int]", after: int, limit: int) -> "array[int]":
    """Return up to `limit` offsets of `plan` that are greater than `after`."""
    start = bisect_right(plan, after)
    return plan[start : start + limit]
