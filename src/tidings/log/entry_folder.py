"""Folds the entries of a journal into the log of one node: the controls of each entry, and then its events."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from tidings.exceptions import LogCorrupt, LogError
from tidings.log.base import Outcome, PublishResult, ReceivedControl, Scheduler, SessionEnded, StoredRows
from tidings.log.epochs import Epoch
from tidings.log.journal.controls import Begin, ClockJump, Control, Forget, Heartbeat, NewEpoch, NodeGone, Revoke, Seed
from tidings.log.journal.node import FoldedEntry, FoldState
from tidings.log.journal.replica_state import ReplicaState, epochs_after
from tidings.log.local_log import LocalLog
from tidings.log.revocations import Revocation
from tidings.log.shared_controls import SharedControls

STORE_RETRY_S = 0.5
"""Delay before an entry is stored again that the local log could not store, as on a full disk."""
_STEP_DELAY_S = 0.001
MAX_UNSTORED = 256
"""Number of entries without events after which the state is stored: they are folded again after a restart."""

logger = logging.getLogger(__name__)


class EntryFolder:
    """Applies entries to the log of one node, each in one transaction with the state that follows from it.

    The caller passes one entry at a time, and the next one after `finished` was called.

    Args:
        local: The log of this node alone.
        scheduler: The loop.
        settle: See `JournalNode.settle`.
        report: Called with each control for the hub, and with each session that an entry ended.
        revoked: Called with each revocation of this node, and its result.
        forgotten: Called with each `Forget` of this node, after all its steps.
        finished: Called when an entry is stored, with the outcomes of its events.
        damaged: Called when the local log cannot store an entry because its file is damaged; nothing is folded after
            that.
    """

    def __init__(
        self,
        local: LocalLog,
        scheduler: Scheduler,
        *,
        settle: Callable[[bytes], FoldState],
        report: Callable[[ReceivedControl], None],
        revoked: Callable[[Revoke, Revocation | LogError], None],
        forgotten: Callable[[Forget], None],
        finished: Callable[[FoldedEntry, Sequence[Outcome]], None],
        damaged: Callable[[LogCorrupt], None],
    ) -> None:
        self._local = local
        self._scheduler = scheduler
        self._settle = settle
        self._report = report
        self._revoked = revoked
        self._forgotten = forgotten
        self._finished = finished
        self._damaged = damaged
        self.shared = SharedControls(local.producers, local.operations)
        """Producers and requests to cancel, as the controls of hubs have changed them."""
        self.epochs: list[Epoch] = []
        """The epochs of the shared log."""
        self.busy = False
        """Whether an entry is being folded."""
        self.folded_bytes = 0
        """Size of the entries since the start."""
        self._rows: StoredRows = {}
        """Rows to store with the next state."""
        self._verdicts: list[str] = []
        """The verdicts on the claims in the entry."""
        self._unstored = 0
        self._closed = False

    def restore(self) -> FoldState:
        """Restore what was stored with the newest entry; return how far the journal was folded.

        Raises:
            LogCorrupt: It is damaged.
        """
        stored = self._local.stored_state
        state = ReplicaState.decode(stored)
        if stored:
            try:
                self.shared.restore(self._local.stored_rows)
            except msgspec.MsgspecError as cause:
                raise LogCorrupt(f"a row of the log's state is damaged: {cause}") from cause
        self.epochs = list(state.epochs)
        return state.fold

    def fold(self, folded: FoldedEntry, session: str) -> None:
        """Apply an entry.

        Args:
            folded: The entry.
            session: The session of this node.
        """
        self.busy = True
        self.folded_bytes += len(folded.entry.body)
        self._verdicts.clear()
        for ended in folded.ended:
            detached = self.shared.end_session(ended.name)
            self._report(ReceivedControl(SessionEnded(ended.name), ended.name == session, detached=detached))
        self._apply(folded, iter(folded.batch.controls))

    def close(self) -> None:
        """Stop in the entry that is being folded: it is folded again after the next start."""
        self._closed = True

    def _apply(self, folded: FoldedEntry, controls: Iterator[Control]) -> None:
        """Apply the controls, then store the events."""
        for control in controls:
            match control:
                case Revoke():
                    row = Revocation(
                        kind=control.kind,
                        name=control.name,
                        issued_before_ns=control.issued_before_ns,
                        kept_until_ns=control.kept_until_ns,
                    )
                    self._local.revoke(row, partial(self._go_on_revoked, folded, controls, control))
                    return
                case ClockJump():
                    self._local.record_jump(control.jump_ns)
                    self._do_upkeep(folded, controls, folded.now_ns)
                    return
                case Forget():
                    self._forget(folded, controls, control)
                    return
                case Begin() | Heartbeat() | NodeGone() | NewEpoch() | Seed():
                    pass
                case _:
                    result = self.shared.fold(control, folded.batch.session)
                    self._verdicts += [verdict.verdict for verdict in result.verdicts]
                    self._report(ReceivedControl(control, folded.own, *result, folded.batch.session))
        self._rows |= self.shared.take_changes()
        self._store(folded)

    def _go_on_revoked(
        self, folded: FoldedEntry, controls: Iterator[Control], control: Revoke, result: Revocation | LogError
    ) -> None:
        if folded.own:
            self._revoked(control, result)
        self._apply(folded, controls)

    def _forget(self, folded: FoldedEntry, controls: Iterator[Control], control: Forget) -> None:
        """Forget everything that is due, with turns of the loop in between."""
        if self._closed:
            return
        if self._local.operations.expire(control.now_ns, self._local.received_ns):
            self._scheduler.call_later(_STEP_DELAY_S, lambda: self._forget(folded, controls, control))
            return
        self._local.forget(control.now_ns, control.ids_until)
        if folded.own:
            self._forgotten(control)
        self._do_upkeep(folded, controls, control.now_ns)

    def _do_upkeep(self, folded: FoldedEntry, controls: Iterator[Control], now_ns: int) -> None:
        """Do all steps of retention and of saving: what is judged must be stored before the events that follow."""
        if self._closed:
            return
        delay_s: float | None = None
        try:
            if self._local.maintain(now_ns):
                delay_s = _STEP_DELAY_S
            elif self._local.failed is not None:  # it reports a full disk once only
                delay_s = STORE_RETRY_S
        except LogCorrupt as error:
            self._damaged(error)
            return
        except LogError as error:
            logger.warning("retention of the local log failed: %s", error)
            delay_s = STORE_RETRY_S
        if delay_s is None:
            self._apply(folded, controls)
        else:
            self._scheduler.call_later(delay_s, lambda: self._do_upkeep(folded, controls, now_ns))

    def _store(self, folded: FoldedEntry) -> None:
        self._unstored += 1
        new_epoch = any(isinstance(control, NewEpoch) for control in folded.batch.controls)
        if not folded.batch.events and not new_epoch and self._unstored < MAX_UNSTORED:
            self._settle(self._digest([]))
            self._finish(folded, [])
            return
        self._local.append(
            folded.batch.events,
            partial(self._stored, folded),
            state=partial(self._state_after, folded),
            rows=self._rows,
        )

    def _state_after(self, folded: FoldedEntry, outcomes: Sequence[Outcome]) -> bytes:
        head = self._local.head + sum(_is_new(outcome) for outcome in outcomes)
        epochs = epochs_after(self.epochs, folded.batch.controls, head)
        fold = self._settle(self._digest(outcomes))
        return ReplicaState(fold, tuple(epochs)).encode()

    def _stored(self, folded: FoldedEntry, outcomes: Sequence[Outcome] | LogError) -> None:
        if isinstance(outcomes, LogCorrupt):
            self._damaged(outcomes)
            return
        if isinstance(outcomes, LogError):
            if not self._closed:  # the entry is in the journal: it must be stored before any other one
                self._scheduler.call_later(STORE_RETRY_S, lambda: self._store(folded))
            return
        self._unstored = 0
        self._rows = {}
        self.shared.apply_events(folded.batch.events)
        self.epochs = epochs_after(self.epochs, folded.batch.controls, self._local.head)
        self._finish(folded, outcomes)

    def _finish(self, folded: FoldedEntry, outcomes: Sequence[Outcome]) -> None:
        self.busy = False
        self._finished(folded, outcomes)

    def _digest(self, outcomes: Sequence[Outcome]) -> bytes:
        """Return what all nodes must agree on about an entry."""
        return _digest(outcomes) + "".join(self._verdicts).encode()


def _is_new(outcome: Outcome) -> bool:
    return isinstance(outcome, PublishResult) and not outcome.duplicate


def _digest(outcomes: Sequence[Outcome]) -> bytes:
    """Return what all nodes must agree on about a batch."""
    return msgspec.msgpack.encode(
        [
            (outcome.offset, outcome.duplicate, outcome.trace_id, outcome.attempt, outcome.operation_id)
            if isinstance(outcome, PublishResult)
            else outcome.code
            for outcome in outcomes
        ]
    )
