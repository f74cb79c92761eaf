"""The newest event of each (channel, type, key): the basis of conflation, snapshots and retention.

The table is derived from the events in log order, held in memory by every adapter, and bounded (PROTOCOL.md,
"Snapshots").
"""

from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice, takewhile

from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.paths import Path, PathSet

Offsets = dict[str | None, int]
"""The newest offsets of one (channel, type) by key, in offset order: a key that is written again moves to the end."""
Selection = tuple[tuple[Path, ...], tuple[Path, ...]]
"""Paths of one channel to read, and paths of it to exclude."""

SEPARATOR = "\x1f"
"""Stands between a subject and the id of its producer in a scope: the unit separator is in neither."""
_MAX_SCOPES = 1_024
"""Number of scopes whose subject is remembered: most events come from few publishers."""
MAX_SELECTIONS = 64
"""Number of selections whose offsets are cached: one per channel that is read whole, and one per prefix."""
MAX_STALE_OFFSETS = 1_024
"""Number of stale offsets that a cached selection may hold, in addition to as many as it has current ones."""
MAX_EVICTED_KEYS = 1_000
"""Maximum number of keys evicted in one step. The oldest keys are found by walking a dictionary from its start, which
is cheap only for many keys at a time."""
MAX_EXPIRED_KEYS = 300
"""Maximum number of keys that one call of `Newest.expire` checks: under a millisecond."""
_AGE_SPANS = 1_024
"""Number of spans into which the maximum age is divided: a week is measured to ten minutes."""


class _SelectedOffsets:
    """The sorted offsets of one selection."""

    __slots__ = ("initial", "offsets", "removed", "until")

    def __init__(self, removed: int) -> None:
        self.offsets = array("q")
        self.until = 0
        """The offset up to which `offsets` is complete."""
        self.initial = 0
        """Number of offsets when the list was built."""
        self.removed = removed


class SnapshotPages:
    """Pages of snapshots: the offsets of the newest events of a selection, in log order.

    The sorted offsets of a selection are built once and then extended by the events that came since, so that another
    subscriber does not cost another walk over every key. Offsets that were superseded since stay in the list; readers
    skip them (`Newest.is_newest`).

    Args:
        groups: Returns the offsets of each type of a channel.
    """

    def __init__(self, groups: Callable[[str], Iterator[Offsets]]) -> None:
        self._groups = groups
        self._selections: OrderedDict[Selection, _SelectedOffsets] = OrderedDict()
        self.removed = 0
        """Number of keys that left the table without being written again; maintained by the table."""

    def __len__(self) -> int:
        """Return the number of cached selections."""
        return len(self._selections)

    def page(self, paths: PathSet, excluded: PathSet, *, after: int, until: int, limit: int) -> list[int]:
        """Return, in order, up to `limit` offsets of newest events.

        Args:
            paths: Paths to read.
            excluded: Paths to exclude.
            after: Return greater offsets only.
            until: The greatest offset to return.
            limit: Maximum number of offsets. Some of them may be superseded.
        """
        excluded_paths = excluded.by_channel()
        found: list[int] = []
        for channel, wanted in paths.by_channel().items():
            unwanted = excluded_paths.get(channel, ())
            if any(path.key is None for path in unwanted):
                continue
            if all(path.key is not None and not path.prefix for path in wanted):
                keys = [path.key for path in wanted if not any(other.covers(path) for other in unwanted)]
                of_keys = (offsets.get(key, 0) for offsets in self._groups(channel) for key in keys)
                found += [offset for offset in of_keys if after < offset <= until]
            else:
                offsets = self._select((wanted, unwanted)).offsets
                start = bisect_right(offsets, after)
                found += offsets[start : min(start + limit, bisect_right(offsets, until))]
        found.sort()
        return found[:limit]

    def _select(self, selection: Selection) -> _SelectedOffsets:
        selected = self._selections.pop(selection, None)
        if (
            selected is None
            or len(selected.offsets) + self.removed - selected.removed > 2 * selected.initial + MAX_STALE_OFFSETS
        ):
            selected = _SelectedOffsets(self.removed)
            self._extend(selected, *selection)
            selected.initial = len(selected.offsets)
        else:
            self._extend(selected, *selection)
        self._selections[selection] = selected
        if len(self._selections) > MAX_SELECTIONS:
            self._selections.popitem(last=False)
        return selected

    def _extend(self, selected: _SelectedOffsets, wanted: tuple[Path, ...], unwanted: tuple[Path, ...]) -> None:
        channel = wanted[0].channel
        everything = not unwanted and wanted[0].key is None
        matches, excludes = PathSet(wanted).matcher(), PathSet(unwanted).matcher()
        complete_until = selected.until
        new: list[int] = []
        for offsets in self._groups(channel):
            if everything and not complete_until:
                new += offsets.values()
                continue
            for key in reversed(offsets):
                offset = offsets[key]
                if offset <= complete_until:
                    break
                if everything or (matches(channel, key) and not excludes(channel, key)):
                    new.append(offset)
        new.sort()
        selected.offsets.extend(new)
        last = (next((offsets[key] for key in reversed(offsets)), 0) for offsets in self._groups(channel))
        selected.until = max(selected.until, *last, 0)


class _Group:
    """The newest events of one (channel, type)."""

    __slots__ = ("counts", "latest", "offsets", "owners")

    def __init__(self, *, latest: bool) -> None:
        self.latest = latest
        """Whether the type is of class `latest`; else it is durable."""
        self.offsets: Offsets = {}
        self.owners: dict[str | None, str] | None = None
        """The subjects that wrote the keys last; None as long as no subject has written one."""
        self.counts: Counter[str] = Counter()
        """Number of keys of each subject."""

    def own(self, key: str | None, owner: str) -> None:
        """Record that `owner` has written a key last."""
        if self.owners is None:
            self.owners = dict.fromkeys(self.offsets, "")
            self.counts[""] = len(self.offsets)
        self.disown(key)
        self.owners[key] = owner
        self.counts[owner] += 1

    def disown(self, key: str | None) -> None:
        """Forget a key that leaves."""
        if self.owners is not None:
            before = self.owners.pop(key, None)
            if before is not None:
                self.counts[before] -= 1
                if not self.counts[before]:
                    del self.counts[before]

    def oldest(self, count: int) -> list[str | None]:
        """Return the keys to evict: the oldest, of the subject that has most keys."""
        owners = self.owners
        if owners is None:
            return list(islice(self.offsets, count))
        largest = max(self.counts, key=self.counts.__getitem__)
        return list(islice((key for key in self.offsets if owners[key] == largest), count))


class Newest:
    """The table of newest events.

    Args:
        per_type: Maximum number of keys per type. Beyond it the oldest of the subject that has most keys leave, and are
            counted in `evicted`.
        age_ns: Time after which a key without new events leaves.
        ended_ns: Time after which a key that ended (a finished operation) leaves.
    """

    def __init__(self, *, per_type: int, age_ns: int, ended_ns: int) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}
        self._per_type = per_type
        self._age_ns = age_ns
        self._ended_ns = ended_ns
        self._ended: defaultdict[str, OrderedDict[str | None, tuple[int, int]]] = defaultdict(OrderedDict)
        """By channel, the keys that ended: the time and the offset of the last end, in that order."""
        self._span_ns = max(1, age_ns // _AGE_SPANS)
        self._spans: deque[tuple[int, int]] = deque()
        """The time and the offset of the first event of each span."""
        self._last_offset = 0
        self._silent: Iterator[None] = iter(())
        self._pages = SnapshotPages(lambda channel: (group.offsets for group in self._groups_of(channel)))
        self.durable_floor = self.latest_floor = 0
        """The offsets up to which retention swept durable events, and superseded `latest` events.
        Events at or below their floor are in the log only because they are the newest of their key."""
        self.released: deque[int] = deque()
        """Offsets at or below their floor that are no longer the newest of their key. The adapter deletes them in this
        order, before it trims anything else. Otherwise a crash could bring back the event that left last: an alert
        whose clearing was trimmed."""
        self.evicted = 0
        """Number of keys that left because a type had too many."""

    def __len__(self) -> int:
        return sum(len(group.offsets) for group in self._groups.values())

    def apply(self, offset: int, event: Event, received_ns: int, scope: str = "") -> None:
        """Apply the event at `offset`, which is greater than every one before."""
        latest = event.event_class is EventClass.LATEST
        self.apply_columns(offset, event.channel, event.type, event.key, received_ns, latest, event.effect, scope)

    def apply_columns(
        self,
        offset: int,
        channel: str,
        type: str,
        key: str | None,
        received_ns: int,
        latest: bool,
        effect: SlotEffect,
        scope: str = "",
    ) -> None:
        """Apply an event by its columns, as an adapter reads them back."""
        group = self._groups.get((channel, type))
        if group is None:
            group = self._groups[channel, type] = _Group(latest=latest)
        self._last_offset = offset
        ended = self._ended[channel]
        if key in ended and ended[key][0] + self._ended_ns <= received_ns:
            # Decided by the event's own time, so that reading the log again builds the same table.
            self._release_ended(channel, key)
        spans = self._spans
        if not spans or received_ns - spans[-1][0] >= self._span_ns:
            spans.append((received_ns, offset))
        offsets = group.offsets
        before = offsets.pop(key, None)
        if before is not None and before <= (self.latest_floor if latest else self.durable_floor):
            self.released.append(before)
        if effect is SlotEffect.CLEAR:
            self._pages.removed += before is not None
            group.disown(key)
            return
        owners = group.owners
        if owners is not None or SEPARATOR in scope:
            owner = owner_of(scope)
            if owners is None or owners.get(key) != owner:
                group.own(key, owner)
        offsets[key] = offset
        if effect is SlotEffect.END:
            ended.pop(key, None)
            ended[key] = received_ns, offset
        if len(offsets) > self._per_type:
            self._evict(channel, group, min(MAX_EVICTED_KEYS, max(1, self._per_type // 100)))

    def jump(self, jump_ns: int, now_ns: int) -> None:
        """Count all events so far as received `jump_ns` later, but not after `now_ns`: the clock has jumped."""
        self._spans = deque((min(at_ns + jump_ns, now_ns), offset) for at_ns, offset in self._spans)
        for ended in self._ended.values():
            for key, (at_ns, offset) in ended.items():
                ended[key] = min(at_ns + jump_ns, now_ns), offset

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

    def page(self, paths: PathSet, excluded: PathSet, *, after: int, until: int, limit: int) -> list[int]:
        """Return, in order, up to `limit` offsets of newest events on `paths` and not on `excluded`.

        See `SnapshotPages.page`. Some may be superseded (`is_newest` is false); the reader skips them.
        """
        return self._pages.page(paths, excluded, after=after, until=until, limit=limit)

    # Releasing.

    def take_released(self, limit: int) -> list[int]:
        """Remove and return the first `limit` offsets of `released`."""
        return [self.released.popleft() for _ in range(min(limit, len(self.released)))]

    def return_released(self, offsets: list[int]) -> None:
        """Undo `take_released`."""
        self.released.extendleft(reversed(offsets))

    def expire(self, now_ns: int) -> bool:
        """Remove some keys that ended, or had no event for long enough before `now_ns`; return whether to continue."""
        left = MAX_EXPIRED_KEYS
        for channel, ended in self._ended.items():
            while left and ended and next(iter(ended.values()))[0] + self._ended_ns <= now_ns:
                left -= 1
                self._release_ended(channel, next(iter(ended)))
        if cutoff := self._silent_since(now_ns):
            self._silent = self._expire_silent(cutoff)
        checked = sum(1 for _ in islice(self._silent, left))
        return checked == left

    def _silent_since(self, now_ns: int) -> int:
        """Return the offset up to which events are too old, if it moved; else 0."""
        spans, due_ns = self._spans, now_ns - self._age_ns
        cutoff = 0
        # A span covers the events up to the first one of the next: they came within `_span_ns` of its own first.
        while spans and spans[0][0] + self._span_ns <= due_ns:
            spans.popleft()
            cutoff = spans[0][1] - 1 if spans else self._last_offset
        return cutoff

    def _expire_silent(self, cutoff: int) -> Iterator[None]:
        """Remove keys of which no type was written after `cutoff`; yield after each key that was checked."""
        for (channel, _), group in list(self._groups.items()):
            for key, _ in list(takewhile(lambda item: item[1] <= cutoff, group.offsets.items())):
                if self._last(channel, key) <= cutoff:
                    self._ended[channel].pop(key, None)
                    self._release_key(channel, key, cutoff)
                yield

    def _groups_of(self, channel: str) -> Iterator[_Group]:
        return (group for (name, _), group in self._groups.items() if name == channel)

    def _last(self, channel: str, key: str | None) -> int:
        return max((group.offsets.get(key, 0) for group in self._groups_of(channel)), default=0)

    def evict(self, channel: str, type: str, key: str | None) -> None:
        """Let the newest event of a key leave, because the snapshot is too large; it exists."""
        self._evict_key(channel, self._groups[channel, type], key)

    def _evict(self, channel: str, group: _Group, count: int) -> None:
        for key in group.oldest(count):
            self._evict_key(channel, group, key)

    def _evict_key(self, channel: str, group: _Group, key: str | None) -> None:
        self.evicted += 1
        ended = self._ended[channel]
        if key in ended and group.offsets[key] <= ended[key][1]:  # without its end an operation would look live
            self._release_ended(channel, key)
        else:
            self._release(group, key)

    def _release_ended(self, channel: str, key: str | None) -> None:
        """Remove a key's events up to its end; later ones belong to a new attempt."""
        _, offset = self._ended[channel].pop(key)
        self._release_key(channel, key, offset)

    def _release_key(self, channel: str, key: str | None, until: int) -> None:
        # Oldest first, so that a crash between two deletions does not leave an operation without its end.
        groups = [group for group in self._groups_of(channel) if 0 < group.offsets.get(key, 0) <= until]
        for group in sorted(groups, key=lambda group: group.offsets[key]):
            self._release(group, key)

    def _release(self, group: _Group, key: str | None) -> None:
        offset = group.offsets.pop(key)
        group.disown(key)
        self._pages.removed += 1
        if offset <= (self.latest_floor if group.latest else self.durable_floor):
            self.released.append(offset)


@lru_cache(_MAX_SCOPES)
def owner_of(scope: str) -> str:
    """Return the subject in the scope of an event; "" for events that were published without authentication."""
    return scope.partition(SEPARATOR)[0] if SEPARATOR in scope else ""
