"""The state of an outbox: its events, the operations that it holds, and those it must wait for; thread-safe.

An operation is contended if it begins here while another producer still holds its lease, as when a job is started
again right after its process died: the hub gives the dead process its whole lease to come back, and begins no other
attempt before that is over.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

import msgspec
from msgspec import Struct

from tidings.client.deferring_lock import DeferringLock
from tidings.client.drafts import Draft
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits, Rank, WindowLimits
from tidings.exceptions import OperationExists, OperationFenced
from tidings.producer.outbox.claims import ClaimedOperation, Claims, OnCancel, OnLost
from tidings.producer.spool.spool import Spool
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Accepted, Claim
from tidings.protocol.payloads import OperationStartData

_MAX_HELD_BACK = 2_000
"""Events held back for one contended operation; beyond it, the oldest that is neither start nor end is dropped."""
_PATIENCE_S = 0.2
"""Time for which events that are not on disk wait for a hub that is away, in seconds."""
_CONTENDED = frozenset({OperationExists.code, OperationFenced.code})


class _Queued(Struct, frozen=True):
    """The field of a start that is true if it begins nothing."""

    queued: bool = False


_decode = msgspec.json.Decoder(_Queued).decode


class _Contended:
    """One contended operation."""

    def __init__(self, start: QueuedEvent) -> None:
        self.start = start
        self.retrying = False
        """Whether the start is being sent again."""
        self.refusals = 0
        """How often the start was refused."""
        self.held_back: dict[int, QueuedEvent] = {}

    def add(self, entry: QueuedEvent) -> None:
        """Hold back one more event, in place of those that it supersedes or leaves no room for."""
        if entry.slot is not None:
            for number in [number for number, other in self.held_back.items() if other.slot == entry.slot]:
                del self.held_back[number]
        elif len(self.held_back) >= _MAX_HELD_BACK:
            oldest = next((n for n, other in self.held_back.items() if other.rank is not Rank.LIFECYCLE), None)
            self.held_back.pop(oldest or 0, None)
        self.held_back[entry.number] = entry


class ContendedOperations:
    """Operations whose start was refused because another producer holds the lease, with their later events.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._contended: dict[str, _Contended] = {}

    def __len__(self) -> int:
        return sum((not one.retrying) + len(one.held_back) for one in self._contended.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._contended)

    def add_refused(self, entry: QueuedEvent, refusal: str) -> int:
        """Keep an event that the hub has refused with code `refusal`.

        Returns:
            How often its operation's start was refused; 0 if the event is not kept because the refusal is final.
        """
        key = _operation_of(entry)
        if refusal not in _CONTENDED or key is None:
            return 0
        one = self._contended.get(key)
        if one is None:
            if refusal != OperationExists.code or not _begins(entry):
                return 0
            one = self._contended[key] = _Contended(entry)
        if entry.number == one.start.number:
            one.retrying = False
            one.refusals += 1
        else:
            one.add(entry)
        return one.refusals

    def hold_back(self, entry: QueuedEvent) -> bool:
        """Keep an event that is to be sent, if it must wait for its operation's start; return whether it must."""
        key = _operation_of(entry) if self._contended else None
        one = None if key is None else self._contended.get(key)
        if one is None or entry.number <= one.start.number:
            return False
        one.add(entry)
        return True

    def settle(self, entry: QueuedEvent) -> list[QueuedEvent]:
        """Return the events held back for a start that now has its final answer."""
        one = self._contended.get(entry.key or "")
        if one is None or entry.number != one.start.number:
            return []
        del self._contended[entry.key or ""]
        return list(one.held_back.values())

    def retry(self) -> list[QueuedEvent]:
        """Return the starts to send again."""
        resting = [one for one in self._contended.values() if not one.retrying]
        for one in resting:
            one.retrying = True
        return [one.start for one in resting]


def _operation_of(entry: QueuedEvent) -> str | None:
    return entry.key if entry.draft.type.startswith("operation:") else None


def _begins(entry: QueuedEvent) -> bool:
    return entry.draft.type == MessageType.OPERATION_START and not _decode(entry.draft.data).queued


class OutboxStatistics(Struct, frozen=True, kw_only=True):
    """Figures of an outbox."""

    waiting: int
    """Events not yet sent."""
    unacknowledged: int
    """Events sent, and not yet answered."""
    accepted: int
    """Events in the hub's log."""
    conflated: int
    """`latest` events that a newer event replaced before they were sent."""
    shed: int
    """Events dropped because the outbox was full."""
    refused: int
    """Events that could not be published: not what the contract, or the operation's state, allows."""


class PendingEvents(PublishQueue):
    """A `PublishQueue` shared by the job's threads and the outbox's thread, with the operations that they hold.

    Owns the outbox's lock: every method defined here takes it, and no other file does. The job's side may be called
    between any two bytecodes of these methods: what it does is then deferred. Starts and ends are in the spool, which
    the lock guards, too, from before they can be sent until they have their final answer.

    Args:
        limits: Bound on the events that wait.
        spool: Copies of starts and ends that outlive the process; None keeps none.
        window: Bound on the events in flight.
    """

    def __init__(
        self,
        limits: QueueLimits,
        spool: Spool | None = None,
        window: WindowLimits = WindowLimits(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__(limits, window)
        self._lock = DeferringLock()
        # Simple queues, because they are the only ones that a signal handler or a finalizer may use.
        self._waiters: deque[SimpleQueue[None]] = deque()
        self._spool = spool
        self._claims = Claims()
        self._contended = ContendedOperations()
        self._changing = False
        """Whether a report of the job is being put into the queue."""
        self._closed = False
        self._stopped = False
        self._recovering = False
        self._no_hub = False
        """Whether no hub has ever answered, and the latest connection failed or takes long."""

    # The job's side.

    def offer(
        self,
        draft: Draft,
        rank: Rank,
        key: str | None,
        *,
        ends: bool = False,
        at_ns: int = 0,
        start: OperationStartData | None = None,
    ) -> bool | None:
        """Take an event from the job.

        Args:
            draft: The event.
            rank: Its rank.
            key: Its key.
            ends: Whether it is an end.
            at_ns: When it was put, if the draft has no timestamp yet.
            start: The payload, if it is a start.

        Returns:
            Whether it was taken, or is going to be if it is deferred; None if there is no room for it.
        """
        taken: list[bool | None] = []
        self._lock.run(lambda: taken.append(self._offer(draft, rank, key, ends=ends, at_ns=at_ns, start=start)))
        return taken[0] if taken else True

    def _offer(
        self, draft: Draft, rank: Rank, key: str | None, *, ends: bool, at_ns: int, start: OperationStartData | None
    ) -> bool | None:
        # An exception may have ended an earlier run of this, or of another change, anywhere.
        interrupted = self._repair()
        self._changing = True
        taken = self._take_from_job(draft, rank, key, ends=ends, at_ns=at_ns, start=start, interrupted=interrupted)
        self._changing = False
        return taken

    def _repair(self) -> bool:
        interrupted = self._changing
        if interrupted:
            self.repair()
        return interrupted

    def _take_from_job(
        self,
        draft: Draft,
        rank: Rank,
        key: str | None,
        *,
        ends: bool,
        at_ns: int,
        start: OperationStartData | None,
        interrupted: bool,
    ) -> bool | None:
        if interrupted and any(entry.draft is draft for entry in self):
            return True
        spooled = rank is Rank.LIFECYCLE and key is not None
        if spooled and not self._closed:
            self._note(draft, key or "", start)
        # After the hub has ended the connection for good, starts and ends are still taken, to be kept on disk.
        ended = self._closed or (self._stopped and not spooled)
        taken = not ended and super().put(draft, rank, key, ends=ends, at_ns=at_ns) is not None
        if ended:
            self.refused += 1
        if spooled and not taken:
            self._claims.note_settled(key or "", ended=ends, attempt=None)
            if self._spool is not None:
                self._spool.done(draft.event_id)
        return False if ended else taken or None

    def _note(self, draft: Draft, key: str, start: OperationStartData | None) -> None:
        """Note a start or an end before it can be sent."""
        held = self._claims.note_put(key, draft, start)
        if self._spool is None:
            return
        if start is None and held is not None:
            self._spool.keep(draft, attempt=held.attempt, again=held.copy_start())
        else:
            self._spool.keep(draft)

    def count_invalid(self) -> None:
        """Count an event that cannot be published."""
        self._lock.run(self._count_refused)

    def _count_refused(self) -> None:
        self.refused += 1

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None,
        trace_id: str | None,
        on_cancel: OnCancel | None,
        on_lost: OnLost | None,
    ) -> None:
        """See `Outbox.hold`."""
        self._lock.run(
            lambda: self._claims.hold(
                operation_id, lease_s=lease_s, trace_id=trace_id, on_cancel=on_cancel, on_lost=on_lost
            )
        )

    def release(self, operation_id: str) -> None:
        """See `Outbox.release`."""
        self._lock.run(lambda: self._claims.release(operation_id))

    def answer_unclaimed(self, on_cancel: OnCancel | None) -> None:
        """See `Outbox.answer_unclaimed`."""
        with self._lock, self._lock.mutex:
            self._claims.on_unclaimed_cancel = on_cancel

    def statistics(self) -> OutboxStatistics:
        """Return the figures."""
        with self._lock, self._lock.mutex:
            return OutboxStatistics(
                waiting=self.waiting,
                unacknowledged=self.unacknowledged,
                accepted=self.accepted,
                conflated=self.conflated,
                shed=self.shed,
                refused=self.refused,
            )

    def close(self) -> None:
        """Take nothing more from the job."""
        with self._lock, self._lock.mutex:
            self._closed = True

    def close_spool(self) -> None:
        """Close the spool; another outbox sends what is in it."""
        if self._spool is not None:
            with self._lock, self._lock.mutex:
                self._spool.close()

    def wait_settled(self, timeout_s: float) -> int:
        """Wait until every event has its final answer, or none will come; return how many events have none.

        Args:
            timeout_s: Maximum wait.
        """
        return self._wait(lambda: self._stopped or self.left == 0, timeout_s)

    def wait_closable(self, timeout_s: float) -> int:
        """Wait like `wait_settled`, and until dead producers' events are recovered; return how many have no answer.

        If no hub has ever answered, and one more connection has failed, events that another outbox will send are not
        waited for, and the others only briefly.
        """
        began_s = time.monotonic()
        left = self._wait(self._is_closable, min(timeout_s, _PATIENCE_S))
        if self.is_closable(0.0):
            return left
        return self._wait(lambda: self._is_closable() or self._no_hub, timeout_s - (time.monotonic() - began_s))

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> int:
        """Wait until `condition` is true with the lock held; return how many events have no answer.

        It does not wait if this thread is interrupted while it holds the lock: then nothing would change.
        """
        waiter: SimpleQueue[None] = SimpleQueue()
        self._waiters.append(waiter)
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                interrupted = self._lock.held
                with self._lock, self._lock.mutex:
                    met, left = condition(), self.left
                remaining_s = deadline - time.monotonic()
                if met or interrupted or remaining_s <= 0:
                    return left
                with suppress(Empty):
                    waiter.get(timeout=remaining_s)
        finally:
            self._waiters.remove(waiter)

    def _notify(self) -> None:
        for waiter in list(self._waiters):
            waiter.put(None)

    def is_closable(self, waited_s: float) -> bool:
        """Return whether `wait_closable` would return after `waited_s`."""
        with self._lock, self._lock.mutex:
            return self._is_closable() or (self._no_hub and waited_s >= _PATIENCE_S)

    def _is_closable(self) -> bool:
        if self._stopped or (self.left == 0 and not self._recovering):
            return True
        return self._no_hub and self._spool is not None and self._spool.keeps(self._worth_waiting_for())

    def _worth_waiting_for(self) -> list[str]:
        """Return the ids of the events that wait, without those that an end behind them makes obsolete."""
        ended = {entry.key for entry in self if entry.ends}
        return [entry.draft.event_id for entry in self if not (entry.rank is Rank.LATEST and entry.key in ended)]

    # The queue, as `ReliablePublisher` uses it.

    @property
    def waiting(self) -> int:
        """See `PublishQueue.waiting`."""
        return super().waiting + len(self._contended)

    def take(self, limit: int) -> list[QueuedEvent]:
        """See `PublishQueue.take`."""
        with self._lock, self._lock.mutex:
            self._repair()
            return super().take(limit)

    def holds_back(self, entry: QueuedEvent) -> bool:
        """Hold back the events of contended operations."""
        return self._contended.hold_back(entry)

    def accept(self, entry: QueuedEvent, answer: Accepted) -> list[QueuedEvent]:
        """See `PublishQueue.accept`."""
        with self._lock, self._lock.mutex:
            overtaken = super().accept(entry, answer)
            self._settle(entry, answer.attempt)
            for other in overtaken:
                self._settle(other)
            self._unspool([entry, *overtaken])
        return overtaken

    def refuse(self, entry: QueuedEvent) -> None:
        """See `PublishQueue.refuse`."""
        with self._lock, self._lock.mutex:
            super().refuse(entry)
            self._settle(entry)
            self._unspool([entry])

    def replace(self, entry: QueuedEvent, draft: Draft) -> None:
        """Send `draft` in place of an end in flight, which keeps its place in the operation and in the spool."""
        if self._spool is not None:
            self._spool.keep(draft)
        with self._lock, self._lock.mutex:
            super().withdraw(entry)
            self.put_first(draft, entry.rank, entry.key, ends=entry.ends)
        self._unspool([entry])

    def take_unaddressed(self) -> list[QueuedEvent]:
        """See `PublishQueue.take_unaddressed`."""
        with self._lock, self._lock.mutex:
            return super().take_unaddressed()

    def note_unaddressed(self) -> None:
        """See `PublishQueue.note_unaddressed`."""
        with self._lock, self._lock.mutex:
            super().note_unaddressed()

    def give_back(self, entry: QueuedEvent) -> None:
        """See `PublishQueue.give_back`."""
        with self._lock, self._lock.mutex:
            super().give_back(entry)

    def resume(self) -> bool:
        """See `PublishQueue.resume`."""
        with self._lock, self._lock.mutex:
            return super().resume()

    def connection_lost(self) -> None:
        """See `PublishQueue.connection_lost`."""
        with self._lock, self._lock.mutex:
            super().connection_lost()

    # Contention.

    def contend(self, entry: QueuedEvent, refusal: str) -> int:
        """Keep an event in flight that was refused because another producer still holds its operation.

        Returns:
            How often the operation's start was refused for that; 0 if the refusal has another reason.
        """
        with self._lock, self._lock.mutex:
            refusals = self._contended.add_refused(entry, refusal)
            if refusals:
                super().withdraw(entry)
            return refusals

    def retry_contended(self) -> None:
        """Put the starts of contended operations back to their places, to be sent again."""
        with self._lock, self._lock.mutex:
            self.put_back(self._contended.retry())

    # The operations held.

    def claims(self) -> list[Claim]:
        """Return everything that is held, for a new connection."""
        with self._lock, self._lock.mutex:
            return self._claims.claims()

    def new_claims(self) -> list[Claim]:
        """Return the operations held since the last call, which the hub does not know about."""
        with self._lock, self._lock.mutex:
            return self._claims.take_new_claims()

    def held(self, operation_id: str) -> ClaimedOperation | None:
        """Return an operation that is held."""
        with self._lock, self._lock.mutex:
            return self._claims.get(operation_id)

    def unclaimed_cancel(self) -> OnCancel | None:
        """Return the callback for cancel requests of operations that are held no longer."""
        with self._lock, self._lock.mutex:
            return self._claims.on_unclaimed_cancel

    def confirm(self, operation_id: str, attempt: int | None) -> None:
        """Note that the hub confirms this producer as the holder."""
        with self._lock, self._lock.mutex:
            self._claims.confirm(operation_id, attempt)

    def restart(self, draft: Draft, operation_id: str) -> None:
        """Put the start of the next attempt before everything that waits."""
        with self._lock, self._lock.mutex:
            if self._spool is not None:
                self._spool.keep(draft)
            self._claims.note_restart(operation_id)
            self.put_first(draft, Rank.LIFECYCLE, operation_id)

    def abandon(self, operation_id: str) -> list[QueuedEvent]:
        """Drop all waiting events of an operation, claim it no longer, and return the events."""
        with self._lock, self._lock.mutex:
            dropped = self._drop(lambda entry: _operation_of(entry) == operation_id)
            self._claims.forget(operation_id)
            self._unspool(dropped)
        return dropped

    def drop_finished(self, operation_id: str) -> list[QueuedEvent]:
        """Drop the waiting events of an attempt that is over, and return them.

        Its end stays: if the hub has it, it is known by its event id; if not, the hub decides. Events from the next
        start on belong to another attempt. Without one, the operation is claimed no longer.
        """
        with self._lock, self._lock.mutex:
            starts = [entry.number for entry in self if _operation_of(entry) == operation_id and _is_start(entry)]
            first = min(starts, default=None)
            held = self._claims.get(operation_id)
            dropped = self._drop(
                lambda entry: (
                    _operation_of(entry) == operation_id and not entry.ends and (first is None or entry.number < first)
                )
            )
            if held is not None and not held.starts:
                self._claims.forget(operation_id)
            self._unspool(dropped)
        return dropped

    # The end of the outbox's thread.

    def note_recovery(self, *, running: bool) -> None:
        """Note that the recovery of dead producers' events begins, or ends."""
        with self._lock, self._lock.mutex:
            self._recovering = running
            self._notify()

    def note_no_hub(self) -> None:
        """Note that a connection has failed, or takes long, and that no hub has ever answered."""
        with self._lock, self._lock.mutex:
            self._no_hub = True
            self._notify()

    def expect_hub(self) -> None:
        """Note that a hub has answered, or that another connection is tried."""
        with self._lock, self._lock.mutex:
            self._no_hub = False

    def stop(self) -> None:
        """Note that nothing will be sent any more."""
        with self._lock, self._lock.mutex:
            self._stopped = True
            self._notify()

    def _drop(self, goes: Callable[[QueuedEvent], bool]) -> list[QueuedEvent]:
        dropped = self.drop(goes)
        for entry in dropped:
            self._settle(entry)
        return dropped

    def _settle(self, entry: QueuedEvent, attempt: int | None = None) -> None:
        """Note the final answer to an event; `attempt` is the one that the hub named. Called with the lock held."""
        if entry.rank is Rank.LIFECYCLE and entry.key is not None:
            self._claims.note_settled(entry.key, ended=entry.ends, attempt=attempt)
        if held_back := self._contended.settle(entry):
            self.put_back(held_back)
        self._notify()

    def _unspool(self, entries: Sequence[QueuedEvent]) -> None:
        if self._spool is not None:
            for entry in entries:
                if entry.rank is Rank.LIFECYCLE:
                    self._spool.done(entry.draft.event_id)


def _is_start(entry: QueuedEvent) -> bool:
    return entry.rank is Rank.LIFECYCLE and not entry.ends
