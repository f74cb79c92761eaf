"""The operations of the embedded log's file: saved a few at a time, and rebuilt when it is opened.

A row holds what its operation was after the event at its offset. So rows of different moments fit together, and what
came after is folded in once more when the log is opened.
"""

import sqlite3
from itertools import islice

import msgspec

from tidings.log.newest import Newest
from tidings.log.sqlite.database import COLUMNS, record_of
from tidings.operations.lifecycle import ASKS
from tidings.operations.run_history import RunHistory
from tidings.operations.status import OperationStatus
from tidings.operations.table import OperationTable
from tidings.protocol.message_types import ChannelType, MessageType

_PIECE = 100
"""Operations saved, and rows of forgotten ones deleted, in one step: a millisecond."""
_AT_ONCE = 500
_encode = msgspec.msgpack.encode
_decode_status = msgspec.msgpack.Decoder(OperationStatus).decode
_decode_history = msgspec.msgpack.Decoder(RunHistory).decode


class SavedOperations:
    """The rows of `operations` in one file.

    Args:
        connection: To the log's file.
        operations: What is saved, and filled when the file is opened.
    """

    def __init__(self, connection: sqlite3.Connection, operations: OperationTable) -> None:
        self._connection = connection
        self._operations = operations
        self._saved: dict[str, int] = {}
        self._saved_names: list[str] = []
        self._deleted: list[int] = []

    # Opening.

    def restore(self, newest: Newest) -> None:
        """Rebuild everything.

        Args:
            newest: The newest events of the log: how far a live operation has come is not saved with each step of it.

        Raises:
            KeyError, TypeError, ValueError: The file does not hold what a log holds.
        """
        execute, operations = self._connection.execute, self._operations
        saved_to: int = execute("SELECT value FROM meta WHERE name = 'operations_to'").fetchone()[0]
        for (history,) in execute("SELECT history FROM names ORDER BY offset"):
            operations.restore_name(_decode_history(history))
        for (status,) in execute("SELECT status FROM operations ORDER BY offset"):
            operations.restore(_decode_status(status))
        types = ", ".join(f"'{type}'" for type in ASKS)
        self._fold(f"offset > ? AND type IN ({types})", (saved_to,))
        progress = MessageType.OPERATION_PROGRESS
        offsets = [
            offset
            for status in operations.live
            for channel in (ChannelType.OPERATIONS, ChannelType.GLOBAL)
            if (offset := newest.offset(channel, progress, status.operation_id)) is not None and offset > status.offset
        ]
        for start in range(0, len(offsets), _AT_ONCE):
            some = offsets[start : start + _AT_ONCE]
            self._fold(f"offset IN ({','.join('?' * len(some))})", tuple(some))

    def _fold(self, condition: str, values: tuple[int, ...]) -> None:
        for *row, producer_id, lease_s in self._connection.execute(
            f"SELECT {COLUMNS}, producer_id, lease_s FROM events WHERE {condition} ORDER BY offset", values
        ):
            record = record_of(tuple(row))
            self._operations.note(record.offset, record.event, record.received_ns, producer_id, lease_s)

    # Saving.

    def is_due(self) -> bool:
        """Return whether a step would save something."""
        operations = self._operations
        return bool(operations.dirty or operations.dirty_names or operations.forgotten)

    def step(self, head: int, piece: int = _PIECE) -> int:
        """Save some, in the transaction that the caller opened, who then calls `committed` or `rolled_back`.

        Args:
            head: Offset of the newest event.
            piece: How many at most.

        Returns:
            The offset up to which every event is in what is saved.
        """
        operations, execute = self._operations, self._connection.execute
        self._saved = saved = dict(islice(operations.dirty.items(), piece))
        for operation_id in saved:
            status = operations.get(operation_id)
            if status is not None:
                row = (status.number, status.offset, _encode(status))
                execute("INSERT OR REPLACE INTO operations VALUES (?, ?, ?)", row)
        self._save_names()
        self._deleted = list(islice(operations.forgotten, piece))
        self._connection.executemany("DELETE FROM operations WHERE number = ?", ((number,) for number in self._deleted))
        left = next(islice(operations.dirty.values(), len(saved), None), None)
        saved_to = head if left is None else left - 1
        execute("UPDATE meta SET value = ? WHERE name = 'operations_to'", (saved_to,))
        return saved_to

    def _save_names(self) -> None:
        # All of them: those of the operations that are saved here are among them.
        self._saved_names = list(self._operations.dirty_names)
        for name in self._saved_names:
            history = self._operations.names.get(name)
            if history is None:
                self._connection.execute("DELETE FROM names WHERE name = ?", (name,))
            else:
                row = (name, history.offset, _encode(history))
                self._connection.execute("INSERT OR REPLACE INTO names VALUES (?, ?, ?)", row)

    def committed(self) -> None:
        """Note that the step is in the file."""
        operations = self._operations
        for operation_id in self._saved:
            operations.dirty.pop(operation_id, None)
        for name in self._saved_names:
            operations.dirty_names.pop(name, None)
        for _ in self._deleted:
            operations.forgotten.popleft()
        self.rolled_back()

    def rolled_back(self) -> None:
        """Be as if the step had not been."""
        self._saved, self._saved_names, self._deleted = {}, [], []

    def save(self, head: int) -> None:
        """Save all of it, how far the live ones have come included, in the transaction that the caller opened."""
        operations = self._operations
        for status in operations.live:
            operations.dirty.setdefault(status.operation_id, status.offset)
        self.step(head, len(operations.dirty) + len(operations.forgotten) + 1)
