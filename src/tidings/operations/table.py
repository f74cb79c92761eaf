"""The operations of a log: their lives and statuses, folded from its events (docs/protocol/operations.md).

The table is separate from the log's events: trimming the start of a long job does not lose its status, and an operation
whose end was trimmed does not come to life again.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, tee

from tidings.exceptions import OperationError
from tidings.operations.lifecycle import TRANSITIONS, OperationLife, apply_event
from tidings.operations.owned_names import OwnedNames
from tidings.operations.run_history import MAX_NAMES, RunHistory
from tidings.operations.sequence_index import RunIndex, SequenceIndex
from tidings.operations.status import OperationStatus, new_status
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

_START, _LOG = str(MessageType.OPERATION_START), str(MessageType.OPERATION_LOG)
_MAX_STALE = 1_024
"""Superseded entries that the heap of ended operations may hold in addition to as many as have ended."""
_EXPIRY_BATCH = 300
"""Ended operations examined per call of `OperationTable.expire`."""

MAX_LIVE_OF_OWNER = 10_000
"""Live operations that one subject may have begun. None of them is evicted: each takes memory until it ends."""


def _unchanged(offset: int, received_ns: int) -> int:
    """Return a time as it was stored: the clock has not jumped."""
    return received_ns


class OperationTable:
    """All operations in a log.

    Args:
        ended_age_ns: Age in nanoseconds after which an ended operation is removed.
        max_ended: Number of ended operations beyond which the oldest are removed; the newest run of each name stays.
        max_ended_bytes: Size of ended operations beyond which the oldest are removed, that of each name last.
    """

    def __init__(self, *, ended_age_ns: int, max_ended: int, max_ended_bytes: int) -> None:
        self._ended_age_ns = ended_age_ns
        self._max_ended = max_ended
        self._max_ended_bytes = max_ended_bytes
        self._sizes: dict[str, int] = {}
        """Sizes of the ended operations, in bytes."""
        self.ended_bytes = 0
        """Size of all ended operations, in bytes."""
        self._live: dict[str, OperationStatus] = {}
        self._ended: dict[str, OperationStatus] = {}
        """Ended operations, in the order of their ends."""
        self._of_trace: dict[str, dict[str, None]] = {}
        self._of_producer: dict[str, dict[str, None]] = {}
        self._children: dict[str, dict[str, None]] = {}
        self._live_children: dict[str, dict[str, None]] = {}
        self._names: dict[str, RunHistory] = {}
        """Run histories, in the order of their newest ends."""
        self._owned_names = OwnedNames()
        self._owned_ended = OwnedNames()
        self._owned_live = OwnedNames()
        self.crowded: set[str] = set()
        """Subjects with as many live operations as one may have."""
        self._owned_bytes: dict[str, int] = {}
        """Sizes of the ended operations of each owner, in bytes."""
        self._by_number = SequenceIndex()
        self._runs = RunIndex()
        self._next_number = 1
        self._expirable: list[tuple[int, str]] = []
        """A heap of ended operations that are not the newest of their name, with the offsets of their ends; some
        entries are stale."""
        self.dirty: dict[str, int] = {}
        """Offset of the first unsaved change of each operation whose life has changed since it was saved, in order."""
        self.held: dict[str, None] = {}
        """Operations whose holder changed without an event since they were saved."""
        self.dirty_names: dict[str, None] = {}
        """Names whose history has changed or was removed."""
        self.removed: deque[int] = deque()
        """Numbers of removed operations: the log's adapter deletes their rows."""
        self.evicted = 0
        """Ended operations removed because there were too many, or they were too large."""

    def __len__(self) -> int:
        """Return the number of live operations."""
        return len(self._live)

    # Queries.

    @property
    def known(self) -> int:
        """Number of operations, live and ended."""
        return len(self._live) + len(self._ended)

    def admits(self, owner: str, limit: int) -> bool:
        """Return whether `owner` may begin an operation: fewer than `limit` are live, or it has less than its share.

        The share is `limit` divided by the owners of live operations, so that no owner keeps out the others.
        """
        live = self._owned_live
        return len(live) < limit or live.count(owner) * live.owners < limit

    def get(self, operation_id: str) -> OperationStatus | None:
        """Return an operation, or None."""
        return self._live.get(operation_id) or self._ended.get(operation_id)

    def life(self, operation_id: str) -> OperationLife | None:
        """Return the life of an operation, or None."""
        status = self._live.get(operation_id) or self._ended.get(operation_id)
        return None if status is None else status.life

    @property
    def live(self) -> Iterable[OperationStatus]:
        """The operations that have not ended, in the order of their first events."""
        return self._live.values()

    @property
    def ended(self) -> Iterable[OperationStatus]:
        """The operations that have ended, in the order of their ends."""
        return self._ended.values()

    def before(self, number: int | None, limit: int) -> list[OperationStatus]:
        """Return up to `limit` operations with a sequence number below `number`, newest first; None means all."""
        return self._by_number.before(number, limit)

    def earlier_runs(self, status: OperationStatus) -> Iterator[OperationStatus]:
        """Yield the operations of the same name with smaller numbers, the nearest first."""
        return self._by_number.find(self._runs.before(status.name, status.number))

    def later_runs(self, status: OperationStatus) -> Iterator[OperationStatus]:
        """Yield the operations of the same name with greater numbers, the nearest first."""
        return self._by_number.find(self._runs.after(status.name, status.number))

    def of_trace(self, trace_id: str) -> Iterable[str]:
        """Return the ids of the live operations in a trace."""
        return self._of_trace.get(trace_id, ())

    def of_producer(self, producer_id: str) -> list[OperationStatus]:
        """Return the live operations that a producer holds."""
        return [self._live[operation_id] for operation_id in self._of_producer.get(producer_id, ())]

    def holds_any(self, producer_id: str) -> bool:
        """Return whether a producer holds a live operation."""
        return bool(self._of_producer.get(producer_id))

    def producers(self) -> list[str]:
        """Return the producers that hold live operations."""
        return list(self._of_producer)

    def children(self, operation_id: str) -> list[OperationStatus]:
        """Return the operations that name `operation_id` as their parent, by their first event."""
        found = (self.get(child) for child in self._children.get(operation_id, ()))
        # After a restart, a log restores live and ended operations in another order.
        return sorted((child for child in found if child is not None), key=lambda child: child.number)

    def live_children(self, operation_id: str, limit: int) -> list[OperationStatus]:
        """Return up to `limit` live operations that name `operation_id` as their parent."""
        return [self._live[child] for child in islice(self._live_children.get(operation_id, ()), limit)]

    @property
    def names(self) -> Mapping[str, RunHistory]:
        """The run history of each name, in the order of their newest ends."""
        return self._names

    # The fold.

    def apply(
        self,
        offset: int,
        event: Event,
        received_ns: int,
        producer_id: str = "",
        lease_s: float = 0.0,
        owner: str = "",
    ) -> None:
        """Apply the event at `offset`, in log order; events that do not concern an operation are ignored.

        Args:
            offset: The offset.
            event: The event.
            received_ns: Time of receipt, nanoseconds since 1970.
            producer_id: The producer that published it; "" for a publisher that is not attached.
            lease_s: The lease of that producer, in seconds.
            owner: The subject that published it; "" without authentication.
        """
        operation_id = event.key
        if operation_id is None or event.type not in TRANSITIONS:
            return
        status = self._live.get(operation_id) or self._ended.get(operation_id)
        if status is not None and offset <= status.offset:
            return  # the saved status includes it
        before = None if status is None else status.life
        try:
            life = apply_event(operation_id, before, event, producer_id=producer_id, lease_s=lease_s, by_hub=True)
        except OperationError:
            return  # written by an older hub with other rules
        if life is None or (life is before and not life.live):
            return  # a log line of an operation that has not started
        if status is None:
            status = new_status(operation_id, event, received_ns, life, offset)
            status.number, self._next_number = self._next_number, self._next_number + 1
            status.first_offset = offset
            status.owner = owner
            self._by_number.add(status)
            self._runs.add(status)
            self._index(status)
        elif life is before and event.type != _START:
            status.apply(event, received_ns, life, offset)  # changes nothing that is indexed
        else:
            name = status.name
            self._update(status, event, received_ns, life, offset)
            if status.name != name:
                self._runs.discard(name, status.number)
                self._runs.add(status)
        status.offset = offset
        if event.type == _LOG:
            status.log_offset = offset
        if life is not before:
            self.dirty.setdefault(operation_id, offset)
            if not life.live:
                self._record_end(status, offset)

    def _update(
        self, status: OperationStatus, event: Event, received_ns: int, life: OperationLife, offset: int
    ) -> None:
        parent_id = status.parent_id
        if life is status.life:
            status.apply(event, received_ns, life, offset)
            if status.parent_id != parent_id:
                if parent_id is not None:
                    _discard(self._live_children, parent_id, status.operation_id)
                self._index_parent(status)
        else:
            self._unindex(status)
            status.apply(event, received_ns, life, offset)
            self._index(status)
        if parent_id is not None and status.parent_id != parent_id:
            _discard(self._children, parent_id, status.operation_id)

    def _record_end(self, status: OperationStatus, offset: int) -> None:
        if not status.name:
            self._add_expirable(status.operation_id)
            return
        history = self._names.pop(status.name, None) or RunHistory(name=status.name)
        self._add_expirable(history.newest)
        history.add_end(status, offset)
        history.owner = status.owner
        self.restore_name(history)
        self.dirty_names[status.name] = None
        if len(self._names) > MAX_NAMES:
            oldest = str(next(iter(self._owned_names.of_largest())))
            self._add_expirable(self._names.pop(oldest).newest)
            self._owned_names.discard(oldest)
            self.dirty_names[oldest] = None

    def _add_expirable(self, operation_id: str) -> None:
        """Add an operation that is not the newest of its name, if it has ended."""
        status = self._ended.get(operation_id)
        if status is not None:
            heapq.heappush(self._expirable, (status.offset, operation_id))
            if len(self._expirable) > 2 * len(self._ended) + _MAX_STALE:
                self._expirable = [row for row in self._expirable if self._is_expirable(*row)]
                heapq.heapify(self._expirable)

    def _is_expirable(self, offset: int, operation_id: str) -> bool:
        status = self._ended.get(operation_id)
        return status is not None and status.offset == offset and not self._is_newest_of_name(status)

    def hold(self, operation_id: str, producer_id: str, lease_s: float) -> None:
        """Make a producer the holder of a live operation, as it has claimed without an event."""
        status = self._live.get(operation_id)
        if status is None:
            return
        self._unindex(status)
        life = status.life
        status.life = OperationLife(life.attempt, life.state, life.trace_id, producer_id, lease_s)
        self._index(status)
        self.dirty.setdefault(operation_id, status.offset)
        self.held[operation_id] = None

    def restore(self, status: OperationStatus) -> None:
        """Restore a saved operation, after all names; ended operations in the order of their ends."""
        self._next_number = max(self._next_number, status.number + 1)
        self._by_number.add(status)
        self._runs.add(status)
        self._index(status)
        if not self._is_newest_of_name(status):
            self._add_expirable(status.operation_id)

    def restore_name(self, history: RunHistory) -> None:
        """Restore the saved history of a name; in the order of `RunHistory.offset`."""
        self._names[history.name] = history
        self._owned_names.add(history.name, history.owner)

    def _index(self, status: OperationStatus) -> None:
        operation_id, life = status.operation_id, status.life
        self._index_parent(status)
        if status.live:
            self._live[operation_id] = status
            self._owned_live.add(operation_id, status.owner)
            if status.owner and self._owned_live.count(status.owner) >= MAX_LIVE_OF_OWNER:
                self.crowded.add(status.owner)
            self._of_trace.setdefault(life.trace_id, {})[operation_id] = None
            if life.producer_id:
                self._of_producer.setdefault(life.producer_id, {})[operation_id] = None
            return
        self._ended[operation_id] = status
        self._owned_ended.add(operation_id, status.owner)
        self._set_size(status, status.size())
        if len(self._ended) > self._max_ended or self.ended_bytes > self._max_ended_bytes:
            self._evict()

    def _unindex(self, status: OperationStatus) -> None:
        operation_id, life = status.operation_id, status.life
        if self._live.pop(operation_id, None) is None:
            self._ended.pop(operation_id, None)
            self._owned_ended.discard(operation_id)
            self._set_size(status, 0)
            return
        self._owned_live.discard(operation_id)
        if status.owner in self.crowded and self._owned_live.count(status.owner) < MAX_LIVE_OF_OWNER:
            self.crowded.discard(status.owner)
        if status.parent_id is not None:
            _discard(self._live_children, status.parent_id, operation_id)
        _discard(self._of_trace, life.trace_id, operation_id)
        _discard(self._of_producer, life.producer_id, operation_id)

    def _set_size(self, status: OperationStatus, size: int) -> None:
        """Count the size of an ended operation; 0 for one that leaves."""
        more = size - self._sizes.pop(status.operation_id, 0)
        if size:
            self._sizes[status.operation_id] = size
        self.ended_bytes += more
        total = self._owned_bytes.pop(status.owner, 0) + more
        if total:
            self._owned_bytes[status.owner] = total

    def _index_parent(self, status: OperationStatus) -> None:
        if status.parent_id is not None:
            self._children.setdefault(status.parent_id, {})[status.operation_id] = None
            if status.live:
                self._live_children.setdefault(status.parent_id, {})[status.operation_id] = None

    # Saving.

    def mark_live_dirty(self) -> None:
        """Mark all live operations as changed, so that their progress is saved as well."""
        for status in self._live.values():
            self.dirty.setdefault(status.operation_id, status.offset)

    def mark_saved(self, operation_ids: Iterable[str], names: Iterable[str], removed: int) -> None:
        """Record that changes of these operations and names, and the first `removed` removals, were saved."""
        for operation_id in operation_ids:
            self.dirty.pop(operation_id, None)
            self.held.pop(operation_id, None)
        for name in names:
            self.dirty_names.pop(name, None)
        for _ in range(removed):
            self.removed.popleft()

    def discard_changes(self) -> None:
        """Record that no change needs saving: the log keeps no file."""
        self.dirty.clear()
        self.held.clear()
        self.dirty_names.clear()
        self.removed.clear()

    # Removing.

    def expire(self, now_ns: int, received_ns: Callable[[int, int], int] = _unchanged) -> bool:
        """Remove some ended operations that are too old; return whether there may be more.

        Which ones are removed depends on the events and on `now_ns` only, not on earlier calls.

        Args:
            now_ns: The present time, nanoseconds since 1970.
            received_ns: Returns a time at an offset by the present clock.
        """
        for _ in range(_EXPIRY_BATCH):
            if not self._expirable:
                return False
            offset, operation_id = self._expirable[0]
            if self._is_expirable(offset, operation_id):
                status = self._ended[operation_id]
                # By the hub's clock at receipt: a recording that is published again ended long ago by its own.
                ended_ns = max(status.heard_ns, status.ended_ns or 0)
                if received_ns(offset, ended_ns) + self._ended_age_ns > now_ns:
                    return False
                self._remove(status)
            heapq.heappop(self._expirable)
        return bool(self._expirable)

    def _is_newest_of_name(self, status: OperationStatus) -> bool:
        history = self._names.get(status.name)
        return history is not None and history.newest == status.operation_id

    def _evict(self) -> None:
        """Remove some of the oldest ended operations of the owner with the most, in number or in bytes.

        The newest run of a name is removed last, and the newest of all never.
        """
        are_many = len(self._ended) > self._max_ended
        enough_bytes = self._max_ended_bytes - self._max_ended_bytes // 100
        most = max(1, self._max_ended // 100)
        newest = next(reversed(self._ended))  # the history of its name does not have it yet
        if are_many:
            of_owner = self._owned_ended.of_largest()
        else:
            of_owner = self._owned_ended.of(max(self._owned_bytes, key=self._owned_bytes.__getitem__))
        older, candidates = tee(self._ended[str(each)] for each in of_owner if each != newest)
        free = (status for status in candidates if not self._is_newest_of_name(status))
        removed = list(islice(free, most)) or list(islice(older, most))
        for status in removed or list(islice(self._ended.values(), min(most, len(self._ended) - 1))):
            if not are_many and self.ended_bytes <= enough_bytes:
                break
            self.evicted += 1
            self._remove(status)

    def _remove(self, status: OperationStatus) -> None:
        self._unindex(status)
        self._by_number.discard(status)
        self._runs.discard(status.name, status.number)
        if status.parent_id is not None:
            _discard(self._children, status.parent_id, status.operation_id)
        self._children.pop(status.operation_id, None)
        self.dirty.pop(status.operation_id, None)
        self.removed.append(status.number)


def _discard(index: dict[str, dict[str, None]], name: str, operation_id: str) -> None:
    of_name = index.get(name)
    if of_name is not None:
        of_name.pop(operation_id, None)
        if not of_name:
            del index[name]
