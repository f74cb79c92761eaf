"""`tidings serve --log postgresql://…`: nodes that share one log through a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, Process
from tests.cli.serve.cluster_processes import EVENT, NodeHub, find_operation, has_state, wait_for_positions
from tests.cli.serve.worker_processes import wait_until
from tests.postgres_server import PostgresServer, new_postgres_server


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with new_postgres_server() as server:
        yield server


def test_nodes_share_one_log_over_a_restart_of_the_database(tmp_path: Path, server: PostgresServer) -> None:
    journal = f"{server.url}?journal=hubs"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        positions = [(first, second)[number % 2].publish() for number in range(10)]
        for hub in (first, second):
            wait_for_positions(hub, positions)
        program = "import time; print('begun', flush=True); time.sleep(600)"
        with Process("run", "--name", "long", "--url", first.url, "--", "python", "-c", program) as run:
            wait_until(lambda: find_operation(second, "long"))
            id = find_operation(second, "long")["operation_id"]
            asked = httpx.post(f"{second.http}v1/operations/{id}/cancel", json={}, timeout=TIMEOUT_S)
            assert asked.status_code in (200, 202), asked.text
            run.wait()
        wait_until(lambda: all(has_state(hub, "long", "cancelled") for hub in (first, second)))
        server.stop()
        wait_until(lambda: first.readiness() == second.readiness() == (503, "log_unavailable"))
        refused = httpx.post(f"{first.http}v1/events", json=EVENT, timeout=TIMEOUT_S)
        assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
        server.start()
        wait_until(lambda: first.readiness() == second.readiness() == (200, ""))
        last = second.publish()
        wait_until(lambda: first.positions()[-1:] == [last])
        assert first.positions() == second.positions()
        assert first.positions()[:10] == positions
        for hub in (first, second):
            code, _, stderr = hub.stop()
            assert code == 0
            assert "Traceback" not in stderr


async def _trim(server: PostgresServer) -> bool:
    """Delete the entries before that of the newest snapshot; return whether there is one."""
    connection = await asyncpg.connect(server.url)
    try:
        seq = await connection.fetchval("SELECT max(seq) FROM tidings_snapshots WHERE name = 'hubs'")
        if seq is None:
            return False
        await connection.execute("DELETE FROM tidings_journal_entries WHERE name = 'hubs' AND seq < $1", seq)
        await connection.execute("UPDATE tidings_journals SET first = $1 WHERE name = 'hubs'", seq)
        return True
    finally:
        await connection.close()


def test_node_without_a_folder_loads_a_snapshot(tmp_path: Path, server: PostgresServer) -> None:
    journal = f"{server.url}?journal=hubs"
    with NodeHub(tmp_path / "a", journal) as first:
        positions = [first.publish() for _ in range(20)]
        wait_until(lambda: asyncio.run(_trim(server)))
        with NodeHub(tmp_path / "b", journal) as second:
            wait_for_positions(second, positions)
            code, _, stderr = second.stop()
        assert code == 0
        assert "a snapshot was loaded" in stderr
        shutil.rmtree(tmp_path / "b")
        with NodeHub(tmp_path / "b", journal) as second:
            positions.append(second.publish())
            wait_for_positions(first, positions)
