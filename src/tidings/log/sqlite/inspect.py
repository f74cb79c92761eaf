"""Checking a log: that the file is whole, and that what it holds is what a log holds.

All events of a log's file, from its first to its last, for tools; a hub may be using it meanwhile.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from tidings.log.base import Retention
from tidings.log.epochs import Epochs
from tidings.log.newest import Newest
from tidings.log.sqlite.database import COLUMNS, EFFECTS, FILE, connect_to_read, misfit, record_of
from tidings.log.sqlite.saved_index import SAVE_EVERY
from tidings.log.sqlite.state import SqliteState, read_epochs
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import SlotEffect

_MOST_FAULTS = 100
_EPOCH = re.compile(r"[a-z0-9]{1,32}")
_NO_END = 1 << 62
_decode = msgspec.json.Decoder().decode


class Verification(Struct, frozen=True, kw_only=True):
    """What a check found."""

    path: Path
    events: int
    """How many were looked at."""
    faults: tuple[str, ...]
    """What is wrong, at most a hundred; empty for a log that is whole."""


def verify_database(connection: sqlite3.Connection, path: Path) -> Verification:
    """Check the log that `connection`, which is in a transaction, reads."""
    faults: list[str] = []
    events = 0
    try:
        found = connection.execute(f"PRAGMA integrity_check({_MOST_FAULTS})").fetchall()
        faults += [f"SQLite: {fault}" for (fault,) in found if fault != "ok"]
    except sqlite3.DatabaseError as error:  # so damaged that it cannot be checked
        faults.append(f"SQLite: {error}")
    if not faults:
        check = _Check(connection)
        for fault in check.run():
            faults.append(fault)
            if len(faults) == _MOST_FAULTS:
                break
        events = check.events
    return Verification(path=path, events=events, faults=tuple(faults))


class _Check:
    """The checks of one log, whose file SQLite found whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._meta = dict(connection.execute("SELECT name, value FROM meta"))
        (last,) = connection.execute("SELECT ifnull(max(offset), 0) FROM events").fetchone()
        self._last = max(self._meta["head"], last)
        self._newest = Newest(per_type=_NO_END, age_ns=_NO_END, ended_ns=_NO_END)
        self._counted = {0: [0, 0], 1: [0, 0]}
        """Of what is in the range: events and bytes, up to the head that was counted to."""
        self.events = 0

    def run(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._marks()
        yield from self._rows()
        yield from self._counters()
        yield from self._fold()

    def _marks(self) -> Iterator[str]:
        meta, head = self._meta, self._last
        for name in ("durable_floor", "latest_floor", "folded_to"):
            if not 0 <= meta[name] <= head:
                yield f"{name} is {meta[name]}, and the head is {head}"
        start = 0
        epochs = read_epochs(self._connection)
        if not epochs and self._last:  # a log that was made, and not opened any more, has none and needs none
            yield "there is no epoch"
        for epoch in epochs:
            if not _EPOCH.fullmatch(epoch.name) or epoch.start < start:
                yield f"epoch {epoch.name!r} begins after {epoch.start}, and the one before after {start}"
            start = epoch.start
        for channel, key, trimmed in self._connection.execute("SELECT channel, key, trimmed FROM floors"):
            if not 0 < trimmed <= head:
                yield f"{channel}/{key} was trimmed up to {trimmed}, and the head is {head}"

    def _rows(self) -> Iterator[str]:
        floors = {0: self._meta["durable_floor"], 1: self._meta["latest_floor"]}
        for offset, latest, effect, channel, type, key, received_ns, data in self._connection.execute(
            "SELECT offset, latest, effect, channel, type, key, received_ns, data FROM events ORDER BY offset"
        ):
            self.events += 1
            fault = _fault(offset, latest, effect, channel, type, key, received_ns, data)
            if fault:
                yield f"event {offset}: {fault}"
                continue
            self._newest.note_columns(offset, channel, type, key, received_ns, bool(latest), EFFECTS[effect])
            if floors[latest] < offset <= self._meta["head"]:
                self._counted[latest][0] += 1
                self._counted[latest][1] += len(data)

    def _counters(self) -> Iterator[str]:
        durable, latest = self._counted[0], self._counted[1]
        for name, found in (
            ("durable_events", durable[0]),
            ("durable_bytes", durable[1]),
            ("latest_events", latest[0]),
        ):
            # Before the first step of retention nothing was counted.
            if self._meta["head"] and self._meta[name] != found:
                yield f"{name} is {self._meta[name]}, and there are {found}"

    def _fold(self) -> Iterator[str]:
        # With the types it was saved for, so that it is what was saved that is looked at; and nothing expires.
        thinned = [type for type in self._meta["thinned"].split(",") if type]
        retention = Retention(
            newest_per_type=_NO_END, newest_age_s=1e9, finished_s=1e9, keep_newest=dict.fromkeys(thinned, _NO_END)
        )
        saved = SqliteState(self._connection, retention, save_every=SAVE_EVERY).newest
        for channel, type in saved.groups():
            for key, offset in saved.keys(channel, type):
                newest = self._newest.offset(channel, type, key)
                if newest != offset:
                    yield f"the newest {type} of {channel}/{key} is {newest}, and {offset} was saved"


def _fault(
    offset: int,
    latest: object,
    effect: object,
    channel: object,
    type: object,
    key: object,
    received: object,
    data: object,
) -> str:
    if offset < 1 or latest not in (0, 1) or effect not in SlotEffect.__members__.values():
        return "its offset, class or effect is none that a log writes"
    if not (isinstance(channel, str) and isinstance(type, str) and isinstance(key, str | None) and channel and type):
        return "its channel, type or key is no text"
    if not (isinstance(received, int) and isinstance(data, bytes)):
        return "its time or data is none that a log writes"
    try:
        _decode(data)
    except msgspec.DecodeError as error:
        return f"its data is not JSON: {error}"
    return ""


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
