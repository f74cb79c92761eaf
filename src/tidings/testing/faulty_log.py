"""A log that fails, or completes later, on request."""

from collections.abc import Callable, Sequence
from functools import partial

from tidings.exceptions import LogError
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    Log,
    LogStatistics,
    OnControl,
    Query,
    ReadDone,
    RevokeDone,
    Tail,
)
from tidings.log.journal.controls import HubControl
from tidings.log.newest import Newest
from tidings.log.producers import ProducerTable
from tidings.log.revocations import Revocation, RevocationTable
from tidings.operations.table import OperationTable
from tidings.protocol.paths import PathSet
from tidings.protocol.positions import Position


class FaultyLog:
    """A `tidings.log.base.Log` over another one, which can fail, and complete later like a remote log.

    Args:
        log: The log that stores the events.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._append_errors: list[LogError] = []
        self._read_errors: list[LogError] = []
        self._held_appends: list[Callable[[], None]] | None = None
        self._held_reads: list[Callable[[], None]] | None = None
        self._failed: LogError | None = None
        self.appends = 0
        """Number of batches so far."""
        self.reads = 0
        """Number of reads so far."""

    def fail_append(self, error: LogError) -> None:
        """Make the next batch fail with `error`."""
        self._append_errors.append(error)

    def fail_read(self, error: LogError) -> None:
        """Make the next read fail with `error`."""
        self._read_errors.append(error)

    def fail(self, error: LogError) -> None:
        """Report `error` as the cause of a failed log, until `clear_faults`; batches are stored all the same."""
        self._failed = error

    def clear_faults(self) -> None:
        """Cancel failures that have not happened yet, and the one that `fail` reports."""
        self._failed = None
        self._append_errors.clear()
        self._read_errors.clear()

    def hold_appends(self) -> None:
        """Complete no append until `release_appends`."""
        self._held_appends = self._held_appends or []

    def release_appends(self) -> None:
        """Complete the appends that were held, and from now on every one immediately."""
        held, self._held_appends = self._held_appends or [], None
        for complete in held:
            complete()

    def hold_reads(self) -> None:
        """Complete no read until `release_reads`."""
        self._held_reads = self._held_reads or []

    def release_reads(self) -> None:
        """Complete the held reads with the present contents of the log, and from now on every one immediately."""
        held, self._held_reads = self._held_reads or [], None
        for complete in held:
            complete()

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._log.newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._log.operations

    @property
    def revocations(self) -> RevocationTable:
        """See `Log.revocations`."""
        return self._log.revocations

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._log.epoch

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._log.head

    @property
    def failed(self) -> LogError | None:
        """See `Log.failed`."""
        return self._failed or self._log.failed

    @property
    def producers(self) -> ProducerTable:
        """See `Log.producers`."""
        return self._log.producers

    @property
    def session(self) -> str:
        """See `Log.session`."""
        return self._log.session

    @property
    def leads(self) -> bool:
        """See `Log.leads`."""
        return self._log.leads

    def follow(self, tail: Tail, on_control: OnControl | None = None) -> None:
        """See `Log.follow`."""
        self._log.follow(tail, on_control)

    def record(self, control: HubControl) -> None:
        """See `Log.record`."""
        self._log.record(control)

    def stop_leading(self) -> None:
        """See `Log.stop_leading`."""
        self._log.stop_leading()

    def catch_up(self, done: Callable[[], None]) -> None:
        """See `Log.catch_up`."""
        self._log.catch_up(done)

    def count_fitting(self, batch: Sequence[EventToAppend]) -> int:
        """See `Log.count_fitting`."""
        return self._log.count_fitting(batch)

    def append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        """See `Log.append`."""
        self.appends += 1
        complete = partial(self._append, batch, done)
        if self._held_appends is not None:
            self._held_appends.append(complete)
        else:
            complete()

    def _append(self, batch: Sequence[EventToAppend], done: AppendDone) -> None:
        if self._append_errors:
            done(self._append_errors.pop(0))
        else:
            self._log.append(batch, done)

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        self.reads += 1
        complete = partial(self._read, query, done)
        if self._held_reads is not None:
            self._held_reads.append(complete)
        else:
            complete()

    def _read(self, query: Query, done: ReadDone) -> None:
        if self._read_errors:
            done(self._read_errors.pop(0))
        else:
            self._log.read(query, done)

    def revoke(self, revocation: Revocation, done: RevokeDone) -> None:
        """See `Log.revoke`."""
        self._log.revoke(revocation, done)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._log.trimmed(after, paths)

    def position(self, offset: int) -> Position:
        """See `Log.position`."""
        return self._log.position(offset)

    def resolve(self, position: Position) -> int | None:
        """See `Log.resolve`."""
        return self._log.resolve(position)

    def last_before(self, received_ns: int) -> int:
        """See `Log.last_before`."""
        return self._log.last_before(received_ns)

    def start_clock(self, now_ns: int, steady_ns: int) -> None:
        """See `Log.start_clock`."""
        self._log.start_clock(now_ns, steady_ns)

    def record_jump(self, jump_ns: int) -> None:
        """See `Log.record_jump`."""
        self._log.record_jump(jump_ns)

    def received_ns(self, offset: int, received_ns: int) -> int:
        """See `Log.received_ns`."""
        return self._log.received_ns(offset, received_ns)

    def shown_ns(self, offset: int, at_ns: int) -> int:
        """See `Log.shown_ns`."""
        return self._log.shown_ns(offset, at_ns)

    @property
    def forgettable(self) -> int:
        """See `Log.forgettable`."""
        return self._log.forgettable

    def forget(self, now_ns: int, ids_until: int) -> bool:
        """See `Log.forget`."""
        return self._log.forget(now_ns, ids_until)

    def maintain(self, now_ns: int) -> bool:
        """See `Log.maintain`."""
        return self._log.maintain(now_ns)

    def statistics(self) -> LogStatistics:
        """See `Log.statistics`."""
        return self._log.statistics()

    def close(self) -> None:
        """See `Log.close`."""
        self._log.close()
