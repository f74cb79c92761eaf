"""Records in memory, in log order, with the holes that trimming leaves."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tidings.log.base import Record
from tidings.log.rows import Row
from tidings.protocol.message_types import EventClass

_BLOCK_BITS = 10
"""Offsets of one block: finding a place costs the same in a log that has long holes and in one that has none."""


class Blocks:
    """Records by offset: appended in order, deleted anywhere, read forward from anywhere."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[int, Record]] = {}
        self._numbers: list[int] = []
        """Of the blocks that hold anything, in order."""

    def append(self, record: Record) -> None:
        """Add a record whose offset is greater than all before."""
        number = record.offset >> _BLOCK_BITS
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = {}
            self._numbers.append(number)
        block[record.offset] = record

    def get(self, offset: int) -> Record | None:
        """Return the record at `offset`, if it is there."""
        return self._blocks.get(offset >> _BLOCK_BITS, {}).get(offset)

    def delete(self, offset: int) -> None:
        """Delete the record at `offset`, if it is there."""
        number = offset >> _BLOCK_BITS
        block = self._blocks.get(number, {})
        if block.pop(offset, None) is not None and not block:
            del self._blocks[number]
            del self._numbers[bisect_left(self._numbers, number)]

    def after(self, offset: int) -> Iterator[Record]:
        """Yield the records with a greater offset, in order; nothing may be deleted meanwhile."""
        first = (offset + 1) >> _BLOCK_BITS
        for index in range(bisect_left(self._numbers, first), len(self._numbers)):
            number = self._numbers[index]
            block = self._blocks[number].values()
            yield from block if number != first else (record for record in block if record.offset > offset)


class MemoryRows:
    """The `tidings.log.rows.Rows` of a log in memory, and its event ids.

    Args:
        thinned: The types of which only the newest few of a key are kept.
    """

    def __init__(self, thinned: Iterable[str]) -> None:
        self.all = Blocks()
        self.ids: dict[tuple[str, str], int] = {}
        """The offsets of events by scope and event id."""
        self._scopes: dict[int, str] = {}
        self._latest = Blocks()
        self._thinned = frozenset(thinned)
        self._of_key: defaultdict[tuple[str, str, str | None], dict[int, None]] = defaultdict(dict)

    def append(self, record: Record, scope: str) -> None:
        """Add a record whose offset is greater than all before."""
        event = record.event
        self.all.append(record)
        if event.event_id is not None:
            self.ids[scope, event.event_id] = record.offset
            self._scopes[record.offset] = scope
        if event.event_class is EventClass.LATEST:
            self._latest.append(record)
        elif event.type in self._thinned:
            self._of_key[event.channel, event.type, event.key][record.offset] = None

    def after(self, offset: int, limit: int) -> Sequence[Row]:
        """See `Rows.after`."""
        return [_row(record) for record in islice(self.all.after(offset), limit)]

    def latest_after(self, offset: int, limit: int) -> Sequence[Row]:
        """See `Rows.latest_after`."""
        return [_row(record) for record in islice(self._latest.after(offset), limit)]

    def durable_of(self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int) -> Sequence[Row]:
        """See `Rows.durable_of`."""
        offsets = [offset for offset in self._of_key.get((channel, type, key), ()) if offset > after]
        return [row for row in map(self.find, offsets[:-keep][:limit]) if row is not None]

    def find(self, offset: int) -> Row | None:
        """See `Rows.find`."""
        record = self.all.get(offset)
        return None if record is None else _row(record)

    def delete(self, offsets: Iterable[int]) -> None:
        """See `Rows.delete`."""
        for offset in offsets:
            record = self.all.get(offset)
            if record is None:
                continue
            event = record.event
            self.all.delete(offset)
            self._latest.delete(offset)
            if event.event_id is not None:
                del self.ids[self._scopes.pop(offset), event.event_id]
            slot = event.channel, event.type, event.key
            if slot in self._of_key:
                self._of_key[slot].pop(offset, None)
                if not self._of_key[slot]:
                    del self._of_key[slot]


def _row(record: Record) -> Row:
    event = record.event
    return Row(
        record.offset,
        int(event.event_class is EventClass.LATEST),
        event.channel,
        event.type,
        event.key,
        len(event.data),
        record.received_ns,
    )
