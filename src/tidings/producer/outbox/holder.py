"""What an outbox answers when the hub speaks of its operations: held, lost, finished, to be cancelled."""

import logging
import time
from collections.abc import Callable, Sequence

from tidings.client.drafts import stamp
from tidings.exceptions import CommandRefused, NotSupported, TidingsError, UnknownType
from tidings.producer.outbox.claims import restart_draft
from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.outbox.queue import QueuedEvent, Rank
from tidings.producer.spool.spool import Spool
from tidings.protocol.messages import Attached, CancelAnswer, CancelPush, Claim, Verdict
from tidings.protocol.payloads import OperationStartData

logger = logging.getLogger(__name__)

_OLDER_HUB = frozenset({NotSupported.code, UnknownType.code})
"""How a hub refuses to attach that knows no producers."""


class OutboxHolder:
    """One outbox as a `Holder` of operations. Everything is called on the outbox's own thread.

    Args:
        producer_id: See `Holder.producer_id`.
        lease_s: See `Holder.lease_s`.
        ledger: What waits, and what is held.
        spool: What must outlive the process; None where that is memory alone.
        trouble: Called with what keeps events from the log.
    """

    def __init__(
        self,
        producer_id: str,
        lease_s: float | None,
        *,
        ledger: PendingEvents,
        spool: Spool | None,
        trouble: Callable[[TidingsError], None],
    ) -> None:
        self.producer_id = producer_id
        self.lease_s = lease_s
        self.over: set[str] = set()
        """Operations that the hub says have ended: it refuses more of them, and there is nothing to tell about that."""
        self._ledger = ledger
        self._spool = spool
        self._trouble = trouble

    def unspool(self, entries: Sequence[QueuedEvent]) -> None:
        """Take events off the disk: the hub has them, or will not have them."""
        if self._spool is not None:
            for entry in entries:
                if entry.rank is Rank.LIFECYCLE:
                    self._spool.done(entry.draft.event_id)

    def claims(self) -> Sequence[Claim]:
        """See `Holder.claims`."""
        with self._ledger.lock:
            return self._ledger.holdings.claims()

    def attached(self, attached: Attached) -> None:
        """See `Holder.attached`."""
        for verdict in attached.operations:
            if verdict.verdict == "lost":
                self._lost(verdict)
            elif verdict.verdict == "finished":
                self._finished(verdict)
            else:
                with self._ledger.lock:
                    self._ledger.holdings.confirmed(verdict.operation_id, verdict.attempt)

    def attach_refused(self, error: TidingsError) -> None:
        """See `Holder.attach_refused`."""
        if isinstance(error, CommandRefused) and error.refusal in _OLDER_HUB:
            logger.info("the hub knows no producers: it will not notice if this one dies")
        else:
            self._trouble(error)

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        """See `Holder.cancel`."""
        with self._ledger.lock:
            held = self._ledger.holdings.get(push.operation_id)
            on_cancel = self._ledger.holdings.on_stray_cancel if held is None else held.on_cancel
        if held is not None and held.released:
            return None
        if on_cancel is None:
            runs = "cannot be asked to end it" if held is not None else "does not run it any more"
            return _refused(f"the program that reports this operation {runs}")
        try:
            return on_cancel(push)
        except Exception as error:
            logger.exception("an on_cancel callback failed")
            return _refused(f"the program failed to end it: {error}"[:1000])

    def _lost(self, verdict: Verdict) -> None:
        with self._ledger.lock:
            held = self._ledger.holdings.get(verdict.operation_id)
        if held is None or not held.begun:
            return
        start: OperationStartData | None = None
        try:
            start = held.restart(verdict)
        except Exception:
            logger.exception("an on_lost callback failed")
        if start is None:
            self._forget(verdict.operation_id, self._ledger.drop(verdict.operation_id))
            return
        draft = stamp(restart_draft(held, start), time.time_ns())
        if self._spool is not None:
            self._spool.keep(draft)
        self._ledger.restart(draft, verdict.operation_id)

    def _finished(self, verdict: Verdict) -> None:
        with self._ledger.lock:
            held = self._ledger.holdings.get(verdict.operation_id)
        if held is None or not held.begun:
            return
        self.over.add(verdict.operation_id)
        dropped = self._ledger.drop_finished(verdict.operation_id)
        if held.starts:
            self.unspool(dropped)  # its next attempt waits
        else:
            self._forget(verdict.operation_id, dropped)

    def _forget(self, operation_id: str, dropped: Sequence[QueuedEvent]) -> None:
        self.unspool(dropped)
        with self._ledger.lock:
            self._ledger.holdings.forget(operation_id)


def _refused(reason: str) -> CancelAnswer:
    return CancelAnswer(verdict="refused", reason=reason)
