import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tidings.testing.log_conformance")

from tests.log.sqlite_harness import SqliteHarness  # noqa: E402 - after the line above, which it needs

from tidings.log.sqlite.database import open_database  # noqa: E402


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections of the logs that a test opens, the newest last: to trace statements and to set pragmas."""
    opened: list[sqlite3.Connection] = []

    def open_and_record(path: Path) -> sqlite3.Connection:
        opened.append(open_database(path))
        return opened[-1]

    monkeypatch.setattr("tidings.log.sqlite.state.open_database", open_and_record)
    return opened


@pytest.fixture
def sqlite() -> Iterator[SqliteHarness]:
    harness = SqliteHarness()
    with harness:
        yield harness
