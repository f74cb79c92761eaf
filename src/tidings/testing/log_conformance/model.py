"""What a log should be like: every event it was ever given, and which of them it may have let go."""

from collections.abc import Iterable

from tidings.log.base import Draft, Record, Retention
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.testing.log_conformance.drafts import NS

Slot = tuple[str, str, str | None]


def slot_of(event: Event) -> Slot:
    """Return the (channel, type, key) of `event`."""
    return event.channel, event.type, event.key


def is_latest(record: Record) -> bool:
    """Return whether the event is of class `latest`."""
    return record.event.event_class is EventClass.LATEST


class LogModel:
    """A log that forgets nothing, and knows what another one may forget under `retention`."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.records: dict[int, Record] = {}
        self.ids: dict[tuple[str, str], int] = {}
        self.newest: dict[Slot, int] = {}
        self.expired: set[Slot] = set()
        """Slots that leave the newest events with the next steps of retention, and may have left."""
        self.free_to_go: set[int] = set()
        """Offsets that retention may have removed, unless they are the newest of their key."""

    @property
    def head(self) -> int:
        """Offset of the last event."""
        return len(self.records)

    def append(self, batch: Iterable[Draft]) -> None:
        """Take what the log took."""
        for draft in batch:
            offset = self.head + 1
            event = draft.event
            self.records[offset] = Record(offset, event, draft.received_ns)
            if event.event_id is not None:
                self.ids[draft.scope, event.event_id] = offset
            slot = slot_of(event)
            # What is due leaves with the next event of its key at the latest: the fold is one of the log, not of when
            # retention had its turn.
            for other in self._ended(draft.received_ns):
                if (other[0], other[2]) == (slot[0], slot[2]):
                    self.newest.pop(other)
                    self.expired.discard(other)
            if event.effect is SlotEffect.CLEAR:
                self.newest.pop(slot, None)
            else:
                self.newest[slot] = offset
            self._thin(slot)

    def _thin(self, slot: Slot) -> None:
        keep = self.retention.keep_newest.get(slot[1])
        if keep is not None and slot[2] is not None:
            of_slot = [offset for offset, record in self.records.items() if slot_of(record.event) == slot]
            self.free_to_go.update(of_slot[:-keep])

    def maintain(self, present: Iterable[Record], now_ns: int) -> None:
        """Note what a step of retention at `now_ns` may remove of the records that are `present`, in log order."""
        retention = self.retention
        durable, size, latest = 0, 0, 0
        for record in sorted(present, key=lambda record: -record.offset):
            if is_latest(record):
                latest += 1
                over = latest > retention.superseded_events
                age_s = retention.superseded_age_s
            else:
                durable += 1
                size += len(record.event.data)
                over = durable > retention.events or size > retention.bytes
                age_s = retention.age_s
            if over or record.received_ns <= now_ns - int(age_s * NS):
                self.free_to_go.add(record.offset)
        self.expired.update(self._ended(now_ns))

    def _ended(self, now_ns: int) -> set[Slot]:
        ends: dict[tuple[str, str | None], int] = {}
        for (channel, _, key), offset in self.newest.items():
            if self.records[offset].event.effect is SlotEffect.END:
                ends[channel, key] = max(offset, ends.get((channel, key), 0))
        due = now_ns - int(self.retention.finished_s * NS)
        ended = {name: offset for name, offset in ends.items() if self.records[offset].received_ns <= due}
        return {slot for slot, offset in self.newest.items() if offset <= ended.get((slot[0], slot[2]), 0)}

    def forget_expired(self) -> None:
        """Note that retention has done all its steps."""
        for slot in self.expired:
            self.newest.pop(slot, None)
        self.expired.clear()

    def may_be_gone(self, offset: int) -> bool:
        """Return whether the log need not hold the event at `offset` any more."""
        slot = slot_of(self.records[offset].event)
        kept = self.newest.get(slot) == offset and slot not in self.expired
        return offset in self.free_to_go and not kept
