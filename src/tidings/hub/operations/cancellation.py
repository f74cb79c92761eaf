"""Cancelling with a verdict: whoever asks for it learns what came of it, in time (CONTRACT §5)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import structlog

from tidings.exceptions import OperationUnknown
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.leases import LeaseHolder, Leases
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Cancel, CancelAnswer, CancelOutcome, CancelPush
from tidings.protocol.payloads import OperationCancelledData

OutcomeCallback = Callable[[CancelOutcome], None]
OutcomeName = Literal["cancelled", "finished_first", "refused", "pending", "unreachable"]

_MOST_DESCENDANTS = 500
"""Operations cancelled with one: who has more of them below it ends them itself. It keeps the walk from going deep."""

_MOST_GENERATIONS = 16
"""Of descendants that are told of: each is two levels of JSON, of which a message has 64."""

log = structlog.get_logger("tidings.hub.operations.cancellation")


class _Wanted:
    """An attempt that is to end."""

    __slots__ = ("answer", "asked", "attempt", "children", "push", "push_id", "waiting")

    def __init__(self, push_id: str, push: CancelPush) -> None:
        self.push_id = push_id
        self.push = push
        self.asked: LeaseHolder | None = None
        """The connection that it was pushed to."""
        self.answer: CancelAnswer | None = None
        self.waiting: list[_Waiting] = []
        self.children: list[_Wanted] = []
        """What is cancelled with it."""


class _Waiting:
    """Somebody who waits for an outcome; told once."""

    __slots__ = ("_done", "told")

    def __init__(self, done: OutcomeCallback) -> None:
        self._done = done
        self.told = False

    def tell(self, outcome: CancelOutcome) -> None:
        """Tell the outcome, unless one was told."""
        if self.told:
            return
        self.told = True
        try:
            self._done(outcome)
        except Exception:  # one requester's fault must not keep the outcome from the others
            log.exception("a requester could not be told what became of a cancellation")


class CancellationRegistry:
    """What is to end, in one hub."""

    def __init__(self, hub: HubCore, leases: Leases) -> None:
        self._hub = hub
        self._leases = leases
        self._wanted: dict[str, _Wanted] = {}
        self._of_push: dict[str, _Wanted] = {}
        hub.on_operation.append(self._turned)
        leases.on_attached.append(self._attached)
        leases.on_detached.append(self._detached)

    def __len__(self) -> int:
        return len(self._wanted)

    def request(self, cancel: Cancel, done: OutcomeCallback, *, cancelled_by: str | None = None) -> None:
        """Have an operation end, with all that it is the parent of; `done` is called once, within its timeout.

        Raises:
            OperationUnknown: There is no such operation.
        """
        life = self._hub.life(cancel.operation_id)
        if life is None:
            raise OperationUnknown(
                f"the hub knows no operation {cancel.operation_id[:80]!r}", operation_id=cancel.operation_id
            )
        waiting = _Waiting(done)
        if not life.live:
            waiting.tell(self._ended(cancel.operation_id, life.attempt, life.state))
            return
        wanted = self._want(cancel.operation_id, cancel.reason, cancelled_by, seen=set())
        wanted.waiting.append(waiting)
        self._hub.scheduler.call_later(cancel.timeout_s, partial(self._time_is_up, wanted, waiting))
        self._ask(wanted)

    def pending(self, operation_ids: Iterable[str], producer_id: str = "") -> list[str]:
        """Return which operations are to end, of those named and those that a producer holds."""
        if not self._wanted:
            return []
        of_producer = (status.operation_id for status in self._hub.operations.of_producer(producer_id))
        named = dict.fromkeys((*operation_ids, *of_producer))
        return [operation_id for operation_id in named if operation_id in self._wanted]

    def record_answer(self, holder: LeaseHolder, push_id: str, answer: CancelAnswer) -> None:
        """Note what a holder says to the push `push_id`; to one that is over, or another's, it says nothing."""
        wanted = self._of_push.get(push_id)
        if wanted is None or wanted.asked is not holder:
            return
        wanted.answer = answer
        if answer.verdict == "refused":
            self._settle(wanted)  # who asks again is pushed again

    # Asking.

    def _want(self, operation_id: str, reason: str | None, cancelled_by: str | None, *, seen: set[str]) -> _Wanted:
        life = self._hub.life(operation_id)
        assert life is not None
        wanted = self._wanted.get(operation_id)
        if wanted is None or wanted.push.attempt != life.attempt:
            push = CancelPush(operation_id=operation_id, attempt=life.attempt, reason=reason, cancelled_by=cancelled_by)
            wanted = _Wanted(self._hub.mint(), push)
            self._wanted[operation_id] = self._of_push[wanted.push_id] = wanted
        seen.add(operation_id)
        generation = self._hub.operations.children(operation_id) if len(seen) <= _MOST_DESCENDANTS else ()
        for child in generation:
            if child.live and child.operation_id not in seen:
                below = self._want(child.operation_id, reason, cancelled_by, seen=seen)
                if below not in wanted.children:
                    wanted.children.append(below)
                self._ask(below)
        return wanted

    def _ask(self, wanted: _Wanted) -> None:
        operation_id = wanted.push.operation_id
        life = self._hub.life(operation_id)
        if life is None or not life.live:
            return  # its end is on its way, and settles it
        holder = self._leases.holder(life.producer_id) if life.producer_id else None
        if holder is not None:
            if wanted.asked is not holder:
                wanted.asked = holder
                holder.push_cancel(wanted.push_id, wanted.push)
        elif life.state is OperationState.QUEUED:
            self._cancel_queued(wanted)
        elif not life.producer_id:
            # Nobody has said that they can be asked. A post over HTTP that writes to it is told, if one comes.
            for waiting in wanted.waiting:
                waiting.tell(self._outcome(wanted))
            wanted.waiting.clear()
        # Else its holder may come back, or post, in time.

    def _cancel_queued(self, wanted: _Wanted) -> None:
        """Write the end of an operation that nobody has begun and nobody can be asked about."""
        push = wanted.push
        cancelled = OperationCancelledData(
            operation_id=push.operation_id, attempt=push.attempt, reason=push.reason, cancelled_by=push.cancelled_by
        )
        publish_internal(self._hub, MessageType.OPERATION_CANCELLED, cancelled)

    def _attached(self, producer_id: str, holder: LeaseHolder) -> None:
        if self._wanted:
            for operation_id in self.pending((), producer_id):
                self._ask(self._wanted[operation_id])

    def _detached(self, producer_id: str) -> None:
        """Ask for what is queued in another way, where who was asked about it went without a word."""
        for operation_id in self.pending((), producer_id):
            wanted = self._wanted[operation_id]
            life = self._hub.life(operation_id)
            if wanted.answer is None and life is not None and life.state is OperationState.QUEUED:
                self._ask(wanted)

    # Telling.

    def _turned(self, status: OperationStatus) -> None:
        """Settle what is wanted of an operation that has ended, or is at another attempt; ask who has just begun it."""
        wanted = self._wanted.get(status.operation_id)
        if wanted is None:
            return
        if not (status.live and status.life.attempt == wanted.push.attempt):
            self._settle(wanted)
        elif status.state is OperationState.RUNNING and self._leases.holder(status.life.producer_id) is not None:
            self._ask(wanted)

    def _time_is_up(self, wanted: _Wanted, waiting: _Waiting) -> None:
        waiting.tell(self._outcome(wanted))
        if waiting in wanted.waiting:
            wanted.waiting.remove(waiting)

    def _settle(self, wanted: _Wanted) -> None:
        self._wanted.pop(wanted.push.operation_id, None)
        self._of_push.pop(wanted.push_id, None)
        for waiting in wanted.waiting:
            waiting.tell(self._outcome(wanted))
        wanted.waiting.clear()

    def _outcome(self, wanted: _Wanted, generation: int = 0) -> CancelOutcome:
        push = wanted.push
        status = self._hub.operations.get(push.operation_id)
        below = wanted.children if generation < _MOST_GENERATIONS else ()
        children = [self._outcome(child, generation + 1) for child in below] or None
        reason = None if wanted.answer is None else wanted.answer.reason
        if status is None or not (status.live and status.life.attempt == push.attempt):
            state = OperationState.RUNNING if status is None else status.state
            return self._ended(push.operation_id, push.attempt, state, children)
        outcome: OutcomeName = "unreachable"
        if wanted.answer is not None:
            outcome = "refused" if wanted.answer.verdict == "refused" else "pending"
        return CancelOutcome(
            operation_id=push.operation_id,
            attempt=push.attempt,
            outcome=outcome,
            state=status.state,
            reason=reason,
            children=children,
        )

    def _ended(
        self,
        operation_id: str,
        attempt: int,
        state: OperationState,
        children: list[CancelOutcome] | None = None,
    ) -> CancelOutcome:
        outcome: OutcomeName = "cancelled" if state is OperationState.CANCELLED else "finished_first"
        return CancelOutcome(
            operation_id=operation_id, attempt=attempt, outcome=outcome, state=state, children=children
        )
