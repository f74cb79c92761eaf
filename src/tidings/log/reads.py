"""Reading forward in the embedded log: which rows a query looks at, so that no read holds the loop up."""

import sqlite3
from collections.abc import Sequence

from tidings.contract.envelope import Event
from tidings.contract.paths import Path, PathSet
from tidings.contract.vocabulary import ChannelType
from tidings.log.base import Page, Query, Record
from tidings.log.newest import Newest, page_of
from tidings.log.schema import COLUMNS, record_of

_ROWS = 2_000
"""Rows that Python looks at in one read: about 4 ms."""
_WINDOW = 20_000
"""Offsets that SQLite looks at in one read: about 4 ms."""
_AT_ONCE = 500
"""Rows fetched by their offsets in one statement."""


def read_page(connection: sqlite3.Connection, newest: Newest, query: Query) -> Page:
    """Return one page of what `query` asks for."""
    if query.newest_only:
        return _snapshot(connection, newest, query)
    keys = _exact_keys(query.paths)
    if keys is not None or query.trace_id is not None:
        return _indexed(connection, newest, query, keys or ())
    return _window(connection, newest, query)


def _snapshot(connection: sqlite3.Connection, newest: Newest, query: Query) -> Page:
    offsets = page_of(newest.plan(query.paths, query.but, query.until), query.after, min(query.limit, _AT_ONCE))
    scanned = query.until if len(offsets) < min(query.limit, _AT_ONCE) else offsets[-1]
    marks = ",".join("?" * len(offsets))
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE offset IN ({marks}) ORDER BY offset", offsets.tolist()
    )
    return _page(rows, query, newest, scanned)


def _window(connection: sqlite3.Connection, newest: Newest, query: Query) -> Page:
    """Read a range of the log, as far as one read may look."""
    until = min(query.until, query.after + _WINDOW)
    channels = sorted({path.channel for path in query.paths.paths})
    conditions, values = _conditions(query, channels)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE offset > ? AND offset <= ?{conditions} ORDER BY offset LIMIT ?",
        (query.after, until, *values, _ROWS),
    )
    page = _page(rows, query, newest, until)
    if not page.records and page.scanned == until < query.until:  # nothing here: on to where there is something
        found = connection.execute("SELECT min(offset) FROM events WHERE offset > ?", (until,)).fetchone()[0]
        return Page([], query.until if found is None else max(until, min(query.until, found - 1)))
    return page


def _indexed(connection: sqlite3.Connection, newest: Newest, query: Query, keys: Sequence[Path]) -> Page:
    """Read durable events by an index, and the few `latest` ones by theirs."""
    parts: list[str] = []
    values: list[object] = []
    span = "offset > ? AND offset <= ?"
    if query.trace_id is not None:
        parts.append(f"SELECT offset FROM events WHERE latest = 0 AND trace_id = ? AND {span}")
        values += [query.trace_id, query.after, query.until]
    else:
        for path in keys:
            parts.append(f"SELECT offset FROM events WHERE latest = 0 AND channel = ? AND key = ? AND {span}")
            values += [path.channel, path.key, query.after, query.until]
        parts.append(f"SELECT offset FROM events WHERE channel = 'global' AND {span}")
        values += [query.after, query.until]
    conditions, more = _conditions(query, sorted({path.channel for path in query.paths.paths}))
    if query.trace_id is None and len(keys) == 1:
        conditions += " AND (key = ? OR channel = 'global')"
        more.append(keys[0].key)
    parts.append(f"SELECT offset FROM events INDEXED BY events_latest WHERE latest = 1 AND {span}{conditions}")
    values += [query.after, query.until, *more]
    union = " UNION ".join(parts)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE offset IN ({union}) ORDER BY offset LIMIT ?", (*values, _ROWS)
    )
    return _page(rows, query, newest, query.until)


def _conditions(query: Query, channels: Sequence[str]) -> tuple[str, list[object]]:
    sql = f" AND channel IN ({','.join('?' * len(channels))})"
    values: list[object] = list(channels)
    if query.types:
        sql += f" AND type IN ({','.join('?' * len(query.types))})"
        values += sorted(query.types)
    if query.trace_id is not None:
        sql += " AND trace_id = ?"
        values.append(query.trace_id)
    return sql, values


def _exact_keys(paths: PathSet) -> tuple[Path, ...] | None:
    """Return the paths beside `global` if there are few and each is one key; else None."""
    keys = tuple(path for path in paths.paths if path.channel != ChannelType.GLOBAL or path.key is not None)
    if not 0 < len(keys) <= 8 or any(path.key is None or path.prefix for path in keys):
        return None
    return keys


def _page(rows: sqlite3.Cursor, query: Query, newest: Newest, scanned: int) -> Page:
    """Take from `rows` what is wanted, no more than one page; `scanned` is where it ends if the rows do."""
    records: list[Record] = []
    size = looked = 0
    try:
        for row in rows:
            looked += 1
            record = record_of(row)
            if not _is_wanted(query, record, newest, latest=row[1]):
                if looked == _ROWS:
                    scanned = record.offset
                continue
            records.append(record)
            size += len(record.event.data)
            if len(records) >= query.limit or size >= query.max_bytes or looked == _ROWS:
                scanned = record.offset
                break
    finally:
        rows.close()  # a statement that is not at its end would hold the write-ahead log
    return Page(records, scanned)


def _is_wanted(query: Query, record: Record, newest: Newest, *, latest: int) -> bool:
    event = record.event
    if not _matches(query, event):
        return False
    if query.newest_only:
        return newest.is_newest(record.offset, event)
    return not (query.conflate and latest and newest.is_superseded(record.offset, event))


def _matches(query: Query, event: Event) -> bool:
    if query.types and event.type not in query.types:
        return False
    if query.trace_id is not None and event.trace_id != query.trace_id:
        return False
    if not query.paths.matches(event.channel, event.key):
        return False
    return not (query.but and query.but.matches(event.channel, event.key))
