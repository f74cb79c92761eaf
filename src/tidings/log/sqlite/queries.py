"""SQL of the embedded log: forward reads that never block the event loop for long, and the rows for retention."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from tidings.log.base import Page, Query, Record
from tidings.log.matching import QueryMatcher, take_page
from tidings.log.newest import Newest
from tidings.log.retention import RetainedRow
from tidings.log.sqlite.database import COLUMNS, KEY_CONDITION, SEGMENT_BITS, SEGMENTS, DamagedRow, decode_row
from tidings.log.sqlite.set_aside import SetAside
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import NO_PATHS, Path, PathSet

MAX_READ_ROWS = 2_000
"""Maximum number of rows that one read looks at: up to 4 ms if most of them are superseded."""
MAX_READ_OFFSETS = 500
"""Maximum number of offsets that one read takes from one index, and of rows fetched by offset in one statement."""
_MAX_READ_SEGMENTS = 1_000
"""Maximum number of segments that one read looks at: about a millisecond."""
_MAX_SQL_PATHS = 8
"""Maximum number of keys that are read through their index, and of paths that SQLite compares for each row."""


def read_page(connection: sqlite3.Connection, newest: Newest, query: Query, set_aside: SetAside) -> Page:
    """Return one page of `query`, without the rows that cannot be read, which are noted in `set_aside`."""
    if query.newest_only:
        limit = min(query.limit, MAX_READ_OFFSETS)
        offsets = newest.page(query.paths, query.excluded, after=query.after, until=query.until, limit=limit)
        scanned = offsets[-1] if len(offsets) == limit else query.until
        return take_page(_fetch(connection, newest, query, offsets, set_aside), query, scanned)
    keys = _single_keys(query)
    if keys is None and query.trace_id is None:
        return _read_range(connection, newest, query, set_aside)
    return _read_by_index(connection, newest, query, keys or (), set_aside)


def _single_keys(query: Query) -> Sequence[Path] | None:
    """Return the paths besides `global`, if they are few and each is a single key; else None."""
    keys = [path for path in query.paths.paths if path != Path(ChannelType.GLOBAL)]
    if not 0 < len(keys) <= _MAX_SQL_PATHS or any(path.key is None or path.prefix for path in keys):
        return None
    return keys


def _read_range(connection: sqlite3.Connection, newest: Newest, query: Query, set_aside: SetAside) -> Page:
    """Read a range of the log, as far as one read may look."""
    until = query.until
    if until - query.after > MAX_READ_ROWS:  # rows are counted instead of offsets: trimming leaves long holes
        end = connection.execute(
            "SELECT offset FROM events WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT 1 OFFSET ?",
            (query.after, until, MAX_READ_ROWS - 1),
        ).fetchone()
        until = until if end is None else end[0]
    conditions, values = _conditions(query)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE offset > ? AND offset <= ?{conditions} ORDER BY offset",
        (query.after, until, *values),
    )
    return take_page(_matching(rows, newest, query, set_aside), query, until)


def _read_by_index(
    connection: sqlite3.Connection, newest: Newest, query: Query, keys: Sequence[Path], set_aside: SetAside
) -> Page:
    """Read durable events through an index, and the few `latest` events through theirs."""
    until, latest_after = query.until, query.after
    found: set[int] = set()
    if query.trace_id is None and latest_after < newest.latest_floor:
        # Up to the floor the only `latest` rows are the newest of their keys, and those waiting to be deleted.
        latest_after = min(newest.latest_floor, until)
        of_keys = newest.page(
            PathSet(tuple(keys)), NO_PATHS, after=query.after, until=latest_after, limit=MAX_READ_OFFSETS
        )
        found.update(of_keys, newest.released)
        if len(of_keys) == MAX_READ_OFFSETS:
            until = latest_after = of_keys[-1]
    first = connection.execute("SELECT min(offset) FROM events WHERE offset > ?", (query.after,)).fetchone()[0]
    if first is None:
        return Page([], query.until)
    until = min(until, ((first >> SEGMENT_BITS) + _MAX_READ_SEGMENTS << SEGMENT_BITS) - 1)
    span = "offset > ? AND offset <= ? ORDER BY offset LIMIT ?"
    sources: list[tuple[str, list[object]]] = []
    if query.trace_id is not None:
        by_trace = SEGMENTS.format(columns="offset", index="events_trace", condition="trace_id = ?")
        sources.append((by_trace, [first, until, query.trace_id]))
    else:
        by_key = SEGMENTS.format(columns="offset", index="events_key", condition=KEY_CONDITION)
        sources += [(by_key, [first, until, path.key, path.channel]) for path in keys]
        if Path(ChannelType.GLOBAL) in query.paths.paths:
            sources.append(
                (f"SELECT offset FROM events INDEXED BY events_global WHERE channel = 'global' AND {span}", [])
            )
    conditions, values = _conditions(query)
    latest = "SELECT offset FROM events INDEXED BY events_latest WHERE latest = 1"
    end = connection.execute(f"{latest} AND {span} OFFSET ?", (latest_after, until, 1, MAX_READ_ROWS - 1)).fetchone()
    sources.append((f"{latest} AND offset > ?{conditions} AND {span}", [latest_after, *values]))
    until = until if end is None else end[0]
    for source, parameters in sources:
        offsets = [
            offset for (offset,) in connection.execute(source, (*parameters, query.after, until, MAX_READ_OFFSETS))
        ]
        if len(offsets) == MAX_READ_OFFSETS:
            until = offsets[-1]
        found.update(offsets)
    candidates = sorted(offset for offset in found if query.after < offset <= until)
    return take_page(_fetch(connection, newest, query, candidates, set_aside), query, until)


def _conditions(query: Query) -> tuple[str, list[object]]:
    """Return the part of the query that SQLite can check, so that Python looks at fewer rows, and its parameters."""
    paths = query.paths.paths
    values: list[object] = []
    if len(paths) <= _MAX_SQL_PATHS:
        sql = f" AND ({' OR '.join(_condition(path, values) for path in paths) or 'FALSE'})"
    else:
        values += sorted({path.channel for path in paths})
        sql = f" AND channel IN ({_placeholders(len(values))})"
    if query.types:
        sql += f" AND type IN ({_placeholders(len(query.types))})"
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


def _fetch(
    connection: sqlite3.Connection, newest: Newest, query: Query, offsets: Sequence[int], set_aside: SetAside
) -> Iterator[Record]:
    for start in range(0, len(offsets), MAX_READ_OFFSETS):
        some = offsets[start : start + MAX_READ_OFFSETS]
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE offset IN ({_placeholders(len(some))}) ORDER BY offset", some
        )
        yield from _matching(rows, newest, query, set_aside)


def _matching(rows: sqlite3.Cursor, newest: Newest, query: Query, set_aside: SetAside) -> Iterator[Record]:
    matches = QueryMatcher(query, newest)
    # A statement that is not read to its end would keep the write-ahead log from being restarted.
    with closing(rows):
        for row in rows:
            try:
                record = decode_row(row) if matches(row[0], row[3], row[4], row[5], row[8], row[1]) else None
            except (DamagedRow, TypeError) as error:
                set_aside.note("events", row[0], error)
                continue
            if record is not None:
                yield record


def find_last_before(connection: sqlite3.Connection, head: int, received_ns: int) -> int:
    """Return the offset of the last row received before a time, up to `head`; 0 if there is none.

    A binary search over the offsets, which are the primary key: a statement and a row for each bit of `head`.
    """
    found, high = 0, head
    while found < high:
        middle = (found + high) // 2
        row = connection.execute(
            "SELECT offset, CASE typeof(received_ns) WHEN 'integer' THEN received_ns END FROM events"
            " WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT 1",
            (middle, high),
        ).fetchone()
        # A damaged row counts as a later one: the result is then too early, and no event is missed.
        if row is not None and row[1] is not None and row[1] < received_ns:
            found = row[0]
        else:
            high = middle
    return found


def _placeholders(count: int) -> str:
    return ",".join("?" * count)


_RETAINED_COLUMNS = "offset, latest, channel, type, key, length(data), received_ns"
_RETAINED_TYPES = {(int, int, str, str, key, int, int) for key in (str, type(None))}


class SqliteRows:
    """The `tidings.log.retention.RetainedRows` of a file. Its methods raise DamagedRow for a row that is unreadable."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `RetainedRows.after`."""
        return self._select(
            f"SELECT {_RETAINED_COLUMNS} FROM events WHERE offset > ? ORDER BY offset LIMIT ?", offset, limit
        )

    def latest_after(self, offset: int, limit: int) -> Sequence[RetainedRow]:
        """See `RetainedRows.latest_after`."""
        return self._select(
            f"SELECT {_RETAINED_COLUMNS} FROM events INDEXED BY events_latest"
            " WHERE latest = 1 AND offset > ? ORDER BY offset LIMIT ?",
            offset,
            limit,
        )

    def durable_of(
        self, channel: str, type: str, key: str, *, after: int, keep: int, limit: int
    ) -> Sequence[RetainedRow]:
        """See `RetainedRows.durable_of`."""
        until = self._connection.execute("SELECT max(offset) FROM events").fetchone()[0] or 0
        rows = self._select(
            SEGMENTS.format(columns=_RETAINED_COLUMNS, index="events_key", condition=f"{KEY_CONDITION} AND type = ?"),
            *(after, until),
            *(key, channel, type),
            *(after, until, keep + limit),
        )
        return rows[: max(0, len(rows) - keep)]

    def find(self, offset: int) -> RetainedRow | None:
        """See `RetainedRows.find`."""
        found = self._select(f"SELECT {_RETAINED_COLUMNS} FROM events WHERE offset = ?", offset)
        return found[0] if found else None

    def delete(self, offsets: Iterable[int]) -> None:
        """See `RetainedRows.delete`."""
        self._connection.executemany("DELETE FROM events WHERE offset = ?", ((offset,) for offset in offsets))

    def _select(self, sql: str, *values: object) -> list[RetainedRow]:
        rows = list(map(RetainedRow._make, self._connection.execute(sql, values)))
        for row in rows:
            if tuple(map(type, row)) not in _RETAINED_TYPES:
                raise DamagedRow(row.offset, "a column has another type")
        return rows
