"""Cancellation of operations: each request gets one outcome in time (docs/protocol/operations.md, "Cancelling")."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import Literal, NamedTuple

from msgspec import structs

from tidings.access.grants import Grants
from tidings.access.subjects import Subject
from tidings.exceptions import HubError, InvalidCommand, OperationUnknown
from tidings.hub.interfaces import HubCore, LeaseHolder
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.cancel_requests import CancelRequester, OpenCancellation, OutcomeCallback
from tidings.hub.operations.leases import Leases
from tidings.hub.operations.rounds import Rounds
from tidings.log.base import ReceivedControl, SessionEnded
from tidings.log.journal.controls import CancelAnswered, CancelRequested
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.messages import Cancel, CancelAnswer, CancelOutcome, CancelPush
from tidings.protocol.payloads import OperationCancelledData

OutcomeName = Literal["cancelled", "finished_first", "refused", "pending", "unreachable"]

MAX_DESCENDANTS = 500
"""Descendants that one request cancels; a producer with more of them ends the rest itself."""
MAX_WAITING = 10_000
"""Requests that wait for an outcome."""
MAX_WAITING_OF_CONNECTION = 100
"""Requests of one connection that wait for an outcome: an outcome may have 100 KB, most of it children."""
_WATCH_S = 10.0
"""Interval at which the timers of requests are watched, and the time by which one may be late, in seconds."""
_CHILDREN_PER_STEP = 10
"""Children in an outcome whose encoding takes as long as publishing an event."""

_MAX_GENERATIONS = 16
"""Generations of descendants in an outcome: each is two levels of JSON, of which a message may have 64."""


class PendingCancel(NamedTuple):
    """A cancellation under way."""

    requested_ns: int
    """Time of the first request, nanoseconds since 1970."""
    cancelled_by: str | None
    """The person or program that requested it, if known."""


class CancellationRegistry:
    """The cancellations under way, as one hub sees them.

    Where several hubs share a log, all of them have the same cancellations. The hub that was asked passes the request
    on to the descendants and reports the outcome; the hub that a holder is connected to pushes to it.
    """

    def __init__(self, hub: HubCore, leases: Leases) -> None:
        self._hub = hub
        self._leases = leases
        self._cancellations: dict[str, OpenCancellation] = {}
        """Cancellations by operation id."""
        self._by_push: dict[str, OpenCancellation] = {}
        self._proposed: dict[tuple[str, int], OpenCancellation] = {}
        """Those that this hub has recorded and not received yet, by operation id and attempt."""
        self._waiting = 0
        self._waiting_of: dict[object, dict[CancelRequester, None]] = {}
        """Waiting requests by connection."""
        self._rounds = Rounds(hub)
        self.on_change: list[Callable[[str], None]] = []
        """Called with an operation whose cancellation began, or was refused by its holder."""
        hub.on_operation.append(self._on_operation)
        hub.on_control.append(self._on_control)
        leases.on_lead.append(self._on_lead)
        leases.on_attached.append(self._on_attached)
        leases.on_detached.append(self._on_detached)

    def start(self) -> None:
        """Watch the timers of the requests."""
        self._hub.jobs.start("cancellations", _WATCH_S, self._watch)

    def _watch(self) -> None:
        """Answer the requests whose timers did not.

        Raises:
            HubError: There were some.
        """
        due = self._hub.clock.monotonic() - _WATCH_S
        waiting = [each for cancellation in self._all() for each in cancellation.requesters]
        late = [requester for requester in waiting if requester.due_at < due]
        for requester in late:
            self._time_out(requester)
        if late:
            raise HubError(f"{len(late):,} requests to cancel were not answered in time")

    def _all(self) -> list[OpenCancellation]:
        return [*self._cancellations.values(), *self._proposed.values()]

    def __len__(self) -> int:
        return len(self._cancellations)

    def find(self, operation_id: str) -> PendingCancel | None:
        """Return the cancellation of an operation that is under way, or None."""
        cancellation = self._cancellations.get(operation_id)
        if cancellation is None:
            return None
        return PendingCancel(cancellation.requested_ns, cancellation.push.cancelled_by)

    def request(
        self,
        cancel: Cancel,
        callback: OutcomeCallback,
        *,
        on_drain: Callable[[], None] | None = None,
        owner: object = None,
        subject: Subject | None = None,
    ) -> None:
        """Cancel an operation and its descendants; `callback` is called once, within the request's timeout.

        Args:
            cancel: The request.
            callback: Called with the outcome.
            on_drain: Called instead if the hub shuts down before.
            owner: The connection that asks; see `withdraw`.
            subject: The subject that asks: it is named as `cancelled_by`, and its grants limit which descendants are
                cancelled and shown. None where the hub does not identify its clients.

        Raises:
            Forbidden: `subject` may not cancel the operation.
            OperationUnknown: The operation does not exist.
            InvalidCommand: Too many requests wait already.
        """
        grants = None if subject is None else subject.grants
        if subject is not None and grants is not None:
            grants.check_cancel(cancel.operation_id)
            cancel = structs.replace(cancel, cancelled_by=subject.name)
            callback = partial(_report_shown, callback, grants)
        life = self._hub.operations.life(cancel.operation_id)
        if life is None:
            raise OperationUnknown(f"no such operation: {cancel.operation_id[:80]!r}", operation_id=cancel.operation_id)
        requester = CancelRequester(callback, on_drain, owner)
        if not life.live:
            requester.report(self._ended(cancel.operation_id, life.attempt, life.state))
            return
        of_owner = self._waiting_of.get(owner, {}) if owner is not None else {}
        if self._waiting >= MAX_WAITING or len(of_owner) >= MAX_WAITING_OF_CONNECTION:
            where = "this connection waits" if len(of_owner) >= MAX_WAITING_OF_CONNECTION else "the hub's clients wait"
            raise InvalidCommand(
                f"{where} for too many outcomes of cancelling: {max(len(of_owner), self._waiting):,}",
                hint="Wait for their outcomes, or give them a shorter `timeout_s`; then cancel again.",
            )
        attempt = cancel.operation_id, life.attempt
        cancellation = self._find(*attempt) or self._proposed.get(attempt)
        if cancellation is None:
            push = CancelPush(
                operation_id=cancel.operation_id,
                attempt=life.attempt,
                reason=cancel.reason,
                cancelled_by=cancel.cancelled_by,
            )
            cancellation = OpenCancellation(self._hub.mint(), push, self._hub.now_ns())
            self._proposed[attempt] = cancellation
            self._record(cancellation, is_due=False)
        self._add_requester(cancellation, requester)
        requester.due_at = self._hub.clock.monotonic() + cancel.timeout_s
        self._hub.scheduler.call_later(cancel.timeout_s, partial(self._time_out, requester))
        if grants not in cancellation.pushing:
            cancellation.pushing.append(grants)
            self._rounds.add(self._push_all(cancellation, grants))

    def withdraw(self, owner: object) -> None:
        """Drop the waiting requests of a connection that has closed; what they asked for continues."""
        for requester in list(self._waiting_of.get(owner, ())):
            self._remove_requester(requester)
            requester.withdraw()

    def _add_requester(self, cancellation: OpenCancellation, requester: CancelRequester) -> None:
        requester.cancellation = cancellation
        cancellation.requesters[requester] = None
        self._waiting += 1
        if requester.owner is not None:
            self._waiting_of.setdefault(requester.owner, {})[requester] = None

    def _remove_requester(self, requester: CancelRequester) -> None:
        cancellation, owner = requester.cancellation, requester.owner
        if cancellation is None:
            return
        requester.cancellation = requester.owner = None
        del cancellation.requesters[requester]
        self._waiting -= 1
        if owner is not None:
            del self._waiting_of[owner][requester]
            if not self._waiting_of[owner]:
                del self._waiting_of[owner]

    def drain(self) -> None:
        """Answer every request that has no outcome yet, because the hub shuts down."""
        for cancellation in self._all():
            for requester in list(cancellation.requesters):
                requester.drain()

    def pending(self, operation_ids: Iterable[str], producer_id: str = "") -> list[str]:
        """Return those operations that are being cancelled, among the named ones and the ones that a producer holds."""
        if not self._cancellations:
            return []
        of_producer = (status.operation_id for status in self._hub.operations.of_producer(producer_id))
        named = dict.fromkeys((*operation_ids, *of_producer))
        return [operation_id for operation_id in named if operation_id in self._cancellations]

    def record_answer(self, holder: LeaseHolder, push_id: str, answer: CancelAnswer) -> None:
        """Record a holder's answer to the push `push_id`; an answer to another holder's or a past push is ignored."""
        cancellation = self._by_push.get(push_id)
        if cancellation is None or cancellation.pushed_to is not holder:
            return
        self._hub.record(CancelAnswered(cancellation.push.operation_id, push_id, answer.verdict, answer.reason))

    # Controls of all hubs of the log.

    def _find(self, operation_id: str, attempt: int) -> OpenCancellation | None:
        cancellation = self._cancellations.get(operation_id)
        return None if cancellation is None or cancellation.push.attempt != attempt else cancellation

    def _record(self, cancellation: OpenCancellation, *, is_due: bool, parent_id: str = "") -> None:
        push = cancellation.push
        self._hub.record(
            CancelRequested(
                push.operation_id,
                push.attempt,
                cancellation.push_id,
                cancellation.requested_ns,
                push.reason,
                push.cancelled_by,
                parent_id,
                is_due,
            )
        )

    def _on_control(self, received: ReceivedControl) -> None:
        match received.control:
            case CancelRequested():
                self._receive_request(received.control, received)
            case CancelAnswered(_, push_id, verdict, reason):
                cancellation = self._by_push.get(push_id)
                if cancellation is not None:
                    cancellation.answer = CancelAnswer(verdict=verdict, reason=reason)
                    if verdict == "refused":
                        self._settle(cancellation)  # a later request is pushed again
                        self._changed(cancellation.push.operation_id)
            case SessionEnded(session):
                for cancellation in list(self._cancellations.values()):
                    if cancellation.session == session and not cancellation.is_due:
                        self._make_due(cancellation)  # the hub that was asked no longer does it

    def _receive_request(self, control: CancelRequested, received: ReceivedControl) -> None:
        operation_id = control.operation_id
        proposed = self._proposed.get((operation_id, control.attempt)) if received.own else None
        if proposed is not None and proposed.push_id == control.push_id:
            del self._proposed[operation_id, control.attempt]
        else:
            proposed = None
        life = self._hub.operations.life(operation_id)
        if life is None or not life.live or life.attempt != control.attempt:
            if proposed is not None:  # it ended before the request was in the log
                self._report(proposed)
            return
        cancellation = self._find(operation_id, control.attempt)
        if cancellation is None:
            push = CancelPush(
                operation_id=operation_id,
                attempt=control.attempt,
                reason=control.reason,
                cancelled_by=control.cancelled_by,
            )
            cancellation = proposed or OpenCancellation(control.push_id, push, control.requested_ns)
            cancellation.session = received.session
            self._cancellations[operation_id] = self._by_push[cancellation.push_id] = cancellation
            self._changed(operation_id)
        elif proposed is not None:
            cancellation.join(proposed)
        parent = self._cancellations.get(control.parent_id)
        if parent is not None:
            parent.children[cancellation] = None
        if control.is_due:
            self._make_due(cancellation)

    def _make_due(self, cancellation: OpenCancellation) -> None:
        cancellation.is_due = True
        self._push(cancellation)

    # Asking the holder.

    def _push_all(self, root: OpenCancellation, grants: Grants | None) -> Iterator[None]:
        """Cancel the nearest descendants of an operation, generation by generation, and then itself."""
        hub, push = self._hub, root.push
        seen = {push.operation_id}
        parents = deque([push.operation_id])
        while parents:
            parent_id = parents.popleft()
            left = MAX_DESCENDANTS + 1 - len(seen)
            for child in hub.operations.live_children(parent_id, left):
                if child.operation_id in seen or not child.live:
                    continue
                if grants is not None and not grants.may_cancel(child.operation_id):
                    continue
                seen.add(child.operation_id)
                parents.append(child.operation_id)
                below = self._find(child.operation_id, child.life.attempt)
                if below is None:
                    asked = structs.replace(push, operation_id=child.operation_id, attempt=child.life.attempt)
                    below = OpenCancellation(hub.mint(), asked, hub.now_ns())
                self._record(below, is_due=True, parent_id=parent_id)
                yield
        root = self._find(push.operation_id, push.attempt) or root
        if grants in root.pushing:
            root.pushing.remove(grants)
        self._record(root, is_due=True)

    def _changed(self, operation_id: str) -> None:
        for observe in self.on_change:
            observe(operation_id)

    def _push(self, cancellation: OpenCancellation) -> None:
        """Push the cancellation to the operation's holder, or end a queued operation that has none."""
        operation_id = cancellation.push.operation_id
        life = self._hub.operations.life(operation_id)
        if life is None or not life.live:
            return  # its end is about to be appended, and settles the cancellation
        if life.producer_id and self._hub.producers.is_attached(life.producer_id):
            holder = self._leases.holder(life.producer_id)
            if holder is not None and cancellation.pushed_to is not holder:
                cancellation.pushed_to = holder
                holder.push_cancel(cancellation.push_id, cancellation.push)
        elif life.state is OperationState.QUEUED:
            if self._hub.leads:
                self._cancel_queued(cancellation)
        elif not life.producer_id:
            # No producer has attached for it. A later post over HTTP that writes to it receives the cancellation.
            self._report(cancellation)
        # Otherwise its holder may come back, or post, in time.

    def _cancel_queued(self, cancellation: OpenCancellation) -> None:
        """Publish the end of a queued operation without a holder."""
        push = cancellation.push
        cancelled = OperationCancelledData(
            operation_id=push.operation_id, attempt=push.attempt, reason=push.reason, cancelled_by=push.cancelled_by
        )
        publish_internal(self._hub, MessageType.OPERATION_CANCELLED, cancelled)

    def _on_attached(self, producer_id: str, holder: LeaseHolder) -> None:
        if self._cancellations:
            for operation_id in self.pending((), producer_id):
                self._push(self._cancellations[operation_id])

    def _on_lead(self) -> None:
        """End the queued operations that an earlier lead did not."""
        for operation_id, cancellation in list(self._cancellations.items()):
            life = self._hub.operations.life(operation_id)
            if cancellation.is_due and life is not None and life.state is OperationState.QUEUED:
                self._push(cancellation)

    def _on_detached(self, producer_id: str) -> None:
        """End the queued operations whose holder went away without an answer."""
        for operation_id in self.pending((), producer_id):
            cancellation = self._cancellations[operation_id]
            life = self._hub.operations.life(operation_id)
            if cancellation.answer is None and life is not None and life.state is OperationState.QUEUED:
                self._push(cancellation)

    # Reporting the outcome.

    def _on_operation(self, status: OperationStatus) -> None:
        """Settle the cancellation of an operation that ended or has another attempt; push it to one that began."""
        cancellation = self._cancellations.get(status.operation_id)
        if cancellation is None:
            return
        if not (status.live and status.life.attempt == cancellation.push.attempt):
            self._settle(cancellation)
        elif status.state is OperationState.RUNNING and self._hub.producers.is_attached(status.life.producer_id):
            self._push(cancellation)

    def _time_out(self, requester: CancelRequester) -> None:
        cancellation = requester.cancellation
        if cancellation is not None:
            self._remove_requester(requester)
            cancellation.timed_out.append(requester)
            if len(cancellation.timed_out) == 1:
                self._rounds.add(self._report_timed_out(cancellation))

    def _report_timed_out(self, cancellation: OpenCancellation) -> Iterator[None]:
        requesters, cancellation.timed_out = cancellation.timed_out, []
        yield from self._report_to(requesters, self._outcome(cancellation))

    def _settle(self, cancellation: OpenCancellation) -> None:
        # A later attempt may have a cancellation of its own by now.
        if self._cancellations.get(cancellation.push.operation_id) is cancellation:
            del self._cancellations[cancellation.push.operation_id]
        self._by_push.pop(cancellation.push_id, None)
        self._report(cancellation)

    def _report(self, cancellation: OpenCancellation) -> None:
        if cancellation.requesters:
            requesters = list(cancellation.requesters)
            for requester in requesters:
                self._remove_requester(requester)
            self._rounds.add(self._report_to(requesters, self._outcome(cancellation)))

    def _report_to(self, requesters: list[CancelRequester], outcome: CancelOutcome) -> Iterator[None]:
        steps = 1 + len(outcome.children or ()) // _CHILDREN_PER_STEP
        for requester in requesters:
            requester.report(outcome)
            yield from repeat(None, steps)

    def _outcome(self, cancellation: OpenCancellation, generation: int = 0) -> CancelOutcome:
        push = cancellation.push
        status = self._hub.operations.get(push.operation_id)
        below = cancellation.children if generation < _MAX_GENERATIONS else ()
        children = [self._outcome(child, generation + 1) for child in below] or None
        reason = None if cancellation.answer is None else cancellation.answer.reason
        if status is None or not (status.live and status.life.attempt == push.attempt):
            state = OperationState.RUNNING if status is None else status.state
            return self._ended(push.operation_id, push.attempt, state, children)
        outcome: OutcomeName = "unreachable"
        if cancellation.answer is not None:
            outcome = "refused" if cancellation.answer.verdict == "refused" else "pending"
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


def _report_shown(callback: OutcomeCallback, grants: Grants, outcome: CancelOutcome) -> None:
    """Call `callback` with those descendants in `outcome` that the requester may read or cancel."""
    callback(_without_hidden(outcome, grants))


def _without_hidden(outcome: CancelOutcome, grants: Grants) -> CancelOutcome:
    if outcome.children is None:
        return outcome
    shown = [
        _without_hidden(child, grants)
        for child in outcome.children
        if grants.may_cancel(child.operation_id) or grants.may_read(ChannelType.OPERATIONS, child.operation_id)
    ]
    return structs.replace(outcome, children=shown or None)
