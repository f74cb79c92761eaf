"""The newest records of the audit trail, for administrators who read them as they come."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tidings.access.audit import AuditRecord

MAX_RECORDS: Final = 1_000
"""Newest records that a hub keeps in memory; a file keeps all (`--audit-log`)."""


class AuditFeed:
    """Keeps the newest `MAX_RECORDS` records of a hub, and wakes their readers: a sink of `AuditTrail`."""

    def __init__(self) -> None:
        self._records: deque[AuditRecord] = deque(maxlen=MAX_RECORDS)
        self._readers: dict[Callable[[], object], None] = {}
        self.newest = 0
        """Number of the newest record; the first is 1."""

    def add(self, record: AuditRecord) -> None:
        """Add a record."""
        self.add_numbered(self.newest + 1, record)

    def add_numbered(self, number: int, record: AuditRecord) -> None:
        """Add a record that has a number, because the hub has several processes; the next one has the next number."""
        self._records.append(record)
        self.newest = number
        for wake in list(self._readers):
            wake()

    def after(self, number: int) -> Iterator[tuple[int, AuditRecord]]:
        """Yield the records behind a number, with their own, as far as they are kept."""
        first = self.newest - len(self._records) + 1
        return ((first + place, record) for place, record in enumerate(list(self._records)) if first + place > number)

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call `wake` at each record, during a `with` block."""
        self._readers[wake] = None
        try:
            yield
        finally:
            del self._readers[wake]
