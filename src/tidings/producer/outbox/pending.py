"""The state of an outbox: its events, the operations that it holds, and those it must wait for; thread-safe."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf

from msgspec import Struct

from tidings.client.deferring_lock import DeferringCondition, DeferringLock
from tidings.client.drafts import Draft
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits, Rank, WindowLimits
from tidings.producer.outbox.claims import ClaimedOperation, Claims, OnCancel, OnLost
from tidings.producer.outbox.contended import ContendedOperations, operation_of
from tidings.producer.spool.spool import Spool
from tidings.protocol.messages import Accepted, Claim
from tidings.protocol.payloads import OperationStartData

_PATIENCE_S = 0.2
"""Time for which events that are not on disk wait for a hub that is away, in seconds."""


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
        self._changed = DeferringCondition(self._lock)
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

    def give_owner(self, owner: str, subject: str) -> None:
        """See `Spool.give_owner`."""
        if (spool := self._spool) is not None:
            self._lock.run(lambda: spool.give_owner(owner, subject))

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

    def wait_closable(self, timeout_s: float, *, patient: bool = False) -> int:
        """Wait like `wait_settled`, and until dead producers' events are recovered; return how many have no answer.

        Unless it is `patient`: if no hub has ever answered, and one more connection has failed, events that another
        outbox will send are not waited for, and the others only briefly.
        """
        if patient:
            return self._wait(self._is_done, timeout_s)
        began_s = time.monotonic()
        left = self._wait(self._is_closable, min(timeout_s, _PATIENCE_S))
        if self.is_closable(0.0):
            return left
        return self._wait(lambda: self._is_closable() or self._no_hub, timeout_s - (time.monotonic() - began_s))

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> int:
        """Wait until `condition` is true with the lock held; return how many events have no answer."""
        left = 0

        def met() -> bool:
            nonlocal left
            left = self.left
            return condition()

        self._changed.wait_for(met, timeout_s)
        return left

    def is_closable(self, waited_s: float) -> bool:
        """Return whether `wait_closable` would return after `waited_s`."""
        with self._lock, self._lock.mutex:
            return self._is_closable() or (self._no_hub and waited_s >= _PATIENCE_S)

    def _is_done(self) -> bool:
        return self._stopped or (self.left == 0 and not self._recovering)

    def _is_closable(self) -> bool:
        if self._is_done():
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

    def restart(self, starts: Mapping[str, Draft]) -> None:
        """Put the starts of the next attempts of operations before everything that waits."""
        if not starts:
            return
        with self._lock, self._lock.mutex:
            for operation_id, draft in starts.items():
                if self._spool is not None:
                    self._spool.keep(draft)
                self._claims.note_restart(operation_id)
            self.put_all_first([(draft, operation_id) for operation_id, draft in starts.items()], Rank.LIFECYCLE)

    def abandon(self, operation_ids: Collection[str]) -> list[QueuedEvent]:
        """Drop all waiting events of operations, claim them no longer, and return the events."""
        if not operation_ids:
            return []
        with self._lock, self._lock.mutex:
            dropped = self._drop(lambda entry: operation_of(entry) in operation_ids)
            for operation_id in operation_ids:
                self._claims.forget(operation_id)
            self._unspool(dropped)
        return dropped

    def drop_finished(self, operation_ids: Collection[str]) -> list[QueuedEvent]:
        """Drop the waiting events of attempts that are over, and return them.

        Its end stays: if the hub has it, it is known by its event id; if not, the hub decides. Events from the next
        start on belong to another attempt. Without one, the operation is claimed no longer.
        """
        if not operation_ids:
            return []
        with self._lock, self._lock.mutex:
            first: dict[str, float] = dict.fromkeys(operation_ids, inf)
            for entry in self:
                operation_id = operation_of(entry)
                if operation_id in first and _is_start(entry):
                    first[operation_id] = min(first[operation_id], entry.number)
            # An event of another operation is never numbered below minus infinity.
            dropped = self._drop(
                lambda entry: not entry.ends and entry.number < first.get(operation_of(entry) or "", -inf)
            )
            for operation_id in operation_ids:
                held = self._claims.get(operation_id)
                if held is not None and not held.starts:
                    self._claims.forget(operation_id)
            self._unspool(dropped)
        return dropped

    # The end of the outbox's thread.

    def note_recovery(self, *, running: bool) -> None:
        """Note that the recovery of dead producers' events begins, or ends."""
        with self._lock, self._lock.mutex:
            self._recovering = running
            self._changed.notify()

    def note_no_hub(self) -> None:
        """Note that a connection has failed, or takes long, and that no hub has ever answered."""
        with self._lock, self._lock.mutex:
            self._no_hub = True
            self._changed.notify()

    def expect_hub(self) -> None:
        """Note that a hub has answered, or that another connection is tried."""
        with self._lock, self._lock.mutex:
            self._no_hub = False

    def stop(self) -> None:
        """Note that nothing more will be sent."""
        with self._lock, self._lock.mutex:
            self._stopped = True
            self._changed.notify()

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
        self._changed.notify()

    def _unspool(self, entries: Sequence[QueuedEvent]) -> None:
        if self._spool is not None:
            for entry in entries:
                if entry.rank is Rank.LIFECYCLE:
                    self._spool.done(entry.draft.event_id)


def _is_start(entry: QueuedEvent) -> bool:
    return entry.rank is Rank.LIFECYCLE and not entry.ends
