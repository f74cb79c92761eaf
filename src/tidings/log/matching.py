"""Selects the events of a query and cuts them into pages. Shared by the embedded logs."""

from collections.abc import Iterable

from tidings.log.base import Page, Query, Record
from tidings.log.newest import Newest


class QueryMatcher:
    """Checks whether events match a query. Valid only while nothing is appended.

    Args:
        query: The query.
        newest: The log's newest events, which decide what is superseded.
    """

    def __init__(self, query: Query, newest: Newest) -> None:
        self._query = query
        self._newest = newest
        self._is_on = query.paths.matcher()
        self._is_excluded = query.excluded.matcher() if query.excluded else None

    def __call__(self, offset: int, channel: str, type: str, key: str | None, trace_id: str, latest: bool) -> bool:
        """Return whether the event with these columns matches the query."""
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


def take_page(records: Iterable[Record], query: Query, scanned: int) -> Page:
    """Return the first page of `records`, which all match `query` and are in log order.

    Args:
        records: The candidates.
        query: Its `limit` and `max_bytes` are the size of the page.
        scanned: The offset up to which `records` is complete, for a page that holds all of them.
    """
    taken: list[Record] = []
    size = 0
    for record in records:
        taken.append(record)
        size += len(record.event.data)
        if len(taken) >= query.limit or size >= query.max_bytes:
            return Page(taken, record.offset)
    return Page(taken, scanned)
