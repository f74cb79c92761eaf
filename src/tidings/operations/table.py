"""The operations of a log: their lives and what is known of them, folded from its events (CONTRACT §4).

Kept apart from the range and from the newest events, in a table of its own: trimming the start of a long job loses
nothing, and an end that was trimmed resurrects nothing.

Operations by number, newest first: in which lists page through them while others come, go and end.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from tidings.exceptions import OperationError
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, apply_event
from tidings.operations.run_history import MAX_NAMES, RunHistory
from tidings.operations.status import OperationStatus, new_status
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

_MAX_STALE_NUMBERS = 1_024
"""Numbers of forgotten operations that may be held beside as many as are known."""


class SequenceIndex:
    """Operations in the order of their first events.

    An operation's number never changes, so that a page ends at one and the next page goes on from it.
    """

    def __init__(self) -> None:
        self._statuses: dict[int, OperationStatus] = {}
        self._numbers: list[int] = []
        self._sorted = True

    def add(self, status: OperationStatus) -> None:
        """Add an operation; a new one's number is the greatest."""
        numbers = self._numbers
        self._sorted = self._sorted and (not numbers or numbers[-1] < status.number)
        numbers.append(status.number)
        self._statuses[status.number] = status

    def discard(self, status: OperationStatus) -> None:
        """Forget an operation."""
        self._statuses.pop(status.number, None)
        if len(self._numbers) > 2 * len(self._statuses) + _MAX_STALE_NUMBERS:
            self._numbers = [number for number in self._numbers if number in self._statuses]

    def before(self, number: int | None, limit: int) -> list[OperationStatus]:
        """Return up to `limit` operations with a smaller number, the greatest first; None is greater than all."""
        if not self._sorted:
            self._numbers.sort()
            self._sorted = True
        numbers, statuses = self._numbers, self._statuses
        end = len(numbers) if number is None else bisect_left(numbers, number)
        known = (statuses[numbers[index]] for index in range(end - 1, -1, -1) if numbers[index] in statuses)
        return list(islice(known, limit))


_EXPIRY_BATCH = 300
_EXPIRY_INTERVAL_NS = 60_000_000_000
"""How often ended operations are looked through for those that are too old."""


class OperationTable:
    """All operations that a log knows.

    Args:
        ended_age_ns: After which an ended one is forgotten,
        most_ended: and beyond how many; the newest run of each name stays.
    """

    def __init__(self, *, ended_age_ns: int, most_ended: int) -> None:
        self._ended_age_ns = ended_age_ns
        self._most_ended = most_ended
        self._live: dict[str, OperationStatus] = {}
        self._ended: dict[str, OperationStatus] = {}
        """In the order of their ends."""
        self._of_trace: dict[str, dict[str, None]] = {}
        self._of_producer: dict[str, dict[str, None]] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._names: dict[str, RunHistory] = {}
        """In the order of their newest ends."""
        self._by_number = SequenceIndex()
        self._next_number = 1
        self._looked_ns = 0
        self._looking: Iterator[str] = iter(())
        self.dirty: dict[str, int] = {}
        """Operations whose life changed since it was saved: the offset of the first event that did, in that order."""
        self.dirty_names: dict[str, None] = {}
        """Names whose history changed, or that were forgotten."""
        self.forgotten: deque[int] = deque()
        """Numbers of operations that are no longer known: the adapter deletes their rows."""
        self.evicted = 0
        """Ended operations forgotten because there were too many."""

    def __len__(self) -> int:
        """Return how many are live."""
        return len(self._live)

    # What is known.

    @property
    def known(self) -> int:
        """How many are known, live and ended."""
        return len(self._live) + len(self._ended)

    def get(self, operation_id: str) -> OperationStatus | None:
        """Return an operation, or None."""
        return self._live.get(operation_id) or self._ended.get(operation_id)

    def life(self, operation_id: str) -> OperationLife | None:
        """Return the life of an operation, or None."""
        status = self.get(operation_id)
        return None if status is None else status.life

    @property
    def live(self) -> Iterable[OperationStatus]:
        """Those that have not ended, by their first event."""
        return self._live.values()

    @property
    def ended(self) -> Iterable[OperationStatus]:
        """Those that have ended, by their end."""
        return self._ended.values()

    def newest_first(self) -> Iterator[OperationStatus]:
        """Yield the live ones, then the ended ones, each newest first; nothing may be folded in meanwhile."""
        yield from reversed(self._live.values())
        yield from reversed(self._ended.values())

    def before(self, number: int | None, limit: int) -> list[OperationStatus]:
        """Return up to `limit` operations whose first event came before that of number `number`, the newest first.

        None is "before nothing": the newest of all.
        """
        return self._by_number.before(number, limit)

    def of_trace(self, trace_id: str) -> Iterable[str]:
        """Return the live operations of a trace."""
        return self._of_trace.get(trace_id, ())

    def of_producer(self, producer_id: str) -> list[OperationStatus]:
        """Return the live operations that a producer holds."""
        return [self._live[operation_id] for operation_id in self._of_producer.get(producer_id, ())]

    def producers(self) -> list[str]:
        """Return the producers that hold live operations."""
        return list(self._of_producer)

    def children(self, operation_id: str) -> list[OperationStatus]:
        """Return the operations that name `operation_id` as their parent, by their first event."""
        found = (self.get(child) for child in self._children.get(operation_id, ()))
        # Opened again, a log tells of live ones and ended ones in another order.
        return sorted((child for child in found if child is not None), key=lambda child: child.number)

    @property
    def names(self) -> Mapping[str, RunHistory]:
        """The runs of each name, by its newest end."""
        return self._names

    # The fold.

    def note(self, offset: int, event: Event, received_ns: int, producer_id: str = "", lease_s: float = 0.0) -> None:
        """Fold in the event at `offset`, in log order; what says nothing of an operation's life changes nothing."""
        operation_id = event.key
        if operation_id is None or event.type not in TRANSITIONS:
            return
        status = self.get(operation_id)
        if status is not None and offset <= status.offset:
            return  # it was saved with the operation
        before = None if status is None else status.life
        try:
            life = apply_event(operation_id, before, event, producer_id=producer_id, lease_s=lease_s, by_hub=True)
        except OperationError:
            return  # written by a hub that knew no better
        if life is None or (life is before and not life.live):
            return  # a line of something that has not begun
        if status is None:
            status = new_status(operation_id, event, received_ns, life)
            status.number, self._next_number = self._next_number, self._next_number + 1
            status.first_offset = offset
            self._by_number.add(status)
            self._file(status)
        else:
            self._change(status, event, received_ns, life)
        status.offset = offset
        if event.type == MessageType.OPERATION_LOG:
            status.log_offset = offset
        if life is not before:
            self.dirty.setdefault(operation_id, offset)
            if not life.live:
                self._note_end(status, offset)

    def _change(self, status: OperationStatus, event: Event, received_ns: int, life: OperationLife) -> None:
        if life is status.life:
            parent_id = status.parent_id
            status.note(event, received_ns, life)
            if status.parent_id != parent_id:
                self._adopt(status)
            return
        self._unfile(status)
        status.note(event, received_ns, life)
        self._file(status)

    def _note_end(self, status: OperationStatus, offset: int) -> None:
        if not status.name:
            return
        history = self._names.pop(status.name, None) or RunHistory(name=status.name)
        history.note(status, offset)
        self.restore_name(history)
        self.dirty_names[status.name] = None
        if len(self._names) > MAX_NAMES:
            oldest = next(iter(self._names))
            del self._names[oldest]
            self.dirty_names[oldest] = None

    def hold(self, operation_id: str, producer_id: str, lease_s: float) -> None:
        """Let a producer hold a live operation from now on, as it asked without an event."""
        status = self._live.get(operation_id)
        if status is None:
            return
        self._unfile(status)
        life = status.life
        status.life = OperationLife(life.attempt, life.state, life.trace_id, producer_id, lease_s)
        self._file(status)
        self.dirty.setdefault(operation_id, status.offset)

    def restore(self, status: OperationStatus) -> None:
        """Go on from what was saved of an operation; of ended ones in the order of their ends."""
        self._next_number = max(self._next_number, status.number + 1)
        self._by_number.add(status)
        self._file(status)

    def restore_name(self, history: RunHistory) -> None:
        """Go on from what was saved of a name; in the order of `RunHistory.offset`."""
        self._names[history.name] = history

    def saved_to(self, head: int) -> int:
        """Return the offset up to which every event is in what was saved, where `head` is the newest."""
        first = next(iter(self.dirty.values()), None)
        return head if first is None else first - 1

    def _file(self, status: OperationStatus) -> None:
        operation_id, life = status.operation_id, status.life
        self._adopt(status)
        if status.live:
            self._live[operation_id] = status
            self._of_trace.setdefault(life.trace_id, {})[operation_id] = None
            if life.producer_id:
                self._of_producer.setdefault(life.producer_id, {})[operation_id] = None
            return
        self._ended[operation_id] = status
        if len(self._ended) > self._most_ended:
            self._evict()

    def _unfile(self, status: OperationStatus) -> None:
        operation_id, life = status.operation_id, status.life
        if self._live.pop(operation_id, None) is None:
            self._ended.pop(operation_id, None)
            return
        _discard(self._of_trace, life.trace_id, operation_id)
        _discard(self._of_producer, life.producer_id, operation_id)

    def _adopt(self, status: OperationStatus) -> None:
        if status.parent_id is not None:
            self._children.setdefault(status.parent_id, {})[status.operation_id] = None

    # Forgetting.

    def expire(self, now_ns: int) -> bool:
        """Forget some ended operations that are too old; return whether more may be."""
        walked = 0
        for operation_id in islice(self._looking, _EXPIRY_BATCH):
            walked += 1
            status = self._ended.get(operation_id)
            if status is None or self._is_kept(status):
                continue
            if (status.ended_ns or 0) + self._ended_age_ns > now_ns:
                self._looking = iter(())
                return False
            self._forget(status)
        if walked == 0 and abs(now_ns - self._looked_ns) >= _EXPIRY_INTERVAL_NS:
            self._looked_ns = now_ns
            self._looking = iter(list(self._ended))
            return bool(self._ended)
        return walked == _EXPIRY_BATCH

    def _is_kept(self, status: OperationStatus) -> bool:
        history = self._names.get(status.name)
        return history is not None and history.newest == status.operation_id

    def _evict(self) -> None:
        """Forget some of the oldest; the newest run of a name last."""
        most = max(1, self._most_ended // 100)
        free = (status for status in self._ended.values() if not self._is_kept(status))
        for status in list(islice(free, most)) or list(islice(self._ended.values(), most)):
            self.evicted += 1
            self._forget(status)

    def _forget(self, status: OperationStatus) -> None:
        self._unfile(status)
        self._by_number.discard(status)
        if status.parent_id is not None:
            _discard(self._children, status.parent_id, status.operation_id)
        self._children.pop(status.operation_id, None)
        self.dirty.pop(status.operation_id, None)
        self.forgotten.append(status.number)


def _discard(index: dict[str, dict[str, None]], name: str, operation_id: str) -> None:
    of_name = index.get(name)
    if of_name is not None:
        of_name.pop(operation_id, None)
        if not of_name:
            del index[name]
