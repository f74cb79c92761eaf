"""The port that every log implements, and the values that cross it (ARCHITECTURE.md, "The log").

The port is shaped for a log that is remote and shared: `Log.append` takes a batch and completes later, and the tail
brings the events of all publishers in one order. The embedded logs complete within the call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from tidings.contract.event_types import BUILTIN
from tidings.exceptions import LogError, TidingsError
from tidings.log.journal.controls import HubControl
from tidings.log.newest import Newest
from tidings.log.producers import ProducerTable
from tidings.log.revocations import Revocation, RevocationTable
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import Event
from tidings.protocol.messages import Verdict
from tidings.protocol.paths import NO_PATHS, PathSet
from tidings.protocol.positions import Position


class OperationSearch(Struct, frozen=True, gc=False):
    """Plain ErrorData names no operation: it belongs to the live operation of its trace if there is exactly one."""

    writable: tuple[tuple[str, PathSet], ...] | None = None
    """By channel, the paths on which the publisher may publish the event; None means that it may publish to all."""
    required: bool = False
    """Whether the publisher may publish the event only with an operation."""


class EventToAppend(Struct, frozen=True, gc=False):
    """An event on its way into the log, with the facts that are stored beside it and never delivered."""

    event: Event
    received_ns: int
    """The hub's wall clock at receipt, nanoseconds since 1970."""
    scope: str = ""
    """Namespace of `event_id`: the authenticated subject, or the producer id."""
    producer_id: str = ""
    """The producer that published it, for an event of an operation whose publisher named itself; else empty."""
    lease_s: float = 0.0
    """The publisher's lease on the operation, in seconds; 0 means no lease."""
    by_hub: bool = False
    """Whether the hub itself publishes it: the holder of its operation and limits of subjects do not matter."""
    has_own_trace: bool = True
    """Whether its trace id is the publisher's. False: if its operation is live, the event gets the trace id of that."""
    search: OperationSearch | None = None
    """How to find the operation of an event that names none; None for all other events."""
    running_attempt: int = 0
    """The attempt in which its operation must be running; 0 if the event does not depend on it."""
    max_live: int = 0
    """Live operations in the log beyond which the event begins no other; 0 for no limit."""
    holder_sign: int | None = None
    """The sign of life of the operation's holder (`ProducerTable.sign`) after which none may have come; it needs
    `running_attempt`. None if the event does not depend on it."""


class Record(Struct, frozen=True, gc=False):
    """An event in the log."""

    offset: int
    event: Event
    received_ns: int
    """See `EventToAppend.received_ns`."""


class PublishResult(Struct, frozen=True, gc=False):
    """The result of an event that is in the log."""

    offset: int
    duplicate: bool
    """Whether the event was in the log before: its event id was known."""
    trace_id: str
    """The event's trace id, minted where the publisher gave none."""
    attempt: int | None = None
    """The attempt that an `operation:start` began; None for other events."""
    operation_id: str | None = None
    """The operation that was found for an event that names none; None for other events."""


Outcome = PublishResult | TidingsError
"""The result of one event: it is in the log, or was rejected and is not."""


class Query(Struct, frozen=True, kw_only=True):
    """A read of the log, forward from one offset."""

    after: int
    """Read events with a greater offset."""
    until: int
    """Read events up to and including this offset."""
    paths: PathSet
    """Paths to read."""
    excluded: PathSet = NO_PATHS
    """Paths to exclude."""
    conflate: bool = True
    """Skip `latest` events that a newer one supersedes. False for history."""
    newest_only: bool = False
    """Read a snapshot: only the newest event of each (channel, type, key)."""
    types: frozenset[str] = frozenset()
    """Read only these event types; empty means all."""
    trace_id: str | None = None
    """Read only events of this trace."""
    limit: int = 512
    """Maximum number of events in a page."""
    max_bytes: int = 131_072
    """Size of a page: it ends with the event whose data reaches this many bytes in total."""


class Page(Struct, frozen=True):
    """The result of one read."""

    records: Sequence[Record]
    """In log order."""
    scanned: int
    """The offset to read on after: `records` holds all matching events up to it. `Query.until` on the last page."""


_NS = 1_000_000_000
EVENT_OVERHEAD_BYTES = 256
"""Size of an event in a log besides its data: its other columns, and its entries in the indexes."""
ID_BYTES = 180
"""Size of a remembered event id in a log, with its entry in the index."""
_KEEP_NEWEST = {str(event.type): event.keep_newest for event in BUILTIN if event.keep_newest is not None}


class Retention(Struct, frozen=True, kw_only=True):
    """How much a log keeps. The limit that is reached first trims, oldest first."""

    events: int = 1_000_000
    """Maximum number of durable events in the range."""
    bytes: int = 1 << 30
    """Maximum size of their `data`, in bytes."""
    age_s: float = 7 * 86_400.0
    """Maximum age of durable events in the range, in seconds."""
    superseded_age_s: float = 60.0
    """Maximum age of `latest` events that a newer one superseded: enough for a reader that fell behind to look back."""
    superseded_events: int = 100_000
    """Maximum number of superseded `latest` events, so that a flood of progress cannot fill the disk."""
    superseded_bytes: int = 128 << 20
    """Maximum size of those events, in bytes, with `EVENT_OVERHEAD_BYTES` for each."""
    newest_per_type: int = 100_000
    """Maximum number of keys per event type in the snapshot. Beyond it the oldest key leaves and is counted."""
    newest_age_s: float = 7 * 86_400.0
    """Time after which a key without new events leaves the snapshot, in seconds."""
    newest_bytes: int = 512 << 20
    """Maximum size of the events that are older than the range and kept because they are the newest of their keys, in
    bytes, with `EVENT_OVERHEAD_BYTES` for each. Beyond it the keys that were silent for longest leave the snapshot."""
    finished_s: float = 900.0
    """Time after which a finished operation leaves the snapshot, in seconds."""
    operations: int = 50_000
    """Maximum number of ended operations that are remembered beyond the snapshot: about 30 MB."""
    operations_bytes: int = 64 << 20
    """Maximum size of those operations, in bytes. Beyond it those that ended first are forgotten."""
    operations_age_s: float = 7 * 86_400.0
    """Time for which ended operations are remembered, in seconds. The newest run of each name always stays."""
    ids: int = 1_000_000
    """Maximum number of event ids that are remembered. Beyond it, and below the range, the oldest are forgotten."""
    total_bytes: int | None = None
    """Maximum size of everything that the log stores, in bytes: the range has what the snapshot, superseded events and
    operations leave of it, at least three eighths. None means that each has its own limit only."""
    keep_newest: Mapping[str, int] = field(default_factory=_KEEP_NEWEST.copy)
    """Number of events to keep per key, by event type. Default: the limits of the built-in catalogue."""

    @classmethod
    def within(cls, total_bytes: int, **limits: Any) -> "Retention":
        """Return a retention in which all that the log stores takes at most `total_bytes` together.

        At least three eighths are for the range of durable events, at most a quarter for the snapshot, an eighth for
        superseded events, an eighth for ended operations, and an eighth for event ids.
        """
        return cls(
            bytes=total_bytes,
            total_bytes=total_bytes,
            newest_bytes=total_bytes // 4,
            superseded_bytes=total_bytes // 8,
            operations_bytes=min(cls().operations_bytes, total_bytes // 8),
            ids=min(cls().ids, total_bytes // 8 // ID_BYTES),
            **limits,
        )

    def new_newest(self) -> Newest:
        """Return an empty table of newest events with these limits."""
        return Newest(
            per_type=self.newest_per_type,
            age_ns=int(self.newest_age_s * _NS),
            ended_ns=int(self.finished_s * _NS),
        )

    def new_operations(self) -> OperationTable:
        """Return an empty table of operations with these limits."""
        return OperationTable(
            ended_age_ns=int(self.operations_age_s * _NS),
            max_ended=self.operations,
            max_ended_bytes=self.operations_bytes,
        )


class LogStatistics(Struct, frozen=True, kw_only=True):
    """The figures of a log, for metrics and tools."""

    epoch: str
    head: int
    """Offset of the newest event; 0 in an empty log."""
    first: int
    """Offset after the last one trimmed from the range."""
    durable_events: int
    durable_bytes: int
    superseded_events: int
    """`latest` events in the range, superseded or not."""
    superseded_bytes: int
    """Size of their data."""
    newest: int
    """Keys in the snapshot."""
    newest_bytes: int
    """Size of the events older than the range that are kept for the snapshot; see `Retention.newest_bytes`."""
    newest_evicted: int
    """Keys that left the snapshot because it held too many."""
    trimmed_events: int
    """Durable events trimmed since the log was opened."""
    disk_bytes: int
    """Size of the log's files in bytes; 0 for a log without files."""
    disk_free_bytes: int | None = None
    """Free space on the disk with its files; None where there are none, or it is not known."""
    limits: Retention
    """How much the log keeps."""
    set_aside: int
    """Rows that could not be read or written, and were set aside for a person."""


AppendDone = Callable[[Sequence[Outcome] | LogError], None]
"""Called once per batch: with the outcome of each event, in order, or with the error that kept all from the log."""
StateAfter = Callable[[Sequence[Outcome]], bytes]
"""Called with the outcomes of a batch, before it is stored: returns bytes to store together with it."""
StoredRows = dict[str, bytes | None]
"""Rows to store together with a batch, by their keys; None deletes a row."""
ReadDone = Callable[[Page | LogError], None]
"""Called once per read, with the page or with the error."""
RevokeDone = Callable[[Revocation | LogError], None]
"""Called once per revocation: with the row of the table, or with the reason why it is not stored yet."""
Tail = Callable[[Sequence[Record]], None]
"""Called with every committed batch of any publisher, in log order."""


class SessionEnded(Struct, frozen=True):
    """The end of a session: the hub that was known by it has stopped, or takes part under another one."""

    session: str


class ReceivedControl(Struct, frozen=True, gc=False):
    """A control as every hub of a log receives it."""

    control: HubControl | SessionEnded
    own: bool
    """Whether this hub recorded it; for the end of a session, whether it is one of this hub."""
    verdicts: Sequence[Verdict] = ()
    """The verdicts on the claims of a `ProducerAttached`."""
    detached: Sequence[str] = ()
    """The producers that have no connection from now on."""
    session: str = ""
    """The session of the hub that recorded it; see `Log.session`."""


OnControl = Callable[[ReceivedControl], None]
"""Called with every control of any hub, in log order among the batches of the tail."""


class Scheduler(Protocol):
    """The part of an event loop that a log and a hub need."""

    def call_soon(self, callback: Callable[[], object], /) -> object:
        """Run `callback` in the next round of the loop."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        """Run `callback` after `delay` seconds."""


class Log(Protocol):
    """An ordered log of events.

    Guarantees, which `tidings.testing.log_conformance` checks for every adapter:

    - **Order.** Each event has an offset. Offsets grow by at least one per event over all epochs, and no offset is
      assigned twice within an epoch. Every opening of a stored log begins an epoch: no position repeats, not even
      after a crash or in a copy.
    - **Judging.** The log judges each event when it appends it, in log order, after all earlier events, those of the
      same batch included (`tidings.log.judge`): whether its event id is known, and whether its operation allows it.
      It fills in what depends on the operation: trace id, operation id and attempt. The outcome depends on the events
      appended and on the calls of `forget`, in their order, and on nothing else, such as trimming.
    - **Atomicity.** The accepted events of a batch are stored together or not at all. They are in the log before its
      `AppendDone` is called, and its `AppendDone` is called before the tail brings them.
    - **Durability.** Events that `AppendDone` reported survive a crash of the process, but not always a crash of the
      machine: SQLite may then lose the last seconds. `MemoryLog` makes no such promise.
    - **Delivery.** The tail brings every committed event once and in order, to one listener, as it was stored.
    - **Controls.** Every control that a hub records is received by all hubs of the log once, in one order with the
      events,
      and changes `producers` and the holders of `operations` at that place in the order, alike for all of them.
    - **Reading.** Matching events come in offset order. A durable event is missing only if it was trimmed, and then
      `trimmed` reports it. A `latest` event is missing only if it was trimmed, or if `Query.conflate` skipped it for a
      newer one of its (channel, type, key).
    - **Operations.** `operations` is derived from all events ever appended, in log order, and up to date when
      `AppendDone` is called: trimming removes nothing from it. Ended operations are forgotten according to `Retention`,
      by number and size when another one ends, and by age in `forget`.
      A crash may set a live operation back to its newest progress event.
    - **Revocations.** A revocation is in `revocations` when `revoke` returns, even if it cannot be stored; then
      `maintain` tries again to store it. One that `RevokeDone` reported as stored survives like an event.
    - **Newest.** `newest` and reads agree: the newest event of a key is readable as long as `newest` lists it, however
      far the range was trimmed.
    - **Threading.** One thread with one event loop makes all calls, and all callbacks run on it. The caller passes the
      next batch only after the `AppendDone` of the last one.

    Not claimed: that `append` or `read` complete within the call (a remote log completes later), that
    offsets are consecutive from batch to batch, or that two hubs may share one embedded log.
    """

    @property
    def newest(self) -> Newest:
        """The newest event of each key, on which conflation and snapshots are based."""

    @property
    def operations(self) -> OperationTable:
        """The operations: their lives and their status."""

    @property
    def revocations(self) -> RevocationTable:
        """The credentials that no longer count."""

    @property
    def epoch(self) -> str:
        """The epoch in which events are appended now."""

    @property
    def head(self) -> int:
        """Offset of the newest committed event; 0 in an empty log."""

    @property
    def failed(self) -> LogError | None:
        """The error of a log that accepts no batch, or brings none; None while it works.

        It is found by the log's own upkeep, not only when a batch is refused. The hub is then not ready, even if no
        one publishes. It becomes None again when the cause is gone.
        """

    @property
    def producers(self) -> ProducerTable:
        """The producers, and which of them are connected to a hub of the log: derived from the controls."""

    @property
    def session(self) -> str:
        """The name of this hub among those of a shared log, which changes when it was taken for dead; else empty."""

    @property
    def leads(self) -> bool:
        """Whether this hub does what one hub of the log does for all. Two may for a moment; one alone always does."""

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """Call `tail` with every batch committed from now on, and `on_control` with every control.

        To be called once, before the first append. Requests to cancel that are still open are received again.
        """

    def record(self, control: HubControl) -> None:
        """Add `control` to the order of the log. A log of one hub calls `on_control` in the call, a shared one later.

        A control that was recorded while no append was under way comes before all later events of this hub. While
        thousands of controls wait, a shared log leaves out a `ProducerSeen`. It also leaves out a control that a later
        one made needless before an entry had it, such as the attachment of a connection that was lost again.
        """

    def stop_leading(self) -> None:
        """Let another hub of a shared log lead from now on, because this one drains; a log of one hub does nothing."""

    def catch_up(self, done: Callable[[], None]) -> None:
        """Call `done` once this hub has everything that any hub of the log had acknowledged before the call.

        A log of one hub does so in the call. A shared one does so after two seconds if it cannot catch up.
        """

    def count_fitting(self, batch: Sequence[EventToAppend]) -> int:
        """Return how many of the first events of `batch` one append takes: all, unless the log is shared."""

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """Judge `batch` in its order, append the events that are accepted, and call `done`.

        The outcome of an event is a `PublishResult`, or the error with which it was rejected: EventIDReused,
        OperationError, LimitExceeded, Forbidden, PayloadTooLarge or InternalError. `done` receives LogFull, LogBusy,
        LogReadOnly or LogUnavailable if nothing of the batch was judged or stored. It may append the next batch, which
        is then processed after the tail has brought this one.
        """

    @property
    def forgettable(self) -> int:
        """Offset up to which event ids may be forgotten by `Retention`: below the range, or beyond `Retention.ids`.

        It depends on what was trimmed here. One process decides with it up to where all copies of the log `forget`.
        """

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """Forget ended operations by their age, and the ids of events up to an offset; return whether to go on.

        This changes later outcomes: an event that is published again under a forgotten id is a new one. So all copies
        of a log call it with the same values between the same events. It is stored with the next steps of `maintain`.

        Args:
            now_ns: The time by which ages are measured, nanoseconds since 1970.
            ids_until: The offset; ids up to a lower one stay forgotten.
        """

    def read(self, query: Query, done: ReadDone) -> None:
        """Read forward and call `done` with a page."""

    def revoke(self, revocation: Revocation, done: RevokeDone) -> None:
        """Add `revocation` to `revocations`, store it, and call `done`.

        Raises:
            LimitExceeded: There are too many; see `RevocationTable.add`.
        """

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """Return the offset up to which durable events on `paths` after `after` may be missing, or None."""

    def position(self, offset: int) -> Position:
        """Return the position of `offset`, in the epoch that wrote it."""

    def resolve(self, position: Position) -> int | None:
        """Return the offset at which to resume from `position`, or None if resuming is impossible.

        A position of an older epoch resumes exactly if it lies at or before the start of the next epoch. Beyond that,
        its reader saw events that the log does not hold. A position of the current epoch may lie beyond the head: its
        offset is returned, and the caller waits for the tail.
        """

    def last_before(self, received_ns: int) -> int:
        """Return the offset of the last stored event that was received before a time; 0 if there is none.

        A binary search, which reads no more events than the head has bits. Where the clock jumped, the times of
        receipt are not in order, and the result is the end of one of the runs of earlier events.

        Args:
            received_ns: The time, by the hub's clock at the receipt of each event, nanoseconds since 1970.
        """

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """Continue all ages in a new run of the hub. To be called once, before the first append.

        Time between two runs counts only as far as the steady clock shows it: while the machine was not restarted.
        Without that, nothing distinguishes it from a wall clock that was set.

        Args:
            now_ns: The wall clock, nanoseconds since 1970.
            steady_ns: A clock that counts from the start of the machine, in nanoseconds.
        """

    def record_jump(self, jump_ns: int) -> None:
        """Record that the wall clock jumped: every event so far counts as received `jump_ns` later."""

    def received_ns(self, offset: int, received_ns: int) -> int:
        """Return when the event at `offset` was received by the present clock: after all jumps since then."""

    def shown_ns(self, offset: int, at_ns: int) -> int:
        """Return a time at the event at `offset` by the present clock, as it is shown to people."""

    def maintain(self, now_ns: int) -> bool:
        """Do one small step of trimming and saving, which changes no outcome; return whether more work is waiting.

        Args:
            now_ns: The wall clock, nanoseconds since 1970.

        Raises:
            LogError: The step failed; the next call tries it again.
        """

    def statistics(self) -> LogStatistics:
        """Return the log's figures."""

    def close(self) -> None:
        """Close the log; every acknowledged event is in it."""
