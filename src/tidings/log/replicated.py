"""A log of many nodes: each folds the same journal into a log of its own (ARCHITECTURE.md, "The journal").

Only appending is far. Events are proposed to the journal, and judged, stored and answered when their entry comes back;
reading is local. All nodes that have folded the same entries have the same events at the same offsets.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from tidings.exceptions import EventIDReused, LogCorrupt, LogError, LogFull, LogUnavailable
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    LogStatistics,
    OnControl,
    Outcome,
    Page,
    Query,
    ReadDone,
    ReceivedControl,
    RevokeDone,
    Scheduler,
    Tail,
)
from tidings.log.catch_ups import CatchUps
from tidings.log.entry_folder import MAX_UNSTORED, EntryFolder
from tidings.log.epochs import Epoch, Epochs
from tidings.log.journal.base import Journal, LossReason
from tidings.log.journal.controls import ClockJump, Forget, HubControl, KeyShared, NewEpoch, Revoke
from tidings.log.journal.entries import KEY_RULES, count_fitting, max_entry_bytes
from tidings.log.journal.node import FoldedEntry, JournalNode
from tidings.log.journal.sessions import NodeStatus
from tidings.log.local_log import LocalLog, LocalReader
from tidings.log.revocations import Revocation
from tidings.log.waiting_controls import WaitingControls
from tidings.protocol.positions import Position, parse_position

PATIENCE_S = 10.0
"""Time after which the publishers of a batch learn that the journal is not available. The batch may still be stored."""
MAX_SILENCE_S = 5.0
"""Time after which a node has failed that cannot store or receive what it proposes: a heartbeat each second."""


class _Append(Struct):
    """A batch of the hub that was not answered yet."""

    batch: Sequence[EventToAppend]
    done: AppendDone
    proposed: bool = False


class ReplicatedLog(LocalReader):
    """A `tidings.log.base.Log` that other nodes append to as well.

    Args:
        journal: The journal that all nodes share.
        local: The log of this node alone, which nothing else appends to. Its own epochs are not used.
        scheduler: The loop.
        node: The name of this node; see `tidings.log.journal.controls.Begin.node`.
        version: Its version of tidings.
        new_name: Creates names of sessions and epochs: random, 8 lower-case hex digits.
        epoch: An epoch that begins before the log is open, if it never did: all processes that a parent starts have the
            same. "" where any epoch will do.
        compares_past: See `JournalNode`.

    Raises:
        LogCorrupt: The state in the local log is damaged.
    """

    def __init__(
        self,
        journal: Journal,
        local: LocalLog,
        scheduler: Scheduler,
        *,
        node: str,
        version: str,
        new_name: Callable[[], str],
        epoch: str = "",
        compares_past: bool = True,
    ) -> None:
        self.node = node
        """The name of this node."""
        self._journal = journal
        super().__init__(local)
        self._scheduler = scheduler
        self._new_name = new_name
        self._epoch = epoch
        self._has_epoch = False
        """Whether the epoch that the caller named has begun; any epoch counts if it named none."""
        self._positions = Epochs([Epoch("", 0)])
        self._append: _Append | None = None
        self._proposed: _Append | None = None
        """The batch in the entry that is under way, answered or not."""
        self._controls = WaitingControls(self._is_attached)
        """Controls for the next entries."""
        self._max_bytes = max_entry_bytes(journal.max_bytes)
        self._on_control: OnControl | None = None
        self._catch_ups = CatchUps(scheduler)
        self._revoking: list[tuple[Revoke, RevokeDone]] = []
        self._forgetting = False
        """Whether a `Forget` of this node is not folded yet."""
        self._has_forgotten = False
        """Whether a `Forget` of this node was folded since `maintain` was called last."""
        self._ids_until = 0
        """Offset up to which this node proposed to forget event ids."""
        self._failure: LogError | None = None
        self._failure_reason: LossReason | None = None
        self._closed = False
        self.when_closed: list[Callable[[], object]] = []
        """Called when the log is closed."""
        self._node = JournalNode(
            journal,
            scheduler,
            name=node,
            version=version,
            new_session=new_name,
            fold=self._fold,
            lost=self._lost,
            compares_past=compares_past,
        )
        self._folder = EntryFolder(
            local,
            scheduler,
            settle=self._node.settle,
            report=self._report,
            revoked=self._revoked,
            forgotten=self._forgotten,
            finished=self._finish,
            damaged=self._note_damage,
        )

    # Opening.

    def start(self, last: int) -> None:
        """Fold the journal, and take part in it from the entry `last` on.

        Raises:
            LogCorrupt: The state in the local log is damaged.
        """
        state = self._folder.restore()
        self._set_epochs()
        self._node.follow(state)
        self._node.join(last)

    @property
    def is_open(self) -> bool:
        """Whether the node has folded what there was, and takes part."""
        return self._node.joined and self._has_epoch

    @property
    def seq(self) -> int:
        """The entry of the journal up to which the node has folded."""
        return self._node.seq

    @property
    def now_ns(self) -> int:
        """The clock of the journal: the time of the newest entry that this node has folded."""
        return self._node.sessions.now_ns

    @property
    def folded_bytes(self) -> int:
        """Size of the entries that this node has folded since its start."""
        return self._folder.folded_bytes

    @property
    def nodes(self) -> int:
        """Number of nodes that take part, this one included."""
        return len(self._node.sessions)

    def list_nodes(self) -> list[NodeStatus]:
        """Return all nodes that take part, the oldest first."""
        return self._node.list_nodes()

    @property
    def trimmable(self) -> int:
        """The entry up to which no node needs the journal any more, if this node leads; else 0."""
        return max(0, self._node.folded_by_all - 2 * MAX_UNSTORED) if self._node.leads else 0

    @property
    def failed(self) -> LogError | None:
        """See `Log.failed`."""
        failure = self._failure or self._local.failed or self._journal.failure
        if failure is None and self._is_silent:
            return LogUnavailable(f"the journal has brought no entry of this process for {MAX_SILENCE_S:.0f} s")
        return failure

    @property
    def _is_silent(self) -> bool:
        return self._node.silent_s >= MAX_SILENCE_S

    @property
    def stopped(self) -> LogError | None:
        """The error for which this node folds no more until its process starts again; None while it folds."""
        return self._failure

    @property
    def must_rebuild(self) -> bool:
        """Whether this node has stopped because its log is damaged, or differs from those of the others."""
        return self._failure_reason in (LossReason.DIFFERS, LossReason.DAMAGED)

    def _lost(self, reason: LossReason, error: LogError) -> None:
        self._failure, self._failure_reason = error, reason
        self._fail_append(error)

    def _note_damage(self, error: LogCorrupt) -> None:
        if self._failure is None and not self._closed:
            self._node.stop()
            self._lost(LossReason.DAMAGED, error)

    def _set_epochs(self) -> None:
        epochs = self._folder.epochs
        # Once is enough: the epoch of a node that starts next replaces one in which nothing was stored.
        self._has_epoch = self._has_epoch or any(self._epoch in ("", epoch.name) for epoch in epochs)
        if epochs:
            self._positions = Epochs(epochs)

    # Appending.

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """See `Log.follow`."""
        self._local.follow(tail)
        self._on_control = on_control
        for request in self._folder.shared.requests:
            self._report(ReceivedControl(structs.replace(request, is_due=True), False))

    def _report(self, received: ReceivedControl) -> None:
        if self._on_control is not None:
            self._on_control(received)

    def count_fitting(self, batch: Sequence[EventToAppend]) -> int:
        """See `Log.count_fitting`."""
        return count_fitting(batch, self._max_bytes)

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        if self._append is not None:
            raise RuntimeError("append was called before the last batch was done")
        failure = LogUnavailable("the log is closed") if self._closed else self._failure
        if failure is None and self._node.busy and (isinstance(self._journal.failure, LogFull) or self._is_silent):
            failure = self.failed  # not even the entry that is under way is stored
        if failure is not None:
            done(failure)
            return
        self._append = append = _Append(batch, done)
        self._scheduler.call_later(PATIENCE_S, lambda: self._give_up(append))
        self._propose()

    def _give_up(self, append: _Append) -> None:
        if append is not self._append:
            return
        failure = self._local.failed or self._journal.failure  # such as a full disk of this node alone
        cause = "" if failure is None else f": {failure}"
        kind = LogFull if isinstance(failure, LogFull) else LogUnavailable
        if append.proposed:
            error: LogError = kind(
                f"the journal did not bring the batch within {PATIENCE_S:.0f} s; it may be stored later{cause}",
                hint="Publish it again with the same event_id.",
            )
        else:
            error = kind(f"the journal brings nothing{cause}")
        self._fail_append(error)

    def _fail_append(self, error: LogError) -> None:
        append, self._append = self._append, None
        if append is not None:
            append.done(error)

    def _propose(self) -> None:
        """Propose what waits, if no entry is under way."""
        if self._node.busy or not self._node.joined or self._closed or self._folder.busy:
            return
        if not self._has_epoch:
            current = self._folder.epochs[-1].name if self._folder.epochs else ""
            self._controls.add(NewEpoch(name=self._epoch or self._new_name(), instead_of=current))
        append = self._append if self._append is not None and not self._append.proposed else None
        if append is None and not self._controls and not self._catch_ups:
            return
        self._catch_ups.propose()
        controls = self._controls.take(self._max_bytes)
        self._proposed = append
        if append is not None:
            append.proposed = True
        self._node.propose(() if append is None else append.batch, controls)

    # Folding.

    def _fold(self, folded: FoldedEntry) -> None:
        self._folder.fold(folded, self._node.session)

    def _revoked(self, control: Revoke, result: Revocation | LogError) -> None:
        for waiting in self._revoking:
            if waiting[0] == control:
                self._revoking.remove(waiting)
                waiting[1](result)
                break

    def _forgotten(self, control: Forget) -> None:
        if not control.ids_until:
            self._forgetting = False
            self._has_forgotten = True

    def _finish(self, folded: FoldedEntry, outcomes: Sequence[Outcome]) -> None:
        if any(isinstance(control, NewEpoch) for control in folded.batch.controls):
            self._set_epochs()
        append = self._proposed if folded.own else None
        if folded.own:
            self._proposed = None
        try:
            if append is not None and append is self._append:
                self._append = None
                append.done([self._with_position(outcome) for outcome in outcomes])
            if folded.own:
                self._catch_ups.finish()
        finally:
            self._node.resume()
            self._propose()

    def _with_position(self, outcome: Outcome) -> Outcome:
        """Return an outcome with a position of this log, where it names one of the local log."""
        if not isinstance(outcome, EventIDReused) or not outcome.position:
            return outcome
        position = str(self.position(parse_position(outcome.position).offset))
        return EventIDReused(str(outcome).replace(outcome.position, position), position=position)

    # Reading.

    @property
    def session(self) -> str:
        """See `Log.session`."""
        return self._node.session

    @property
    def leads(self) -> bool:
        """See `Log.leads`."""
        return self._node.leads

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._positions.current.name

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._positions.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._positions.resolve(position)

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        return structs.replace(self._local.statistics(), epoch=self.epoch)

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""

        def note(result: Page | LogError) -> None:
            if isinstance(result, LogCorrupt):
                self._note_damage(result)
            done(result)

        self._local.read(query, note)

    # Controls.

    def record(self, control: HubControl) -> None:
        """See `Log.record`."""
        if not self._closed:
            self._controls.add(control)
            self._propose()

    @property
    def shares_keys(self) -> bool:
        """Whether all nodes know the controls about API keys."""
        return self._node.joined and self._node.rules >= KEY_RULES

    @property
    def shared_keys(self) -> Mapping[str, KeyShared]:
        """The API keys of all nodes, by their ids."""
        return self._folder.shared.keys.rows

    def has_room_for(self, key: KeyShared) -> bool:
        """Return whether the log takes another API key, or another line of one that it has."""
        return self._folder.shared.keys.has_room(key)

    def _is_attached(self, producer_id: str, connection: int) -> bool:
        known = self.producers.find(producer_id)
        return known is not None and (known.session, known.connection) == (self.session, connection)

    def stop_leading(self) -> None:
        """See `Log.stop_leading`."""
        self._node.stop_leading()

    def catch_up(self, done: Callable[[], None]) -> None:
        """See `Log.catch_up`."""
        self._catch_ups.add(done)
        self._propose()

    def revoke(self, revocation: Revocation, done: RevokeDone) -> None:
        """See `Log.revoke`."""
        if self._closed:
            done(LogUnavailable("the log is closed"))
            return
        self._local.revoke(revocation, lambda result: None)  # in force here before the journal brings it
        control = Revoke(
            kind=revocation.kind,
            name=revocation.name,
            issued_before_ns=revocation.issued_before_ns,
            kept_until_ns=revocation.kept_until_ns,
        )
        self._revoking.append((control, done))
        self._controls.add(control)
        self._propose()

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """See `Log.start_clock`. All time counts: ages are alike on all nodes, and these began at different times."""

    def record_jump(self, jump_ns: int) -> None:
        """See `Log.record_jump`. The lead proposes it: every hub notices that the machine's clock was set."""
        if self._node.leads:
            self._controls.add(ClockJump(jump_ns=jump_ns))
            self._propose()

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """See `Log.forget`. The lead proposes it; ended operations are forgotten with each `Forget`."""
        if not self._closed and self._node.leads and ids_until > self._ids_until:
            self._ids_until = ids_until
            self._controls.add(Forget(now_ns=now_ns, ids_until=ids_until))
            self._propose()
        return False

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`. The lead proposes a `Forget`, and all nodes do its steps when it comes back."""
        has_forgotten, self._has_forgotten = self._has_forgotten, False
        if self._closed or not self._node.leads or has_forgotten:
            return False
        if not self._forgetting:
            self._forgetting = True
            self._controls.add(Forget(now_ns=now_ns))
            self._propose()
        return True

    def close(self) -> None:
        """See `Log.close`."""
        if self._closed:
            return
        self._closed = True
        self._folder.close()
        for call in self.when_closed:
            call()
        self._node.stop()
        self._journal.close()
        self._fail_append(LogUnavailable("the log was closed; the batch may be stored"))
        self._local.close()
