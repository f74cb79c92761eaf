"""One node of a journal: it folds the entries of all nodes in their order, and proposes its own.

The caller stores what an entry brings, and decides what to propose. Time comes from the scheduler and from the entries.
"""

import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from tidings.exceptions import LogCorrupt, LogError, LogUnavailable
from tidings.log.base import EventToAppend, Scheduler
from tidings.log.journal.base import Journal, JournalEntry, LossReason, Lost, Mark
from tidings.log.journal.controls import Begin, Control, Heartbeat
from tidings.log.journal.entries import RULES, NodeBatch, decode_batch, encode_batch, find_seed, is_of_rules
from tidings.log.journal.sessions import HEARTBEAT_INTERVAL_S, NodeSession, NodeStatus, Sessions

MIN_RESEND_S = 0.3
"""Time after which an entry that was not received is appended again; it doubles with each time."""
MAX_RESEND_S = 1.0
MAX_WAITING = 64
"""Number of entries that wait for the caller to store one, above which the node pauses the journal."""
_REMEMBERED_CRCS = 4_096
"""Number of entries for which a node compares its outcomes with those of others: heartbeats are about the last few."""

logger = logging.getLogger(__name__)


class FoldedEntry(Struct, frozen=True):
    """An entry that counts, for the caller to store."""

    entry: JournalEntry
    batch: NodeBatch
    own: bool
    """Whether this node proposed it."""
    ended: Sequence[NodeSession]
    """Sessions that it ended."""
    now_ns: int
    """The clock of the fold; see `Sessions.now_ns`."""


class FoldState(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a node has folded the journal, and all that follows from it besides the events."""

    mark: Mark = Mark(0)
    crc: int = 0
    """CRC-32 of all outcomes so far."""
    sessions: bytes = b""
    """See `Sessions.save`; empty at the beginning."""

    def encode(self) -> bytes:
        """Return the state as bytes."""
        return msgspec.msgpack.encode((self.mark.seq, self.mark.at_ns, self.mark.crc, self.crc, self.sessions))

    @classmethod
    def decode(cls, state: bytes) -> "FoldState":
        """Return the state that `encode` returned.

        Raises:
            LogCorrupt: It did not.
        """
        try:
            seq, at_ns, mark_crc, crc, sessions = msgspec.msgpack.decode(state, type=tuple[int, int, int, int, bytes])
        except msgspec.MsgspecError as cause:
            raise LogCorrupt(f"the state of the fold is damaged: {cause}") from cause
        return cls(Mark(seq, at_ns, mark_crc), crc, sessions)


class _Proposal(Struct):
    """The entry that is under way."""

    events: Sequence[EventToAppend]
    controls: Sequence[Control]
    body: bytes
    delay_s: float = MIN_RESEND_S


class JournalNode:
    """Follows a journal and proposes entries, one at a time, each until it is folded.

    Args:
        journal: The journal; the node is its only follower.
        scheduler: The loop.
        name: The name of this node; see `Begin.node`.
        version: Its version of tidings.
        new_session: Creates names of sessions: random, and never used again.
        fold: Called for each entry that counts, in order. The caller stores its events with the bytes that `settle`
            returns, in one step, and then calls `resume`; until then no other entry is folded.
        compares_past: Whether heartbeats from before this node joined count: their nodes may be gone for good, so not
            where no other log is left.
        lost: Called once when the node can fold no more.
    """

    def __init__(
        self,
        journal: Journal,
        scheduler: Scheduler,
        *,
        name: str,
        version: str,
        new_session: Callable[[], str],
        fold: Callable[[FoldedEntry], None],
        lost: Lost,
        compares_past: bool = True,
    ) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._name = name
        self._version = version
        self._new_session = new_session
        self._fold = fold
        self._lost = lost
        self._compares_past = compares_past
        self.sessions = Sessions()
        self.copies = 0
        """Number of entries that did not count."""
        self._mark = Mark(0)
        self._crc = 0
        """CRC of all outcomes, those of the entry that is being folded included once it is settled."""
        self._crcs = {0: 0}
        """CRC of the outcomes up to each of the last entries, by sequence."""
        self._agrees: dict[str, bool] = {}
        """Whether a session's newest heartbeat has the CRC that this node has."""
        self._folded: dict[str, int] = {}
        """`Heartbeat.seq` of a session's newest heartbeat."""
        self._behind: dict[str, int] = {}
        """`NodeStatus.behind_entries` of each session."""
        self._waiting: deque[JournalEntry] = deque()
        self._paused = False
        self._folding: FoldedEntry | None = None
        self._in_loop = False
        self._session = ""
        """The name of the own session; empty before `join` and after `leave`."""
        self._number = 0
        self._proposal: _Proposal | None = None
        self._join_at: int | None = None
        self._heartbeat_due = False
        self._drains = False
        self._silent_intervals = 0
        """Number of heartbeat intervals since the last own entry was folded and stored."""
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether a proposed entry is under way, so that the next one must wait."""
        return self._proposal is not None

    @property
    def joined(self) -> bool:
        """Whether other nodes see this one: its session has begun and did not end."""
        return self._session in self.sessions

    @property
    def rules(self) -> int:
        """The rules by which the next entry is written: the newest that all live nodes support."""
        return min(RULES, self.sessions.rules() or RULES)

    @property
    def leads(self) -> bool:
        """Whether this node is the one that proposes for all; see `Sessions.lead`."""
        lead = self.sessions.lead
        return lead is not None and lead.name == self._session and not self._drains

    @property
    def session(self) -> str:
        """The name of the own session; empty before the first one."""
        return self._session

    @property
    def seq(self) -> int:
        """The entry up to which the node has folded the journal."""
        return self._mark.seq

    @property
    def folded_by_all(self) -> int:
        """The entry up to which all live nodes have folded the journal, by their newest heartbeats."""
        live = self.sessions.live
        self._folded = {each.name: self._folded[each.name] for each in live if each.name in self._folded}
        return min((self._folded.get(each.name, each.after) for each in live), default=0)

    def list_nodes(self) -> list[NodeStatus]:
        """Return all nodes that take part, the oldest first."""
        lead = self.sessions.lead
        return [
            NodeStatus(
                name=each.node,
                version=each.version,
                is_own=each.name == self._session,
                leads=each == lead,
                drains=each.drains,
                silent_s=(self.sessions.now_ns - each.seen_ns) / 1e9,
                behind_entries=self._behind.get(each.name, self._mark.seq - each.after),
            )
            for each in self.sessions.live
        ]

    @property
    def silent_s(self) -> float:
        """Time since the last own entry was folded and stored: one is proposed in each heartbeat interval."""
        return self._silent_intervals * HEARTBEAT_INTERVAL_S

    # Folding.

    def follow(self, state: FoldState) -> None:
        """Fold all entries after a state.

        Raises:
            LogCorrupt: The state is damaged.
        """
        self._mark, self._crc = state.mark, state.crc
        self._crcs = {state.mark.seq: state.crc}
        if state.sessions:
            try:
                self.sessions = Sessions.load(state.sessions)
            except msgspec.MsgspecError as cause:
                raise LogCorrupt(f"the state of the fold is damaged: {cause}") from cause
        self._journal.follow(state.mark.seq, self._receive, self._stop)

    def _receive(self, entries: Sequence[JournalEntry]) -> None:
        self._waiting.extend(entries)
        self._fold_waiting()
        if len(self._waiting) > MAX_WAITING:
            self._paused = True
            self._journal.pause()

    def _fold_waiting(self) -> None:
        """Fold until the caller has an entry to store that takes longer than the call."""
        if self._in_loop:
            return
        self._in_loop = True
        try:
            while self._waiting and self._folding is None and not self._stopped:
                self._fold_next(self._waiting.popleft())
        except LogError as error:  # such as LogTooNew
            self._stop(LossReason.DIFFERS if isinstance(error, LogCorrupt) else LossReason.FAILED, error)
        except Exception as error:
            logger.exception("the entry at %d could not be folded", self._mark.seq)
            self._stop(LossReason.FAILED, LogError(f"the entry at {self._mark.seq} could not be folded: {error!r}"))
        finally:
            self._in_loop = False
        self._try_join()
        if self._paused and not self._waiting:
            self._paused = False
            self._journal.resume()

    def _fold_next(self, entry: JournalEntry) -> None:
        self._mark = Mark.of(entry)
        try:
            batch = decode_batch(entry.body)
        except LogCorrupt as error:  # all nodes read the same bytes, so all leave it out
            logger.error("the entry at %d is left out: %s", entry.seq, error)
            self._remember_crc()
            return
        seed = find_seed(batch) if entry.seq == 1 else None
        if seed is not None:
            raise LogUnavailable(
                f"the log begins with that of node {seed.node!r}, which is not saved as a snapshot yet",
                hint="Start that node, and wait until it is ready. If its folder is lost, `tidings data release`, with"
                " the name of the node, makes the journal new again.",
            )
        own = batch.session == self._session
        if not self.sessions.take(entry, batch):
            self.copies += 1
            self._remember_crc()
            if own and not self.joined:  # its first entry came too late
                self._begin_again()
            return
        ended = self.sessions.apply(entry, batch)
        self._compare(batch)
        if own:
            self._proposal = None
        self._folding = FoldedEntry(entry, batch, own, ended, self.sessions.now_ns)
        self._fold(self._folding)

    def settle(self, outcomes: bytes) -> FoldState:
        """Return the state after the entry that is being folded, to be stored with its events.

        Args:
            outcomes: The outcome of each of its events, in a form that is the same on all nodes.
        """
        before = self._crcs[next(reversed(self._crcs))]
        self._crc = zlib.crc32(outcomes, before)
        return FoldState(self._mark, self._crc, self.sessions.save())

    def resume(self) -> None:
        """Go on: what the last entry brought is stored."""
        folded = self._folding
        if folded is None:
            raise RuntimeError("resume was called without an entry")
        self._folding = None
        if folded.own:
            self._silent_intervals = 0
        self._remember_crc()
        if any(session.name == self._session for session in folded.ended):
            self._begin_again()
        self._fold_waiting()

    def _remember_crc(self) -> None:
        self._crcs[self._mark.seq] = self._crc
        if len(self._crcs) > _REMEMBERED_CRCS:
            del self._crcs[next(iter(self._crcs))]

    def _compare(self, batch: NodeBatch) -> None:
        """Compare the CRC in a heartbeat with the own one.

        Of two halves, the one with the oldest session goes on. That is the same half for all nodes, because it depends
        on the entries alone, and not on their times.

        Raises:
            LogCorrupt: Most nodes have another log than this one, or half of them, with the oldest session.
        """
        for control in batch.controls:
            if isinstance(control, Heartbeat):
                self._folded[batch.session] = control.seq
                self._behind[batch.session] = max(0, self._mark.seq - 1 - control.seq)
                if control.seq in self._crcs and (self._compares_past or self.joined):
                    self._agrees[batch.session] = self._crcs[control.seq] == control.crc
        live = self.sessions.live
        self._behind = {each.name: self._behind[each.name] for each in live if each.name in self._behind}
        self._agrees = {each.name: self._agrees[each.name] for each in live if each.name in self._agrees}
        different = [each for each in live if not self._agrees.get(each.name, True)]
        if 2 * len(different) > len(live) or (2 * len(different) == len(live) and live[0] in different):
            names = ", ".join(repr(each.node) for each in different)
            raise LogCorrupt(
                f"node {self._name!r} has another log than {names}, from the same entries of the journal",
                hint="Delete the files of this node: it builds its log again from the journal.",
            )

    def _stop(self, reason: LossReason, error: LogError) -> None:
        if not self._stopped:
            self.stop()
            self._lost(reason, error)

    def stop(self) -> None:
        """Fold and propose no more; other nodes notice it after a time."""
        self._stopped = True
        self._proposal = None
        self._waiting.clear()

    # Proposing.

    def join(self, seq: int) -> None:
        """Begin a session as soon as the node has folded all entries up to `seq`. To be called once."""
        self._join_at = seq
        self._try_join()

    def _try_join(self) -> None:
        if self._join_at is None or self._mark.seq < self._join_at or self._folding is not None or self._stopped:
            return
        self._join_at = None
        self._begin_again()
        self._scheduler.call_later(HEARTBEAT_INTERVAL_S, self._tick)

    def _begin_again(self) -> None:
        """Begin a new session, in which what was under way is proposed again: the old one never brings it."""
        self._session = self._new_session()
        self._number = 0
        proposal, self._proposal = self._proposal, None
        if proposal is None:
            self.propose((), ())
        else:
            self.propose(proposal.events, [each for each in proposal.controls if not isinstance(each, Begin)])

    def propose(self, events: Sequence[EventToAppend], controls: Sequence[Control]) -> None:
        """Propose an entry. The caller checks `busy` first, and the bounds of `tidings.log.journal.entries`.

        Controls of newer rules than those of all nodes are left out.
        """
        if self._proposal is not None:
            raise RuntimeError("an entry was proposed before the last one was folded")
        if not self._session:
            raise RuntimeError("an entry was proposed before the node joined")
        self._number += 1
        if self._number == 1:
            begin = Begin(node=self._name, after=self._mark.seq, rules=RULES, version=self._version)
            controls = [begin, *controls]
        if self._heartbeat_due:
            self._heartbeat_due = False
            controls = [*controls, *self._signs_of_life()]
        rules = self.rules
        controls = [control for control in controls if is_of_rules(control, rules)]
        batch = NodeBatch(rules=rules, session=self._session, number=self._number, events=events, controls=controls)
        self._proposal = _Proposal(events, controls, encode_batch(batch))
        self._append(self._proposal)

    def _append(self, proposal: _Proposal) -> None:
        if proposal is not self._proposal or self._stopped:
            return
        self._journal.append(proposal.body)
        delay_s, proposal.delay_s = proposal.delay_s, min(2 * proposal.delay_s, MAX_RESEND_S)
        self._scheduler.call_later(delay_s, lambda: self._append(proposal))

    def _tick(self) -> None:
        if self._stopped:
            return
        self._scheduler.call_later(HEARTBEAT_INTERVAL_S, self._tick)
        self._heartbeat_due = True
        self._silent_intervals += 1
        if self._proposal is None:
            self.propose((), ())

    def stop_leading(self) -> None:
        """Let another node lead from now on; the others learn it with the next heartbeat, which comes immediately."""
        self._drains = self._heartbeat_due = True
        if self.joined and self._proposal is None and not self._stopped:
            self.propose((), ())

    def _signs_of_life(self) -> list[Control]:
        seq, crc = next(reversed(self._crcs.items()))
        controls: list[Control] = [Heartbeat(seq=seq, crc=crc, drains=self._drains)]
        if self.leads:
            controls += self.sessions.gone()
        return controls
