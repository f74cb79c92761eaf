"""The ring of recent events and their encoded frames."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from heapq import merge
from itertools import chain, islice

from tidings.hub.wire import WireForm
from tidings.log.base import Record
from tidings.protocol.details import DETAILS, conceal_details
from tidings.protocol.paths import PathSet

ENTRY_OVERHEAD_BYTES = 900
"""Bytes of memory per entry besides its data and frames, measured: the structs, their strings, a dictionary, and its
place in the index."""
_DROPPED_SHARE = 64
"""Share of the limit that is dropped at a time: cutting lists costs their whole length."""
_MAX_PREFIX_KEYS = 256
_MAX_PREFIX_KEYS_SHARE = 32
"""Keys with one of some prefixes whose lists are read instead of all entries of the channel: 256, or a 32nd of the
number of entries. With more of them, looking into each list costs more than passing over the other entries."""


class RingEntry:
    """An event of the log with its encoded frames, one per wire form."""

    __slots__ = ("frames", "position", "record", "shared_bytes")

    def __init__(self, record: Record, position: str) -> None:
        self.record = record
        self.position = position
        self.frames: dict[WireForm, bytes] = {}
        self.shared_bytes = 0
        """Size of the frames that are those of another form, too."""

    @property
    def frames_bytes(self) -> int:
        """Size of its frames."""
        return sum(map(len, self.frames.values())) - self.shared_bytes

    @property
    def offset(self) -> int:
        """The event's offset."""
        return self.record.offset


def _offset(entry: RingEntry) -> int:
    return entry.record.offset


def _find_prefix(keys: list[str], prefix: str) -> tuple[int, int]:
    """Return where the keys that begin with `prefix` start and stop in `keys`, which are in order."""
    start = bisect_left(keys, prefix)
    return start, bisect_left(keys, True, start, key=lambda key: not key.startswith(prefix))


class Ring:
    """The newest entries, up to a number of bytes; the oldest are dropped.

    Args:
        max_bytes: Size limit in bytes, frames and overhead included.
        floor: Head of the log when the ring is made: events up to this offset are not in the ring.
    """

    def __init__(self, max_bytes: int, floor: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[RingEntry] = []
        self._channels: dict[str, list[RingEntry]] = {}
        """Entries by channel. Like `_keys`, it is brought up to date when it is read: most events are never read."""
        self._keys: dict[tuple[str, str | None], list[RingEntry]] = {}
        self._sorted_keys: dict[str, list[str]] = {}
        """Keys of `_keys` in order, of the channels that were read by prefix."""
        self._indexed = 0
        """Number of entries in the index."""
        self._bytes = 0
        self.floor = floor
        """Every event with a greater offset is in the ring."""
        self.encodes = 0
        """Frames encoded so far."""
        self.visits = 0
        """Entries returned to readers so far."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, record: Record, position: str) -> RingEntry:
        """Add the newest event and return its entry."""
        entry = RingEntry(record, position)
        self._entries.append(entry)
        self._bytes += len(record.event.data) + ENTRY_OVERHEAD_BYTES
        return entry

    def frame(self, entry: RingEntry, form: WireForm) -> bytes:
        """Return the frame of `entry` in `form`; it is encoded at most once."""
        frame = entry.frames.get(form)
        if frame is None:
            event = entry.record.event
            revealing = form.revealing
            if revealing is not None and (event.type not in DETAILS or conceal_details(event) is event):
                frame = entry.frames[form] = entry.frames.get(revealing) or self.frame(entry, revealing)
                entry.shared_bytes += len(frame)
                return frame
            frame = entry.frames[form] = form.event(event, entry.position)
            if entry.record.offset > self.floor:
                self._bytes += len(frame)
            self.encodes += 1
        return frame

    def clear(self, floor: int) -> None:
        """Drop all entries; the log serves events up to `floor`."""
        self._entries, self._channels, self._keys, self._sorted_keys = [], {}, {}, {}
        self._indexed = self._bytes = 0
        self.floor = floor

    def shrink(self) -> None:
        """Drop the oldest entries if there are too many."""
        if self._bytes <= self._max_bytes:
            return
        limit = self._max_bytes - self._max_bytes // _DROPPED_SHARE
        entries = self._entries
        count = 0
        while self._bytes > limit and count < len(entries):
            entry = entries[count]
            self._bytes -= len(entry.record.event.data) + ENTRY_OVERHEAD_BYTES + entry.frames_bytes
            count += 1
        self.floor = entries[count - 1].record.offset
        if self._indexed:
            self._unindex(entries[: min(count, self._indexed)])
        del entries[:count]

    def after(self, offset: int, paths: PathSet, limit: int) -> Sequence[RingEntry]:
        """Return the first entries with a greater offset that `paths` may match, at most `limit`.

        Entries of other paths may be among them, but not where `paths` has only keys that few of the events have.
        `offset` must be at or above `floor`.
        """
        self._index()
        sources = self._sources(paths)
        found = [
            source[start : start + limit]
            for source in sources
            if (start := bisect_right(source, offset, key=_offset)) < len(source)
        ]
        if len(found) == 1:
            entries = found[0]
        elif sum(map(len, found)) <= 4 * limit:
            entries = sorted(chain.from_iterable(found), key=_offset)[:limit]
        else:
            entries = list(islice(merge(*found, key=_offset), limit))
        self.visits += len(entries)
        return entries

    def _sources(self, paths: PathSet) -> Sequence[list[RingEntry]]:
        """Return lists that together hold all entries on `paths`, each entry once."""
        if len(paths.paths) > len(self._entries):
            return [self._entries]
        whole = {path.channel for path in paths.paths if path.key is None}
        keys: list[tuple[str, str | None]] = []
        ranges: list[tuple[str, int, int]] = []
        room = max(_MAX_PREFIX_KEYS, len(self._entries) // _MAX_PREFIX_KEYS_SHARE)
        for channel, key, prefix in ((path.channel, path.key, path.prefix) for path in paths.paths):
            if key is None or channel in whole:
                continue
            if not prefix:
                keys.append((channel, key))
                continue
            start, stop = _find_prefix(self._keys_of(channel), key)
            if stop - start > room:
                whole.add(channel)
            else:
                room -= stop - start
                ranges.append((channel, start, stop))
        for channel, start, stop in ranges:
            if channel not in whole:
                keys += [(channel, key) for key in self._sorted_keys[channel][start:stop]]
        sources = [self._channels[channel] for channel in whole if channel in self._channels]
        sources += [self._keys[key] for key in keys if key in self._keys and key[0] not in whole]
        return [self._entries] if sum(map(len, sources)) * 2 > len(self._entries) else sources

    def _keys_of(self, channel: str) -> list[str]:
        """Return the indexed keys of a channel, in order."""
        keys = self._sorted_keys.get(channel)
        if keys is None:
            keys = self._sorted_keys[channel] = sorted(
                key for each, key in self._keys if each == channel and key is not None
            )
        return keys

    def _index(self) -> None:
        channels, keys = self._channels, self._keys
        for entry in self._entries[self._indexed :]:
            event = entry.record.event
            channel, key = event.channel, event.key
            channels.setdefault(channel, []).append(entry)
            if (channel, key) in keys:
                keys[channel, key].append(entry)
                continue
            keys[channel, key] = [entry]
            if key is not None and channel in self._sorted_keys:
                insort(self._sorted_keys[channel], key)
        self._indexed = len(self._entries)

    def _unindex(self, dropped: Sequence[RingEntry]) -> None:
        events = [entry.record.event for entry in dropped]
        for channel, count in Counter(event.channel for event in events).items():
            del self._channels[channel][:count]
        for key, count in Counter((event.channel, event.key) for event in events).items():
            entries = self._keys[key]
            if count == len(entries):
                del self._keys[key]
                if key[1] is not None and key[0] in self._sorted_keys:
                    names = self._sorted_keys[key[0]]
                    del names[bisect_left(names, key[1])]
            else:
                del entries[:count]
        self._indexed -= len(dropped)
