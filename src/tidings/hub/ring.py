"""The ring of recent events and their encoded frames."""

from bisect import bisect_right
from collections.abc import Sequence

from tidings.hub.wire import WireForm
from tidings.log.base import Record
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass

_ENTRY_OVERHEAD_BYTES = 820
"""Bytes of memory per entry besides its data and frames, measured: the structs, their strings, a dictionary."""


class RingEntry:
    """An event of the log with its encoded frames, one per wire form."""

    __slots__ = ("frames", "position", "record")

    def __init__(self, record: Record, position: str) -> None:
        self.record = record
        self.position = position
        self.frames: dict[WireForm, bytes] = {}

    @property
    def offset(self) -> int:
        """The event's offset."""
        return self.record.offset


def _offset(entry: RingEntry) -> int:
    return entry.record.offset


_DROPPED = RingEntry(Record(0, Event("", "", "", b"", "", None, EventClass.DURABLE), 0), "")
"""Placeholder for a dropped entry, until the list is cut."""


class Ring:
    """The newest entries, up to a number of bytes; the oldest are dropped.

    Args:
        max_bytes: Size limit in bytes, frames and overhead included.
        floor: Head of the log when the ring is made: events up to this offset are not in the ring.
    """

    def __init__(self, max_bytes: int, floor: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[RingEntry] = []
        self._start = 0
        self._bytes = 0
        self.floor = floor
        """Every event with a greater offset is in the ring."""
        self.encodes = 0
        """Frames encoded so far."""

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def add(self, record: Record, position: str) -> RingEntry:
        """Add the newest event and return its entry."""
        entry = RingEntry(record, position)
        self._entries.append(entry)
        self._bytes += len(record.event.data) + _ENTRY_OVERHEAD_BYTES
        return entry

    def frame(self, entry: RingEntry, form: WireForm) -> bytes:
        """Return the frame of `entry` in `form`; it is encoded at most once."""
        frame = entry.frames.get(form)
        if frame is None:
            frame = entry.frames[form] = form.event(entry.record.event, entry.position)
            self._bytes += len(frame)
            self.encodes += 1
        return frame

    def shrink(self) -> None:
        """Drop the oldest entries until the rest fits."""
        entries = self._entries
        start = self._start
        while self._bytes > self._max_bytes and start < len(entries):
            entry = entries[start]
            self._bytes -= len(entry.record.event.data) + _ENTRY_OVERHEAD_BYTES + sum(map(len, entry.frames.values()))
            self.floor = entry.record.offset
            entries[start] = _DROPPED
            start += 1
        self._start = start
        if start > 4096 and start * 2 > len(entries):  # amortised: cutting a list costs its whole length
            del entries[:start]
            self._start = 0

    def after(self, offset: int, limit: int) -> Sequence[RingEntry]:
        """Return up to `limit` entries with a greater offset; `offset` must be at or above `floor`."""
        start = bisect_right(self._entries, offset, lo=self._start, key=_offset)
        return self._entries[start : start + limit]
