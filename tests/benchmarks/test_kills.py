import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from benchmarks.kills import Published, find_faults
from benchmarks.operation_load import Reported, find_operation_faults

from benchmarks import kills
from tidings.log.journal.shared_folder import find_replicas


async def test_two_kills_lose_nothing(tmp_path: Path) -> None:
    assert await kills.measure(2, tmp_path)
    assert find_faults(tmp_path / "data", {f"set-{index}": Published() for index in range(kills.PUBLISHERS)}) == []


async def test_faults_of_a_damaged_log_are_found(tmp_path: Path) -> None:
    assert await kills.measure(1, tmp_path)
    known = {f"set-{index}": Published() for index in range(kills.PUBLISHERS)}
    with closing(sqlite3.connect(tmp_path / "data" / "log.db")) as connection:
        offset, data = connection.execute("SELECT offset, data FROM events WHERE type = 'data:update'").fetchone()
        name = next(name for name in known if name.encode() in (data if isinstance(data, bytes) else data.encode()))
        known[name].offsets = {0: offset + 1, 1_000_000: 7}
    faults = find_faults(tmp_path / "data", known)
    assert any("event 1000000 was acknowledged at 7, and is at None" in fault for fault in faults)


def test_faults_of_operations_are_found() -> None:
    rows = [(1, "operation:start", "a"), (2, "operation:complete", "a"), (3, "operation:start", "b")]
    assert find_operation_faults(rows[:2], Reported(accepted={1: rows[0][1:], 2: rows[1][1:]})) == []
    assert find_operation_faults(rows[:2], Reported(accepted={3: rows[2][1:]})) != []
    assert find_operation_faults(rows[:2], Reported(cancelled={"a"})) != []
    assert find_operation_faults(rows, Reported()) == ["b has the ends []"]
    for more in ((4, "operation:failed", "a"), (4, "operation:log", "a")):
        assert find_operation_faults([*rows[:2], more], Reported()) != []


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_kills_of_workers_and_their_parent_lose_nothing(tmp_path: Path) -> None:
    assert await kills.measure(60, tmp_path, workers=2, life_events=60, operation_events=5)
    folders = find_replicas(tmp_path / "data")
    assert len(folders) == 2
    with closing(sqlite3.connect(folders[1] / "log.db")) as connection, connection:
        connection.execute("UPDATE events SET data = replace(data, 'set-0', 'set-1') WHERE type = 'data:update'")
    known = {f"set-{index}": Published() for index in range(kills.PUBLISHERS)}
    assert any("differs" in fault or "twice" in fault for fault in find_faults(tmp_path / "data", known))
