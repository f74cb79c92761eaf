"""Pages: what of the events that were looked at a query asks for. The same for every embedded log."""

from collections.abc import Iterable

from tidings.log.base import Page, Query, Record
from tidings.log.newest import Newest


class QueryMatcher:
    """Tells which events a query asks for, while nothing is appended.

    Args:
        query: The query.
        newest: The fold of the log, for what is superseded.
    """

    def __init__(self, query: Query, newest: Newest) -> None:
        self._query = query
        self._newest = newest
        self._is_on = query.paths.matcher()
        self._is_excluded = query.but.matcher() if query.but else None

    def __call__(self, offset: int, channel: str, type: str, key: str | None, trace_id: str, latest: bool) -> bool:
        """Return whether the query asks for an event, told by its parts."""
        query = self._query
        if query.types and type not in query.types:
            return False
        if query.trace_id is not None and trace_id != query.trace_id:
            return False
        if not self._is_on(channel, key):
            return False
        if self._is_excluded is not None and self._is_excluded(channel, key):
            return False
        if query.newest_only:
            return self._newest.offset(channel, type, key) == offset
        if not latest or not query.conflate:
            return True
        return (self._newest.offset(channel, type, key) or 0) <= offset


def page_of(records: Iterable[Record], query: Query, scanned: int) -> Page:
    """Return the page that `records` bring, all of which `query` asks for, in log order.

    Args:
        records: What there is to take.
        query: How much a page takes.
        scanned: Up to where `records` is all there is, for a page that takes all of them.
    """
    taken: list[Record] = []
    size = 0
    for record in records:
        taken.append(record)
        size += len(record.event.data)
        if len(taken) >= query.limit or size >= query.max_bytes:
            return Page(taken, record.offset)
    return Page(taken, scanned)
