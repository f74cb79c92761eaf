"""The port that every log implements, and the records it speaks in (CONTRACT §6; DESIGN, "One log").

The port is shaped for a log that is far away and shared: `Log.append` takes a batch and completes later, and the tail
brings everyone's events in one order. The embedded logs complete at once, within the call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct, field

from tidings.contract.event_types import BUILTIN
from tidings.exceptions import LogError
from tidings.log.newest import Newest
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import Event
from tidings.protocol.paths import NOTHING, PathSet
from tidings.protocol.positions import Position


class EventToAppend(Struct, frozen=True, gc=False):
    """An event on its way into the log, with what is stored beside it and never delivered."""

    event: Event
    received_ns: int
    """The hub's wall clock at receipt, nanoseconds since 1970."""
    scope: str = ""
    """Within which its event_id is unique: the authenticated subject, or the producer."""
    producer_id: str = ""
    """Who wrote it, where it is an event of an operation and its writer has said who they are."""
    lease_s: float = 0.0
    """The lease that its writer has on the operation; 0 is none."""


class Record(Struct, frozen=True, gc=False):
    """An event in the log."""

    offset: int
    event: Event
    received_ns: int
    """See `EventToAppend.received_ns`."""


class Known(Struct, frozen=True):
    """What the log remembers of an event id."""

    offset: int
    type: str
    data: bytes


class Query(Struct, frozen=True, kw_only=True):
    """What to read, forward from one offset."""

    after: int
    """Read events with a greater offset."""
    until: int
    """Read events up to this offset, itself included."""
    paths: PathSet
    """Read events on these paths,"""
    but: PathSet = NOTHING
    """and on none of these."""
    conflate: bool = True
    """Skip `latest` events that a newer one supersedes. False for history."""
    newest_only: bool = False
    """Read a snapshot: only the newest event of each (channel, type, key)."""
    types: frozenset[str] = frozenset()
    """Read only these types; empty means all."""
    trace_id: str | None = None
    """Read only events of this trace."""
    limit: int = 512
    """At most so many events,"""
    max_bytes: int = 131_072
    """and stop after the event whose data reaches this many bytes."""


class Page(Struct, frozen=True):
    """What a read brought."""

    records: Sequence[Record]
    """In log order."""
    scanned: int
    """All that the query asks for up to this offset is in `records`; read on after it. `Query.until` at the end."""


_NS = 1_000_000_000
_KEPT_OF_A_KEY = {str(event.type): event.keep_newest for event in BUILTIN if event.keep_newest is not None}


class Retention(Struct, frozen=True, kw_only=True):
    """How long a log keeps what. Whichever bound is reached first trims, oldest first."""

    events: int = 1_000_000
    """Durable events in the range."""
    bytes: int = 1 << 30
    """Of their `data`."""
    age_s: float = 7 * 86_400.0
    superseded_age_s: float = 60.0
    """For `latest` events that a newer one has superseded: long enough for a reader that fell behind to look back."""
    superseded_events: int = 100_000
    """A bound on them, so that a flood of progress fills no disk."""
    newest_per_type: int = 100_000
    """Keys of one type in the snapshot; beyond it the oldest leaves, counted."""
    newest_age_s: float = 7 * 86_400.0
    """After which a silent key leaves the snapshot."""
    finished_s: float = 900.0
    """After which a finished operation leaves the snapshot."""
    operations: int = 50_000
    """Ended operations that are known beyond the snapshot: about 30 MB."""
    operations_age_s: float = 7 * 86_400.0
    """How long they are; the newest run of each name stays."""
    keep_newest: Mapping[str, int] = field(default_factory=_KEPT_OF_A_KEY.copy)
    """By type: how many events of one key are kept. The catalogue's own, where nothing else is said."""

    def new_newest(self) -> Newest:
        """Return an empty table of newest events with these bounds."""
        return Newest(
            per_type=self.newest_per_type,
            age_ns=int(self.newest_age_s * _NS),
            ended_ns=int(self.finished_s * _NS),
        )

    def new_operations(self) -> OperationTable:
        """Return an empty table of operations with these bounds."""
        return OperationTable(ended_age_ns=int(self.operations_age_s * _NS), most_ended=self.operations)


class LogStatistics(Struct, frozen=True, kw_only=True):
    """A log's figures."""

    epoch: str
    head: int
    """Offset of the newest event; 0 in an empty log."""
    first: int
    """Offset after the last one trimmed from the range."""
    durable_events: int
    durable_bytes: int
    superseded_events: int
    """`latest` events in the range, superseded or not."""
    newest: int
    """Keys in the snapshot."""
    newest_evicted: int
    """Keys that left the snapshot because there were too many."""
    trimmed_events: int
    """Durable events trimmed since the log was opened."""
    disk_bytes: int
    """Files of the log; 0 where there are none."""


AppendDone = Callable[[int | LogError], None]
"""Called once a batch: with the first event's offset (the others follow it without a hole), or with what failed."""
ReadDone = Callable[[Page | LogError], None]
Tail = Callable[[Sequence[Record]], None]
"""Called with every committed batch, in log order, everyone's events."""


class Scheduler(Protocol):
    """The part of an event loop that a log and a hub need."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Run `callback` in the next round of the loop."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        """Run `callback` after `delay` seconds."""
        ...


class Log(Protocol):
    """An ordered log of events.

    Guarantees, which `tidings.testing` checks of every adapter:

    - **Order.** Each event has an offset; offsets grow by at least one an event over all epochs, and none is given
      twice, not even across crashes: where the log cannot be sure, it begins a new epoch, so that no position repeats.
    - **Atomicity.** A batch is in the log whole or not at all. It is in the log before its `AppendDone` is called, and
      its `AppendDone` is called before the tail brings it.
    - **Durability.** What `AppendDone` reported survives a crash of the process (not of the machine, for SQLite).
    - **Delivery.** The tail brings every committed event once, in order, to one listener.
    - **Reading.** Matching events come in offset order. A durable event is missing only where it was trimmed, and then
      `trimmed` says so. A `latest` event is missing only where it was trimmed, or `Query.conflate` skipped it for a
      newer one of its (channel, type, key).
    - **Operations.** `operations` is the fold of all events there ever were, in log order, up to date when `AppendDone`
      is called: trimming takes nothing from it. Ended ones are forgotten as `Retention` says. A crash may take from it
      how far a live operation had come beyond its newest progress.
    - **Newest.** `newest` and reads agree: the newest event of a key is readable as long as `newest` names it, however
      far the range was trimmed.

    Callers are one thread, and one loop. They give the next batch only after the last one's `AppendDone`.
    Not claimed: that `append` or `read` complete within the call (a far log's do not).
    """

    @property
    def newest(self) -> Newest:
        """The newest event of each key: the fold that conflation and snapshots look at."""
        ...

    @property
    def operations(self) -> OperationTable:
        """The operations: their lives, and what is known of them."""
        ...

    @property
    def epoch(self) -> str:
        """The epoch in which events are appended now."""
        ...

    @property
    def head(self) -> int:
        """Offset of the newest committed event; 0 in an empty log."""
        ...

    def follow(self, tail: Tail) -> None:
        """Call `tail` with every batch that is committed from now on. Once, before the first append."""
        ...

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """Append `batch`, in its order, and call `done`.

        `done` is given LogFull, LogBusy, LogReadOnly or LogUnavailable where nothing of it was stored; the last, too,
        where an event id of the batch is in the log already, which the caller asks `known` before. It may give the next
        batch from within `done`: that comes after the tail has brought this one.
        """
        ...

    def known(self, scope: str, event_id: str) -> Known | None:
        """Return the event that was published with `event_id` in `scope`, if the log still remembers it.

        Raises:
            LogError: The log could not look.
        """
        ...

    def read(self, query: Query, done: ReadDone) -> None:
        """Read forward and call `done` with a page."""
        ...

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """Return the offset up to which durable events on `paths` after `after` may be gone; None where none is."""
        ...

    def position(self, offset: int) -> Position:
        """Return the position of `offset`, in the epoch that wrote it."""
        ...

    def resolve(self, position: Position) -> int | None:
        """Return the offset at which to resume from `position`; None where no resuming is possible.

        A position of an older epoch resumes exactly where it lies at or before the next epoch's start; beyond it, what
        it saw is not what the log holds. A position of this epoch may lie beyond the head: it is returned, and the
        caller waits for the tail.
        """
        ...

    def maintain(self, now_ns: int) -> bool:
        """Do one small step of retention; return whether more is waiting.

        Args:
            now_ns: The wall clock, nanoseconds since 1970.

        Raises:
            LogError: It could not be done; it is tried again with the next call.
        """
        ...

    def statistics(self) -> LogStatistics:
        """Return the log's figures."""
        ...

    def close(self) -> None:
        """Close the log; what was acknowledged is in it."""
        ...
