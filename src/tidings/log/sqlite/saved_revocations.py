"""The revocations in the embedded log's file."""

import sqlite3
from typing import Final

from tidings.log.revocations import Revocation, RevocationKind, RevocationTable
from tidings.log.sqlite.database import has_revocations
from tidings.log.sqlite.set_aside import SetAside

_ROW_TYPES = ((str, int, int), (str, int, type(None)))
_SEPARATOR = ":"
_KINDS: Final[dict[str, RevocationKind]] = {"credential": "credential", "subject": "subject"}


class SavedRevocations:
    """The rows of `revocations` in one file: few, so each step saves all changes.

    Args:
        connection: To the log's file.
        revocations: The table to save, and to fill when the file is opened.
        set_aside: Receives the rows that cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, revocations: RevocationTable, set_aside: SetAside) -> None:
        self._connection = connection
        self._revocations = revocations
        self._set_aside = set_aside

    def restore(self) -> None:
        """Fill the table."""
        if not has_revocations(self._connection):  # a backup of an older log, which is only read
            return
        for row in self._connection.execute("SELECT target, issued_before_ns, kept_until_ns FROM revocations"):
            prefix, _, name = row[0].partition(_SEPARATOR) if isinstance(row[0], str) else ("", "", "")
            kind = _KINDS.get(prefix)
            if kind is not None and tuple(map(type, row)) in _ROW_TYPES:
                kept = Revocation(kind=kind, name=name, issued_before_ns=row[1], kept_until_ns=row[2])
                self._revocations.restore(kept)
            else:
                self._set_aside.note("revocations", row[0], "a column has another type, or its target is unknown")

    def is_due(self) -> bool:
        """Return whether a step would do anything."""
        return bool(self._revocations.dirty or self._revocations.removed)

    def step(self) -> None:
        """Save all changes, in the caller's transaction; the caller then calls `commit`."""
        revocations = self._revocations
        self._connection.executemany(
            "DELETE FROM revocations WHERE target = ?", [(_target(*place),) for place in revocations.removed]
        )
        rows = [row for place in revocations.dirty if (row := revocations.find(*place)) is not None]
        self._connection.executemany(
            "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?)",
            [(_target(row.kind, row.name), row.issued_before_ns, row.kept_until_ns) for row in rows],
        )

    def commit(self) -> None:
        """Record that the changes are in the file."""
        self._revocations.discard_changes()


def _target(kind: RevocationKind, name: str) -> str:
    return f"{kind}{_SEPARATOR}{name}"
