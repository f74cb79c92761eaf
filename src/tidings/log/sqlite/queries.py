"""Reading forward in the embedded log's file: which rows a query looks at, so that no read holds the loop up.

The rows of the embedded log's file, as retention asks for them.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from tidings.log.base import Page, Query, Record
from tidings.log.matching import QueryMatcher, page_of
from tidings.log.newest import Newest
from tidings.log.retention import RetainedRow
from tidings.log.sqlite.database import COLUMNS, OF_KEY, SEGMENT_BITS, SEGMENTS, record_of
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import NOTHING, Path, PathSet

_WINDOW = 2_000
"""Rows that one read looks at: up to 4 ms, where the most of them are superseded."""
_OFFSETS = 500
"""Offsets that one read takes from one index, and rows fetched by their offsets in one statement."""
_SEGMENTS = 1_000
_PATHS = 8
"""Keys that are read by their index, a look-up each, and paths that SQLite looks at for each row."""


def read_page(connection: sqlite3.Connection, newest: Newest, query: Query) -> Page:
    """Return one page of what `query` asks for."""
    if query.newest_only:
        limit = min(query.limit, _OFFSETS)
        offsets = newest.page(query.paths, query.but, after=query.after, until=query.until, limit=limit)
        scanned = offsets[-1] if len(offsets) == limit else query.until
        return page_of(_at(connection, newest, query, offsets), query, scanned)
    keys = _few_keys(query)
    if keys is None and query.trace_id is None:
        return _range(connection, newest, query)
    return _indexed(connection, newest, query, keys or ())


def _few_keys(query: Query) -> Sequence[Path] | None:
    """Return the paths beside all of `global`, if they are few and each is one key; else None."""
    keys = [path for path in query.paths.paths if path != Path(ChannelType.GLOBAL)]
    if not 0 < len(keys) <= _PATHS or any(path.key is None or path.prefix for path in keys):
        return None
    return keys


def _range(connection: sqlite3.Connection, newest: Newest, query: Query) -> Page:
    """Read a range of the log, as far as one read may look."""
    until = query.until
    if until - query.after > _WINDOW:  # rows are counted, not offsets: what was trimmed leaves long holes
        end = connection.execute(
            "SELECT offset FROM events WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT 1 OFFSET ?",
            (query.after, until, _WINDOW - 1),
        ).fetchone()
        until = until if end is None else end[0]
    conditions, values = _conditions(query)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE offset > ? AND offset <= ?{conditions} ORDER BY offset",
        (query.after, until, *values),
    )
    return page_of(_wanted(rows, newest, query), query, until)


def _indexed(connection: sqlite3.Connection, newest: Newest, query: Query, keys: Sequence[Path]) -> Page:
    """Read durable events by an index, and the `latest` ones, which are few, by theirs."""
    until, latest_after = query.until, query.after
    found: set[int] = set()
    if query.trace_id is None and latest_after < newest.latest_floor:
        # Up to the floor only the newest are left, and those of one key are known; and what waits to be deleted.
        latest_after = min(newest.latest_floor, until)
        of_keys = newest.page(PathSet(tuple(keys)), NOTHING, after=query.after, until=latest_after, limit=_OFFSETS)
        found.update(of_keys, newest.released)
        if len(of_keys) == _OFFSETS:
            until = latest_after = of_keys[-1]
    first = connection.execute("SELECT min(offset) FROM events WHERE offset > ?", (query.after,)).fetchone()[0]
    if first is None:
        return Page([], query.until)
    # No more segments in one read than take a millisecond or so.
    until = min(until, ((first >> SEGMENT_BITS) + _SEGMENTS << SEGMENT_BITS) - 1)
    span = "offset > ? AND offset <= ? ORDER BY offset LIMIT ?"
    sources: list[tuple[str, list[object]]] = []
    if query.trace_id is not None:
        of_trace = SEGMENTS.format(columns="offset", index="events_trace", condition="trace_id = ?")
        sources.append((of_trace, [first, until, query.trace_id]))
    else:
        of_key = SEGMENTS.format(columns="offset", index="events_key", condition=OF_KEY)
        sources += [(of_key, [first, until, path.key, path.channel]) for path in keys]
        if Path(ChannelType.GLOBAL) in query.paths.paths:
            sources.append(
                (f"SELECT offset FROM events INDEXED BY events_global WHERE channel = 'global' AND {span}", [])
            )
    conditions, values = _conditions(query)
    latest = "SELECT offset FROM events INDEXED BY events_latest WHERE latest = 1"
    end = connection.execute(f"{latest} AND {span} OFFSET ?", (latest_after, until, 1, _WINDOW - 1)).fetchone()
    sources.append((f"{latest} AND offset > ?{conditions} AND {span}", [latest_after, *values]))
    until = until if end is None else end[0]
    for source, wanted in sources:
        offsets = [offset for (offset,) in connection.execute(source, (*wanted, query.after, until, _OFFSETS))]
        if len(offsets) == _OFFSETS:
            until = offsets[-1]
        found.update(offsets)
    candidates = sorted(offset for offset in found if query.after < offset <= until)
    return page_of(_at(connection, newest, query, candidates), query, until)


def _conditions(query: Query) -> tuple[str, list[object]]:
    """Return what SQLite can tell of a row, and what of it Python need not look at."""
    paths = query.paths.paths
    values: list[object] = []
    if len(paths) <= _PATHS:
        sql = f" AND ({' OR '.join(_condition(path, values) for path in paths) or 'FALSE'})"
    else:
        values += sorted({path.channel for path in paths})
        sql = f" AND channel IN ({_marks(len(values))})"
    if query.types:
        sql += f" AND type IN ({_marks(len(query.types))})"
        values += sorted(query.types)
    if query.trace_id is not None:
        sql += " AND trace_id = ?"
        values.append(query.trace_id)
    return sql, values


def _condition(path: Path, values: list[object]) -> str:
    values.append(path.channel)
    if path.key is None:
        return "channel = ?"
    if path.prefix:
        values += [len(path.key), path.key]
        return "(channel = ? AND substr(key, 1, ?) = ?)"
    values.append(path.key)
    return "(channel = ? AND key = ?)"


def _at(connection: sqlite3.Connection, newest: Newest, query: Query, offsets: Sequence[int]) -> Iterator[Record]:
    for start in range(0, len(offsets), _OFFSETS):
        some = offsets[start : start + _OFFSETS]
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE offset IN ({_marks(len(some))}) ORDER BY offset", some
        )
        yield from _wanted(rows, newest, query)


def _wanted(rows: sqlite3.Cursor, newest: Newest, query: Query) -> Iterator[Record]:
    wanted = QueryMatcher(query, newest)
    # A statement that is not read to its end would hold on to the write-ahead log.
    with closing(rows):
        for row in rows:
            if wanted(row[0], row[3], row[4], row[5], row[8], row[1]):
                yield record_of(row)


def _marks(count: int) -> str:
    return ",".join("?" * count)


_COLUMNS = "offset, latest, channel, type, key, length(data), received_ns"


class SqliteRows:
    """The `tidings.log.retention.RetainedRows` of a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `Rows.after`."""
        return self._rows(f"SELECT {_COLUMNS} FROM events WHERE offset > ? ORDER BY offset LIMIT ?", offset, limit)

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `Rows.latest_after`."""
        return self._rows(
            f"SELECT {_COLUMNS} FROM events INDEXED BY events_latest"
            " WHERE latest = 1 AND offset > ? ORDER BY offset LIMIT ?",
            offset,
            limit,
        )

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """See `Rows.durable_of`."""
        until = self._connection.execute("SELECT max(offset) FROM events").fetchone()[0] or 0
        rows = self._rows(
            SEGMENTS.format(columns=_COLUMNS, index="events_key", condition=f"{OF_KEY} AND type = ?"),
            *(after, until),
            *(key, channel, type),
            *(after, until, keep + limit),
        )
        return rows[: max(0, len(rows) - keep)]

    def find(self, offset: int) -> RetainedRow | None:
        """See `Rows.find`."""
        found = self._rows(f"SELECT {_COLUMNS} FROM events WHERE offset = ?", offset)
        return found[0] if found else None

    def delete(self, offsets: Iterable[int]) -> None:
        """See `Rows.delete`."""
        self._connection.executemany("DELETE FROM events WHERE offset = ?", ((offset,) for offset in offsets))

    def _rows(self, sql: str, *values: object) -> list[RetainedRow]:
        return list(map(RetainedRow._make, self._connection.execute(sql, values)))
