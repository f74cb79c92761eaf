"""Comparison of a log's schema with that of a new log: a trigger, for example, changes what an append stores."""

import sqlite3
from contextlib import closing
from functools import cache

from tidings.log.sqlite.database import (
    OLD_IDS_INDEX,
    STORED_ROWS,
    STORED_STATE,
    create_tables,
    has_ids,
    has_revocations,
)
from tidings.log.sqlite.set_aside import TABLE

Schema = dict[tuple[str, str], object]
"""The columns or the definition of each object, by type and name."""


def foreign_schema(connection: sqlite3.Connection) -> list[str]:
    """Return the differences between a log's schema and that of a new one."""
    found, expected = _read_schema(connection), dict(_new_schema())
    if not has_revocations(connection):  # not migrated yet
        expected.pop(("table", "revocations"))
    if not has_ids(connection):
        expected.pop(("table", "ids"))
        expected.pop(("index", "ids_event"))
        expected["index", "events_id"] = OLD_IDS_INDEX
    for optional in (TABLE, STORED_STATE, STORED_ROWS):
        found.pop(("table", optional), None)
    faults = [f"the {type} {name!r} is not part of a log" for type, name in found if (type, name) not in expected]
    faults += [f"the {type} {name!r} is missing" for type, name in expected if (type, name) not in found]
    faults += [
        f"the {type} {name!r} has another definition than in a log"
        for (type, name), definition in found.items()
        if expected.get((type, name), definition) != definition
    ]
    return faults


def _read_schema(connection: sqlite3.Connection) -> Schema:
    # Tables by their columns: those of a log that was migrated were created by another statement.
    return {
        (type, name): connection.execute(f"PRAGMA table_xinfo({_quote(name)})").fetchall() if type == "table" else sql
        for type, name, sql in connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        ).fetchall()
    }


@cache
def _new_schema() -> Schema:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection)
        return _read_schema(connection)


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
