"""Nodes, and a database, whose disk takes a tenth of a second longer for each request to store what was written."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cli.serve.cluster_processes import NodeHub, wait_for_positions
from tests.nats_server import NatsServer
from tests.postgres_server import new_postgres_server

SOURCE = Path(__file__).parents[2] / "log" / "slow_disk.c"
EVENTS = 24


@pytest.fixture(scope="module")
def slow_disk() -> Iterator[Mapping[str, str]]:
    """Return the environment of a process with a slow disk."""
    with tempfile.TemporaryDirectory(prefix="tidings-slow-") as folder:
        Path(folder).chmod(0o755)  # the database runs as another user
        library = Path(folder) / "slow_disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, capture_output=True)
        yield {"LD_PRELOAD": str(library)}


def publish_at_once(*nodes: NodeHub) -> list[str]:
    """Publish events at the nodes in turn, several at a time; return their positions in log order."""
    with ThreadPoolExecutor(EVENTS) as threads:
        positions = list(threads.map(lambda number: nodes[number % len(nodes)].publish(), range(EVENTS)))
    assert len(set(positions)) == EVENTS
    return sorted(positions, key=lambda position: int(position.rpartition(":")[2]))


def test_node_with_a_slow_disk_holds_up_no_other(tmp_path: Path, slow_disk: Mapping[str, str]) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    try:
        journal = f"{server.url}/slow"
        with (
            NodeHub(tmp_path / "slow", journal, env=slow_disk) as slow,
            NodeHub(tmp_path / "quick", journal) as quick,
        ):
            positions = publish_at_once(slow, quick)
            for node in (slow, quick):
                wait_for_positions(node, positions)
                assert node.readiness() == (200, "")
            assert slow.stop()[0] == 0
    finally:
        server.stop()


def test_database_with_a_slow_disk_holds_up_no_node(tmp_path: Path, slow_disk: Mapping[str, str]) -> None:
    with new_postgres_server(durable=True, env=slow_disk) as server:
        journal = f"{server.url}?journal=slow"
        with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
            positions = publish_at_once(first, second)
            for node in (first, second):
                wait_for_positions(node, positions)
                assert node.readiness() == (200, "")
        server.stop(signal.SIGQUIT)  # without a checkpoint, which would wait for each file
