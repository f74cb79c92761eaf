"""Nodes that differ: in their version, in their clocks, and in the room on their disks."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S
from tests.cli.serve.cluster_processes import NodeHub, wait_for_positions
from tests.cli.serve.worker_processes import wait_until
from tests.hub.test_wrong_clocks import clock, needs_faketime
from tests.log.mounts import needs_mount, small_disk
from tests.nats_server import NatsServer

from tidings.log.journal.entries import RULES

NEWER_RULES = """
import tidings.log.journal.entries as module
module.RULES += 1
"""
"""A module that Python imports at its start: the node is of a later version, with other rules."""
_DISK_BYTES = 24 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


def test_nodes_of_two_versions_share_a_log_until_the_old_ones_are_gone(tmp_path: Path, server: NatsServer) -> None:
    (tmp_path / "sitecustomize.py").write_text(NEWER_RULES)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    journal = f"{server.url}/versions"
    with NodeHub(tmp_path / "old", journal) as old, NodeHub(tmp_path / "new", journal, env={"PYTHONPATH": path}) as new:
        positions = [(old, new)[number % 2].publish() for number in range(6)]
        for node in (old, new):
            wait_for_positions(node, positions)
        assert old.stop()[0] == 0
        wait_until(lambda: len(httpx.get(f"{new.http}v1/system", timeout=TIMEOUT_S).json()["nodes"]) == 1)
        positions.append(new.publish())
        returned = NodeHub(tmp_path / "old", journal)
        with closing(returned):
            assert f"is written by rules {RULES + 1}" in returned.wait()[2]
            assert returned.process.returncode == 1
        positions.append(new.publish())
        wait_for_positions(new, positions)
        assert new.readiness() == (200, "")


@needs_faketime
def test_nodes_whose_clocks_are_weeks_apart_share_a_log(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/clocks"
    with (
        NodeHub(tmp_path / "a", journal, env=clock("-8d")) as late,
        NodeHub(tmp_path / "b", journal, env=clock("+8d")) as early,
    ):
        dates = [
            parsedate_to_datetime(httpx.get(f"{node.http}healthz", timeout=TIMEOUT_S).headers["date"])
            for node in (late, early)
        ]
        assert dates[1] - dates[0] > timedelta(days=15)
        positions = [(late, early)[number % 2].publish() for number in range(10)]
        for node in (late, early):
            wait_for_positions(node, positions)
        with NodeHub(tmp_path / "c", journal) as right:
            positions.append(right.publish())
            for node in (late, early, right):
                wait_for_positions(node, positions)
                assert node.readiness() == (200, "")


@needs_mount
def test_node_whose_disk_is_full_waits_while_the_others_continue(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/disks"
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", _DISK_BYTES))
        first = stack.enter_context(NodeHub(tmp_path / "a", journal))
        full = stack.enter_context(NodeHub(disk / "b", journal))
        positions = [first.publish(), full.publish()]
        filler = disk / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(65_536))
                file.flush()
        while full.readiness()[1] != "log_full":
            positions.append(first.publish())
        positions.append(first.publish())
        assert first.readiness() == (200, "")
        filler.unlink()
        wait_until(lambda: full.readiness() == (200, ""))
        wait_for_positions(full, positions)
        positions.append(full.publish())
        wait_for_positions(first, positions)
        assert full.stop()[0] == 0
