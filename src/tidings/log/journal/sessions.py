"""Sessions: which entries of a journal count, which nodes are alive, and which of them leads.

Pure and deterministic: all of it follows from the entries in their order, and no clock is read but theirs. So all nodes
that have folded the same entries agree, without asking each other.

A node proposes its entries in sessions. It numbers those of a session from 1, and the fold takes number n + 1 after n
and nothing else: copies, late entries and entries of ended sessions change nothing. So a node may append an entry
again and again until it receives it.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct, structs

from tidings.log.journal.base import JournalEntry
from tidings.log.journal.controls import Begin, Heartbeat, NodeGone
from tidings.log.journal.entries import NodeBatch

HEARTBEAT_INTERVAL_S = 1.0
"""Time between two signs of life of a node: an entry with a `Heartbeat`, if there is no other one."""
LIVE_S = 3.0
"""Time without a sign of life after which a node no longer leads, by the clock of the entries."""
GONE_S = 5.0
"""Time without a sign of life after which the leading node proposes `NodeGone`, by the clock of the entries."""
MAX_BEGIN_DELAY = 100_000
"""Number of entries after which a `Begin` is too late: `Begin.after` states where the node had been. An ended session
is remembered that long, so that a late copy of its first entry cannot begin it again."""
_NS = 1_000_000_000


class NodeSession(Struct, frozen=True, array_like=True):
    """One session of a node, as far as the journal was folded."""

    name: str
    """Unique: random, and never used again."""
    node: str
    """See `Begin.node`."""
    began_seq: int
    """The entry that began it."""
    after: int
    """See `Begin.after`."""
    rules: int
    """See `Begin.rules`."""
    version: str
    """See `Begin.version`."""
    number: int
    """Number of its newest entry."""
    seen_ns: int
    """Time of its newest entry, by `Sessions.now_ns`."""
    drains: bool = False
    """See `Heartbeat.drains`."""


class NodeStatus(Struct, frozen=True, kw_only=True):
    """A node that takes part, as the entries of the journal show it."""

    name: str
    """See `Begin.node`."""
    version: str
    """Its version of tidings."""
    is_own: bool
    """Whether it is the node that answers."""
    leads: bool
    drains: bool
    silent_s: float
    """Time since its last sign of life, by the clock of the entries; one comes each second."""
    behind_entries: int
    """Number of entries that it had not folded when it sent its newest heartbeat."""


class _SavedSessions(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    now_ns: int
    live: list[NodeSession]
    ended: list[tuple[str, int]]


class Sessions:
    """The sessions of all nodes: a fold of the journal.

    For each entry call `take`, and if it returned True, `apply`.

    Args:
        live: Sessions that did not end, oldest first.
        ended: The names of ended sessions, with `Begin.after`, in the order in which they ended.
    """

    def __init__(self, live: Iterable[NodeSession] = (), ended: Iterable[tuple[str, int]] = ()) -> None:
        self.now_ns = 0
        """The newest time of any entry, nanoseconds since 1970: the clock of the fold, which never goes back."""
        self._live = {session.name: session for session in live}
        """Sessions that did not end, by name, in the order in which they began."""
        self._ended = dict(ended)
        """`Begin.after` of ended sessions, by name, in the order in which they ended."""

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, name: object) -> bool:
        return name in self._live

    @property
    def live(self) -> Sequence[NodeSession]:
        """The sessions that did not end, oldest first."""
        return list(self._live.values())

    def find(self, name: str) -> NodeSession | None:
        """Return a session that did not end, or None."""
        return self._live.get(name)

    def take(self, entry: JournalEntry, batch: NodeBatch) -> bool:
        """Return whether an entry counts, and note it as a sign of life; False for copies and late entries.

        Args:
            entry: The next entry of the journal.
            batch: Its decoded body.
        """
        self.now_ns = max(self.now_ns, entry.at_ns)
        session = self._live.get(batch.session)
        if session is None:
            session = self._begin(entry, batch)
        if session is None or batch.number != session.number + 1:
            return False
        self._live[session.name] = structs.replace(session, number=batch.number, seen_ns=self.now_ns)
        return True

    def _begin(self, entry: JournalEntry, batch: NodeBatch) -> NodeSession | None:
        """Return a new session; None if the entry does not begin one."""
        begin = batch.controls[0] if batch.controls else None
        if batch.number != 1 or not isinstance(begin, Begin) or batch.session in self._ended:
            return None
        if not 0 < entry.seq - begin.after <= MAX_BEGIN_DELAY:
            return None
        return NodeSession(
            batch.session, begin.node, entry.seq, begin.after, begin.rules, begin.version, 0, self.now_ns
        )

    def apply(self, entry: JournalEntry, batch: NodeBatch) -> list[NodeSession]:
        """Apply the controls of an entry that was taken; return the sessions that they ended.

        Args:
            entry: The entry.
            batch: Its decoded body.
        """
        own = self._live[batch.session]
        ended = []
        if batch.number == 1:
            ended += [other for other in self._live.values() if other.node == own.node and other is not own]
        for control in batch.controls:
            if isinstance(control, Heartbeat) and control.drains:
                self._live[own.name] = structs.replace(own, drains=True)
            elif isinstance(control, NodeGone):
                named = self._live.get(control.session)
                if named is not None and named.number == control.number and named not in ended:
                    ended.append(named)
        for session in ended:
            self._end(session, entry.seq)
        return ended

    def _end(self, session: NodeSession, seq: int) -> None:
        del self._live[session.name]
        self._ended[session.name] = session.after
        for name, after in list(self._ended.items()):
            if seq - after > MAX_BEGIN_DELAY:  # a copy of its first entry is too late from now on
                del self._ended[name]

    # Signs of life.

    @property
    def lead(self) -> NodeSession | None:
        """The session that proposes what only one node should propose: the oldest one that is alive and does not drain.

        Two nodes that have folded differently far may both see themselves as the lead. Its proposals must be harmless
        when they come twice.
        """
        for session in self._live.values():
            if not (session.drains or self.is_silent(session, LIVE_S)):
                return session
        return None

    def is_silent(self, session: NodeSession, seconds: float) -> bool:
        """Return whether a session had no entry for more than `seconds`, by the clock of the entries."""
        return self.now_ns - session.seen_ns > seconds * _NS

    def gone(self) -> list[NodeGone]:
        """Return the controls that the lead proposes now: one for each session that is silent for too long."""
        return [
            NodeGone(session=session.name, number=session.number)
            for session in self._live.values()
            if self.is_silent(session, GONE_S)
        ]

    def rules(self) -> int:
        """Return the newest rules by which all nodes can fold; 0 without nodes."""
        return min((session.rules for session in self._live.values()), default=0)

    # Storing.

    def save(self) -> bytes:
        """Return the state, for a log that stores it with the events up to the same entry."""
        return msgspec.msgpack.encode(_SavedSessions(self.now_ns, list(self._live.values()), list(self._ended.items())))

    @classmethod
    def load(cls, state: bytes) -> "Sessions":
        """Return the sessions that `save` returned.

        Raises:
            msgspec.MsgspecError: It did not.
        """
        saved = msgspec.msgpack.decode(state, type=_SavedSessions)
        sessions = cls(saved.live, saved.ended)
        sessions.now_ns = saved.now_ns
        return sessions
