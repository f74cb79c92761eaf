"""Handles the hub's verdicts and cancel requests for the operations that an outbox holds."""

import logging
import time
from collections.abc import Callable, Sequence

from tidings.client.drafts import Draft, stamp
from tidings.exceptions import CommandRefused, NotSupported, TidingsError, UnknownType
from tidings.producer.outbox.claims import ClaimedOperation, make_restart_draft
from tidings.producer.outbox.pending import PendingEvents
from tidings.protocol.messages import Attached, CancelAnswer, CancelPush, Claim, Verdict

logger = logging.getLogger(__name__)

_OLDER_HUB = frozenset({NotSupported.code, UnknownType.code})
"""Error codes with which a hub that has no leases refuses `producer:attach`."""
_MAX_REASON = 1_000
"""Characters of a refusal's reason."""


class OutboxHolder:
    """One outbox as a `Holder` of operations. Its methods are called on the outbox's own thread.

    Args:
        producer_id: See `Holder.producer_id`.
        lease_s: See `Holder.lease_s`.
        pending: The events and operations of the outbox.
        report: Called with errors that keep events from the log.
    """

    def __init__(
        self,
        producer_id: str,
        lease_s: float | None,
        *,
        pending: PendingEvents,
        report: Callable[[TidingsError], None],
    ) -> None:
        self.producer_id = producer_id
        self.lease_s = lease_s
        self.ended_by_hub: set[str] = set()
        """Operations that have ended according to the hub: its refusals of their events are not reported."""
        self._pending = pending
        self._report = report

    def claims(self) -> Sequence[Claim]:
        """See `Holder.claims`."""
        return self._pending.claims()

    def new_claims(self) -> Sequence[Claim]:
        """See `Holder.new_claims`."""
        return self._pending.new_claims()

    def attached(self, attached: Attached) -> None:
        """See `Holder.attached`."""
        # Each of these walks all waiting events, once for all verdicts.
        starts: dict[str, Draft] = {}
        abandoned: set[str] = set()
        finished: set[str] = set()
        for verdict in attached.operations:
            held = self._pending.held(verdict.operation_id)
            if verdict.verdict == "held":
                self._pending.confirm(verdict.operation_id, verdict.attempt)
            elif held is None or not held.begun:
                continue
            elif verdict.verdict == "finished":
                finished.add(verdict.operation_id)
            elif (draft := _next_start(held, verdict)) is None:
                abandoned.add(verdict.operation_id)
            else:
                starts[verdict.operation_id] = draft
        self.ended_by_hub |= finished
        self._pending.abandon(abandoned)
        self._pending.drop_finished(finished)
        self._pending.restart(starts)

    def attach_refused(self, error: TidingsError) -> None:
        """See `Holder.attach_refused`."""
        if isinstance(error, CommandRefused) and error.refusal in _OLDER_HUB:
            logger.info("the hub has no leases: it will not notice if this process dies")
        else:
            self._report(error)

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        """See `Holder.cancel`."""
        held = self._pending.held(push.operation_id)
        on_cancel = self._pending.unclaimed_cancel() if held is None else held.on_cancel
        if held is not None and held.released:
            return None
        if on_cancel is None:
            runs = "cannot be asked to end it" if held is not None else "no longer runs it"
            return _refuse(f"the program that reports this operation {runs}")
        try:
            return on_cancel(push)
        except Exception as error:
            logger.exception("an on_cancel callback failed")
            return _refuse(f"the program failed to end it: {error}"[:_MAX_REASON])


def _next_start(held: ClaimedOperation, verdict: Verdict) -> Draft | None:
    """Return the start of the next attempt of an operation that the hub has given up; None to drop its events."""
    try:
        start = held.restart(verdict)
    except Exception:
        logger.exception("an on_lost callback failed")
        return None
    return None if start is None else stamp(make_restart_draft(held, start), time.time_ns())


def _refuse(reason: str) -> CancelAnswer:
    return CancelAnswer(verdict="refused", reason=reason)
