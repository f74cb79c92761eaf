"""The log of one node alone, and the reading of a shared log from it."""

from collections.abc import Sequence
from typing import Protocol

from tidings.log.base import AppendDone, EventToAppend, Log, Query, ReadDone, StateAfter, StoredRows
from tidings.log.newest import Newest
from tidings.log.producers import ProducerTable
from tidings.log.revocations import RevocationTable
from tidings.operations.table import OperationTable
from tidings.protocol.paths import PathSet


class LocalLog(Log, Protocol):
    """A log that stores bytes together with a batch; the embedded logs are such."""

    @property
    def stored_state(self) -> bytes:
        """The bytes that were stored with the newest batch that had some; empty if there are none."""

    @property
    def stored_rows(self) -> dict[str, bytes]:
        """The rows that were stored together with batches, by their keys."""

    def append(
        self,
        batch: Sequence[EventToAppend],
        done: AppendDone,
        *,
        state: StateAfter | None = None,
        rows: StoredRows | None = None,
    ) -> None:
        """See `Log.append`.

        The bytes that `state` returns, `rows`, and the holders of operations are stored together with the events, or
        not at all.
        """


class LocalReader:
    """The part of a `tidings.log.base.Log` that is the same in the log of this node.

    Args:
        local: The log of this node alone.
    """

    def __init__(self, local: LocalLog) -> None:
        self._local = local

    @property
    def newest(self) -> Newest:
        """See `Log.newest`."""
        return self._local.newest

    @property
    def operations(self) -> OperationTable:
        """See `Log.operations`."""
        return self._local.operations

    @property
    def producers(self) -> ProducerTable:
        """See `Log.producers`."""
        return self._local.producers

    @property
    def revocations(self) -> RevocationTable:
        """See `Log.revocations`."""
        return self._local.revocations

    @property
    def head(self) -> int:
        """See `Log.head`."""
        return self._local.head

    @property
    def forgettable(self) -> int:
        """See `Log.forgettable`."""
        return self._local.forgettable

    def read(self, query: Query, done: ReadDone) -> None:
        """See `Log.read`."""
        self._local.read(query, done)

    def trimmed(self, after: int, paths: PathSet) -> int | None:
        """See `Log.trimmed`."""
        return self._local.trimmed(after, paths)

    def last_before(self, received_ns: int) -> int:
        """See `Log.last_before`."""
        return self._local.last_before(received_ns)

    def received_ns(self, offset: int, received_ns: int) -> int:
        """See `Log.received_ns`."""
        return self._local.received_ns(offset, received_ns)

    def shown_ns(self, offset: int, at_ns: int) -> int:
        """See `Log.shown_ns`."""
        return self._local.shown_ns(offset, at_ns)
