import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.kills import Published, find_faults

from benchmarks import kills


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
