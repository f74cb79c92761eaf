"""All events of a log's file, from its first to its last, for tools; a hub may be using it meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from msgspec import Raw

from tidings.log.epochs import Epochs
from tidings.log.opening import read_epochs
from tidings.log.schema import COLUMNS, FILE, connect_to_read, misfit, record_of
from tidings.protocol.envelope import Envelope

_PAGE = 2_000
"""Rows of one read. A longer one would keep a hub's write-ahead log from being brought into its file."""


def stored_envelopes(path: Path) -> Iterator[Envelope]:
    """Yield every event as its envelope, with its position.

    What is trimmed while this goes on is left out, and what is appended comes, too.

    Args:
        path: The data folder, or a file that `tidings log backup` made.

    Raises:
        LogForeign: There is no log.
        LogTooNew: A newer tidings wrote it.
        LogCorrupt: It is damaged.
        LogReadOnly: It cannot be read in order; see `connect_to_read`.
    """
    file = path / FILE if path.is_dir() else path
    with closing(connect_to_read(file)) as connection:
        try:
            yield from _pages(connection)
        except (sqlite3.Error, KeyError, TypeError, ValueError) as cause:
            raise misfit(cause, file) from cause


def _pages(connection: sqlite3.Connection) -> Iterator[Envelope]:
    after = 0
    while True:
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE offset > ? ORDER BY offset LIMIT ?", (after, _PAGE)
        ).fetchall()
        if not rows:
            return
        epochs = Epochs(read_epochs(connection))
        for row in rows:
            record = record_of(row)
            event = record.event
            yield Envelope(
                type=event.type,
                timestamp=event.timestamp,
                trace_id=event.trace_id,
                data=Raw(event.data),
                channel=event.channel,
                position=str(epochs.position(record.offset)),
                event_id=event.event_id,
            )
            after = record.offset
