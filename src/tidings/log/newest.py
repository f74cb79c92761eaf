"""The newest event of each (channel, type, key): what conflation, snapshots and retention look at.

A fold over the log's order, held in memory by every adapter, and bounded (CONTRACT §6).

Plans of snapshots: the offsets of the newest events of a channel, in order, to be read page by page.

A plan is made once and then grows by what was written since, so that one more subscriber does not cost one more walk
over every key. Offsets in it that were superseded meanwhile are skipped by who reads them (`Newest.is_newest`).
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile

from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.paths import Path, PathSet

Offsets = dict[str | None, int]
"""The newest offsets of one (channel, type) by key, in offset order."""
_PLANS = 64
"""Remembered: one for each channel that is read whole, and each prefix."""
_SLACK = 1_024
"""Offsets that are no longer newest that a plan may hold beside twice those that are."""


class _Plan:
    __slots__ = ("live", "offsets", "removed", "until")

    def __init__(self, removed: int) -> None:
        self.offsets = array("q")
        self.until = 0
        """The offset up to which the plan was made."""
        self.live = 0
        """Its length when it was made anew."""
        self.removed = removed


class SnapshotPages:
    """The plans of a table of newest events.

    Args:
        groups: Gives the offsets of each type of a channel.
    """

    def __init__(self, groups: Callable[[str], Iterator[Offsets]]) -> None:
        self._groups = groups
        self._plans: OrderedDict[tuple[tuple[Path, ...], tuple[Path, ...]], _Plan] = OrderedDict()
        self.removed = 0
        """Keys that left the table without being written again; the table counts them here."""

    def page(self, paths: PathSet, but: PathSet, *, after: int, until: int, limit: int) -> list[int]:
        """Return, in order, up to `limit` offsets of newest events on `paths` and not on `but`.

        Args:
            paths: What is wanted,
            but: and what of it is not.
            after: The offsets are greater,
            until: and at most this.
            limit: Of how many offsets. Some of them may have been superseded.
        """
        excluded = but.by_channel()
        found: list[int] = []
        for channel, wanted in paths.by_channel().items():
            unwanted = excluded.get(channel, ())
            if any(path.key is None for path in unwanted):
                continue
            if all(path.key is not None and not path.prefix for path in wanted):
                keys = [path.key for path in wanted if not any(other.covers(path) for other in unwanted)]
                of_keys = (offsets.get(key, 0) for offsets in self._groups(channel) for key in keys)
                found += [offset for offset in of_keys if after < offset <= until]
            else:
                offsets = self._plan(wanted, unwanted).offsets
                start = bisect_right(offsets, after)
                found += offsets[start : min(start + limit, bisect_right(offsets, until))]
        found.sort()
        return found[:limit]

    def _plan(self, wanted: tuple[Path, ...], unwanted: tuple[Path, ...]) -> _Plan:
        name = wanted, unwanted
        plan = self._plans.pop(name, None)
        if plan is None or len(plan.offsets) + self.removed - plan.removed > 2 * plan.live + _SLACK:
            plan = _Plan(self.removed)
            self._extend(plan, wanted, unwanted)
            plan.live = len(plan.offsets)
        else:
            self._extend(plan, wanted, unwanted)
        self._plans[name] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return plan

    def _extend(self, plan: _Plan, wanted: tuple[Path, ...], unwanted: tuple[Path, ...]) -> None:
        channel = wanted[0].channel
        everything = not unwanted and wanted[0].key is None
        matches, excludes = PathSet(wanted).matcher(), PathSet(unwanted).matcher()
        made_until = plan.until
        new: list[int] = []
        for offsets in self._groups(channel):
            if everything and not made_until:
                new += offsets.values()
                continue
            for key in reversed(offsets):
                offset = offsets[key]
                if offset <= made_until:
                    break
                if everything or (matches(channel, key) and not excludes(channel, key)):
                    new.append(offset)
        new.sort()
        plan.offsets.extend(new)
        plan.until = max(plan.until, *(next((of[key] for key in reversed(of)), 0) for of in self._groups(channel)), 0)


_EVICTED_AT_ONCE = 1_000
"""The oldest are found by walking a dictionary from its start, which is cheap only for many at once."""
_EXPIRED_AT_ONCE = 300
"""Keys looked at in one call of `expire`: under a millisecond."""
_MARKS = 1_024
"""Into how many spans an age is divided: a week is known to ten minutes."""


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
        self._ended: defaultdict[str, OrderedDict[str | None, tuple[int, int]]] = defaultdict(OrderedDict)
        """By channel, the keys that ended: when the last time was, and its offset; in that order."""
        self._span_ns = max(1, age_ns // _MARKS)
        self._marks: deque[tuple[int, int]] = deque()
        self._last_offset = 0
        self._silent: Iterator[None] = iter(())
        self._plans = SnapshotPages(lambda channel: (group.offsets for group in self._on(channel)))
        self.durable_floor = self.latest_floor = 0
        """The offsets up to which the range was swept of durable, and of superseded `latest` events.
        Events at or below are in the log only because they are the newest of their key."""
        self.released: deque[int] = deque()
        """Offsets at or below their floor that are no longer the newest of their key: the adapter deletes them, in this
        order and before it trims anything else. What was last to leave would come back after a crash otherwise: an
        alert whose clearing was trimmed."""
        self.evicted = 0

    def __len__(self) -> int:
        return sum(len(group.offsets) for group in self._groups.values())

    def note(self, offset: int, event: Event, received_ns: int) -> None:
        """Fold in the event at `offset`, which is greater than every one before."""
        latest = event.event_class is EventClass.LATEST
        self.note_columns(offset, event.channel, event.type, event.key, received_ns, latest, event.effect)

    def note_columns(
        self,
        offset: int,
        channel: str,
        type: str,
        key: str | None,
        received_ns: int,
        latest: bool,
        effect: SlotEffect,
    ) -> None:
        """Fold in an event by its parts, as an adapter reads them back."""
        group = self._groups.get((channel, type))
        if group is None:
            group = self._groups[channel, type] = Group(latest=latest)
        self._last_offset = offset
        ended = self._ended[channel]
        if key in ended and ended[key][0] + self._ended_ns <= received_ns:
            # Told by the event's own time, so that the fold is the same for who reads the log again.
            self._release_ended(channel, key)
        marks = self._marks
        if not marks or received_ns - marks[-1][0] >= self._span_ns:
            marks.append((received_ns, offset))
        offsets = group.offsets
        before = offsets.pop(key, None)
        if before is not None and before <= (self.latest_floor if latest else self.durable_floor):
            self.released.append(before)
        if effect is SlotEffect.CLEAR:
            self._plans.removed += before is not None
            return
        offsets[key] = offset
        if effect is SlotEffect.END:
            ended.pop(key, None)
            ended[key] = received_ns, offset
        if len(offsets) > self._per_type:
            self._evict(channel, group, min(_EVICTED_AT_ONCE, max(1, self._per_type // 100)))

    def offset(self, channel: str, type: str, key: str | None) -> int | None:
        """Return the offset of the newest event of that key, or None."""
        group = self._groups.get((channel, type))
        return None if group is None else group.offsets.get(key)

    def groups(self) -> Iterator[tuple[str, str]]:
        """Yield each (channel, type) that was ever written."""
        yield from self._groups

    def offsets(self, channel: str, type: str) -> Iterable[int]:
        """Return the offsets of the newest events of a type, in order."""
        group = self._groups.get((channel, type))
        return () if group is None else group.offsets.values()

    def keys(self, channel: str, type: str) -> Iterable[tuple[str | None, int]]:
        """Return the keys of a type, with the offsets of their newest events, in order."""
        group = self._groups.get((channel, type))
        return () if group is None else group.offsets.items()

    def is_newest(self, offset: int, event: Event) -> bool:
        """Return whether the event at `offset` is the newest of its key."""
        group = self._groups.get((event.channel, event.type))
        return group is not None and group.offsets.get(event.key) == offset

    def is_superseded(self, offset: int, event: Event) -> bool:
        """Return whether a newer event of the same key came after the one at `offset`."""
        group = self._groups.get((event.channel, event.type))
        return group is not None and group.offsets.get(event.key, 0) > offset

    def page(self, paths: PathSet, but: PathSet, *, after: int, until: int, limit: int) -> list[int]:
        """Return, in order, up to `limit` offsets of newest events on `paths` and not on `but`.

        See `SnapshotPages.page`. It may have been superseded (`is_newest` tells), and must be skipped.
        """
        return self._plans.page(paths, but, after=after, until=until, limit=limit)

    def expire(self, now_ns: int) -> bool:
        """Let some keys leave that ended, or fell silent, long enough before `now_ns`; return whether more may be."""
        left = _EXPIRED_AT_ONCE
        for channel, ended in self._ended.items():
            while left and ended and next(iter(ended.values()))[0] + self._ended_ns <= now_ns:
                left -= 1
                self._release_ended(channel, next(iter(ended)))
        if cutoff := self._silent_since(now_ns):
            self._silent = self._expire_silent(cutoff)
        walked = sum(1 for _ in islice(self._silent, left))
        return walked == left

    def _silent_since(self, now_ns: int) -> int:
        """Return the offset up to which events are too old, if that moved; else 0."""
        marks, due_ns = self._marks, now_ns - self._age_ns
        cutoff = 0
        # A mark covers the events up to the next one's: they came within one span of it.
        while marks and marks[0][0] + self._span_ns <= due_ns:
            marks.popleft()
            cutoff = marks[0][1] - 1 if marks else self._last_offset
        return cutoff

    def _expire_silent(self, cutoff: int) -> Iterator[None]:
        """Let keys leave that were not written after `cutoff`, of any type; yield after each one looked at."""
        for (channel, _), group in list(self._groups.items()):
            for key, _ in list(takewhile(lambda item: item[1] <= cutoff, group.offsets.items())):
                if self._last(channel, key) <= cutoff:
                    self._ended[channel].pop(key, None)
                    self._release_key(channel, key, cutoff)
                yield

    def _on(self, channel: str) -> Iterator[Group]:
        return (group for (at, _), group in self._groups.items() if at == channel)

    def _last(self, channel: str, key: str | None) -> int:
        return max((group.offsets.get(key, 0) for group in self._on(channel)), default=0)

    def _evict(self, channel: str, group: Group, count: int) -> None:
        ended = self._ended[channel]
        for key in list(islice(group.offsets, count)):
            self.evicted += 1
            if key in ended and group.offsets[key] <= ended[key][1]:  # without its end an operation would look live
                self._release_ended(channel, key)
            else:
                self._release(group, key)

    def _release_ended(self, channel: str, key: str | None) -> None:
        """Let a key leave up to its end; what was written after that is a new attempt's."""
        _, offset = self._ended[channel].pop(key)
        self._release_key(channel, key, offset)

    def _release_key(self, channel: str, key: str | None, until: int) -> None:
        # Oldest first, so that after a crash between two deletions an operation is not there without its end.
        groups = [group for group in self._on(channel) if 0 < group.offsets.get(key, 0) <= until]
        for group in sorted(groups, key=lambda group: group.offsets[key]):
            self._release(group, key)

    def _release(self, group: Group, key: str | None) -> None:
        offset = group.offsets.pop(key)
        self._plans.removed += 1
        if offset <= (self.latest_floor if group.latest else self.durable_floor):
            self.released.append(offset)
