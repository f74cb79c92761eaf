"""The operations in the embedded log's file: saved a few at a time, and rebuilt when the log is opened.

A row holds the status of its operation after the event at its offset. So rows that were saved at different times fit
together, and later events are applied again when the log is opened.
"""

import logging
import sqlite3
from itertools import islice

import msgspec

from tidings.log.newest import Newest, owner_of
from tidings.log.opening import OpeningProgress
from tidings.log.sqlite.database import COLUMNS, DamagedRow, decode_row
from tidings.log.sqlite.set_aside import SetAside
from tidings.operations.lifecycle import TRANSITIONS
from tidings.operations.run_history import RunHistory
from tidings.operations.status import OperationStatus
from tidings.operations.table import OperationTable
from tidings.protocol.message_types import ChannelType, MessageType

logger = logging.getLogger(__name__)

_PIECE_SIZE = 100
"""Number of operations saved, and of rows of forgotten ones deleted, in one step: a millisecond."""
_FETCH_SIZE = 500
_encode = msgspec.msgpack.encode
_decode_status = msgspec.msgpack.Decoder(OperationStatus).decode
_decode_history = msgspec.msgpack.Decoder(RunHistory).decode


class SavedOperations:
    """The rows of `operations` in one file.

    Args:
        connection: To the log's file.
        operations: The table to save, and to fill when the file is opened.
        set_aside: Receives the rows that cannot be read or written.
    """

    def __init__(self, connection: sqlite3.Connection, operations: OperationTable, set_aside: SetAside) -> None:
        self._connection = connection
        self._operations = operations
        self._set_aside = set_aside
        self._saved: dict[str, int] = {}
        self._saved_names: list[str] = []
        self._deleted: list[int] = []

    # Opening.

    def restore(self, newest: Newest, progress: OpeningProgress) -> None:
        """Rebuild the table.

        Args:
            progress: Counts the rows of operations.
            newest: The newest events of the log: the rows do not contain every progress of live operations.

        Raises:
            KeyError, TypeError, ValueError: The file does not have the contents of a log.
        """
        execute, operations = self._connection.execute, self._operations
        saved_to: int = execute("SELECT value FROM meta WHERE name = 'operations_to'").fetchone()[0]
        for name, history in execute("SELECT name, history FROM names ORDER BY offset"):
            try:
                operations.restore_name(_decode_history(history))
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                self._set_aside.note("names", name, error)
        (saved,) = execute("SELECT count(*) FROM operations").fetchone()
        for number, status in progress.count(execute("SELECT number, status FROM operations ORDER BY offset"), saved):
            try:
                operations.restore(_decode_status(status))
            except (msgspec.MsgspecError, TypeError, ValueError) as error:
                self._set_aside.note("operations", number, error)
                saved_to = 0  # the operation is folded again from the events that are left
        types = ", ".join(f"'{type}'" for type in TRANSITIONS)
        self._apply_events(f"offset > ? AND type IN ({types})", (saved_to,))
        offsets = [
            offset
            for status in operations.live
            for channel in (ChannelType.OPERATIONS, ChannelType.GLOBAL)
            if (offset := newest.offset(channel, MessageType.OPERATION_PROGRESS, status.operation_id)) is not None
            and offset > status.offset
        ]
        for start in range(0, len(offsets), _FETCH_SIZE):
            some = offsets[start : start + _FETCH_SIZE]
            self._apply_events(f"offset IN ({','.join('?' * len(some))})", tuple(some))

    def _apply_events(self, condition: str, values: tuple[int, ...]) -> None:
        for *row, producer_id, lease_s, scope in self._connection.execute(
            f"SELECT {COLUMNS}, producer_id, lease_s, scope FROM events WHERE {condition} ORDER BY offset", values
        ):
            try:
                record = decode_row(tuple(row))
                if not (isinstance(producer_id, str) and isinstance(scope, str) and isinstance(lease_s, float | int)):
                    raise DamagedRow(record.offset, "its producer, scope or lease has another type")
                self._operations.apply(
                    record.offset, record.event, record.received_ns, producer_id, lease_s, owner_of(scope)
                )
            except DamagedRow as error:
                self._set_aside.note("events", error.key, error)
            except Exception:
                logger.exception("event %r does not change its operation", row[0])

    # Saving.

    def is_due(self) -> bool:
        """Return whether a step would save something."""
        operations = self._operations
        return bool(operations.dirty or operations.dirty_names or operations.removed)

    def step(self, head: int, piece: int = _PIECE_SIZE) -> int:
        """Save some operations, in the caller's transaction. The caller then calls `commit` or `roll_back`.

        Args:
            head: Offset of the newest event.
            piece: Maximum number of operations.

        Returns:
            The offset up to which every event is reflected in the saved rows.
        """
        operations, execute = self._operations, self._connection.execute
        self._saved = saved = dict(islice(operations.dirty.items(), piece))
        for operation_id in saved:
            self._save(operation_id)
        self._save_names()
        self._deleted = list(islice(operations.removed, piece))
        self._connection.executemany("DELETE FROM operations WHERE number = ?", ((number,) for number in self._deleted))
        left = next(islice(operations.dirty.values(), len(saved), None), None)
        saved_to = head if left is None else left - 1
        execute("UPDATE meta SET value = ? WHERE name = 'operations_to'", (saved_to,))
        return saved_to

    def save_held(self) -> None:
        """Save the operations with a holder that no event shows, in the caller's transaction."""
        for operation_id in self._operations.held:
            self._save(operation_id)

    def _save(self, operation_id: str) -> None:
        status = self._operations.get(operation_id)
        if status is None:
            return
        try:
            row = (status.number, status.offset, _encode(status))
        except (msgspec.MsgspecError, OverflowError, TypeError, ValueError) as error:
            self._set_aside.add("operations", status, error)
            return
        self._connection.execute("INSERT OR REPLACE INTO operations VALUES (?, ?, ?)", row)

    def _save_names(self) -> None:
        # All of them, because they include the names of the operations saved in this step.
        self._saved_names = list(self._operations.dirty_names)
        for name in self._saved_names:
            history = self._operations.names.get(name)
            if history is None:
                self._connection.execute("DELETE FROM names WHERE name = ?", (name,))
            else:
                row = (name, history.offset, _encode(history))
                self._connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", row)

    def commit(self) -> None:
        """Record that the step is in the file."""
        self._operations.mark_saved(self._saved, self._saved_names, len(self._deleted))
        self.roll_back()

    def roll_back(self) -> None:
        """Undo the step."""
        self._saved, self._saved_names, self._deleted = {}, [], []

    def save(self, head: int) -> None:
        """Save all operations, including the progress of live ones, in the transaction that the caller opened."""
        operations = self._operations
        operations.mark_live_dirty()
        self.step(head, len(operations.dirty) + len(operations.removed) + 1)
