"""API keys that the nodes of a shared log have in common: lines of their key files, with hashes instead of secrets.

The log does not read the lines, and nothing that it judges depends on them (docs/cluster.md, "Access at all nodes").
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from tidings.log.base import StoredRows
from tidings.log.journal.controls import KeyRemoved, KeyShared

MAX_KEYS: Final = 10_000
"""Shared keys: as many as one key file may have."""
MAX_BYTES: Final = 16 << 20
"""Size of all lines: that of the largest key file."""
_decode = msgspec.msgpack.Decoder(KeyShared).decode
_encode = msgspec.msgpack.encode


class SharedKeyTable:
    """The newest line of each key, by id: a fold of the controls about keys."""

    def __init__(self) -> None:
        self._rows: dict[str, KeyShared] = {}
        self._bytes = 0
        self._changed: dict[str, None] = {}

    @property
    def rows(self) -> Mapping[str, KeyShared]:
        """The keys by their ids."""
        return MappingProxyType(self._rows)

    def has_room(self, control: KeyShared) -> bool:
        """Return whether `fold` would add a key, or replace the line that it has."""
        known = self._rows.get(control.id)
        size = self._bytes + len(control.line) - (0 if known is None else len(known.line))
        return size <= MAX_BYTES and (known is not None or len(self._rows) < MAX_KEYS)

    def fold(self, control: KeyShared | KeyRemoved) -> None:
        """Apply a control, in log order; a key that does not fit is left out, on all nodes alike."""
        known = self._rows.get(control.id)
        if isinstance(control, KeyRemoved):
            if known is not None and known.node == control.node:
                self._bytes -= len(self._rows.pop(control.id).line)
                self._changed[control.id] = None
        elif control != known and self.has_room(control):
            self._add(control)
            self._changed[control.id] = None

    def _add(self, row: KeyShared) -> None:
        known = self._rows.get(row.id)
        self._bytes += len(row.line) - (0 if known is None else len(known.line))
        self._rows[row.id] = row

    # Storing.

    def take_changes(self) -> StoredRows:
        """Return the rows that changed since the last call; None for a row to delete."""
        rows: StoredRows = {}
        for id in self._changed:
            row = self._rows.get(id)
            rows[id] = None if row is None else _encode(row)
        self._changed.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        """Restore the stored rows.

        Raises:
            msgspec.MsgspecError: A row is damaged.
        """
        for row in rows:
            self._add(_decode(row))
