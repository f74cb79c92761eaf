"""`tidings serve --log nats://…`: nodes that share one log through a real nats-server."""

import asyncio
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import httpx
import nats
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, Process
from tests.cli.serve.cluster_processes import (
    EVENT,
    NodeHub,
    error_code,
    find_operation,
    has_state,
    start_node_without_its_journal,
    wait_for_positions,
)
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer, free_port

PUBLISHERS = 4
FULL_BYTES = 400_000
"""Size of a journal that is full after a few events; it is trimmed once there is a newer snapshot."""
DIVERGING = """
import tidings.log.judge as module
from tidings.exceptions import InternalError
apply = module._Overlay.apply
def changed(self, entry):
    if b"diverge" in entry.event.data:
        raise InternalError("another decision")
    return apply(self, entry)
module._Overlay.apply = changed
"""
"""A module that Python imports at its start: the node rejects some events."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


def test_nodes_share_one_log_whose_positions_are_alike(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        positions = [(first, second)[number % 2].publish() for number in range(10)]
        for hub in (first, second):
            wait_for_positions(hub, positions)
            page = httpx.get(f"{hub.http}v1/events?channel=data&since={positions[4]}", timeout=TIMEOUT_S).json()
            assert (len(page["events"]), page.get("gap")) == (5, None)
            assert hub.readiness() == (200, "")
        code, stdout, stderr = second.stop()
        assert (code, stdout) == (0, "")
        assert "Traceback" not in stderr
        assert re.search(r"log opened.* journal=nats://127.0.0.1:[0-9]+/hubs ", stderr)
        positions.append(first.publish())
        with NodeHub(tmp_path / "b", journal) as again:
            wait_for_positions(again, positions)
            assert again.stop()[0] == 0
        assert first.stop()[0] == 0


def test_operation_at_one_node_is_cancelled_at_the_other(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        program = "import time; print('begun', flush=True); time.sleep(600)"
        with Process("run", "--name", "long", "--url", first.url, "--", "python", "-c", program) as run:
            wait_until(lambda: find_operation(second, "long"))
            id = find_operation(second, "long")["operation_id"]
            asked = httpx.post(f"{second.http}v1/operations/{id}/cancel", json={"reason": "enough"}, timeout=TIMEOUT_S)
            assert asked.status_code in (200, 202), asked.text
            run.wait()
        wait_until(lambda: all(has_state(hub, "long", "cancelled") for hub in (first, second)))


def test_producer_of_a_killed_node_goes_on_at_another(tmp_path: Path, server: NatsServer) -> None:
    journal, go = f"{server.url}/hubs", tmp_path / "go"
    program = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n"
        "    print('working', flush=True); time.sleep(0.2)\n"
    )
    options = ("--lease", "30s")
    with (
        NodeHub(tmp_path / "a", journal, *options) as first,
        NodeHub(tmp_path / "b", journal, *options) as second,
        Process("run", "--name", "steady", "--url", first.url, "--", "python", "-c", program) as run,
    ):
        wait_until(lambda: find_operation(second, "steady"))
        first.process.kill()
        first.process.wait()
        # The place of the dead one, as behind a proxy.
        with NodeHub(tmp_path / "c", journal, "--lease", "30s", port=first.port) as third:
            go.touch()
            assert run.wait()[0] == 0
            wait_until(lambda: all(has_state(hub, "steady", "complete") for hub in (second, third)))
            assert find_operation(second, "steady")["attempt"] == 1


def test_operation_whose_node_and_producer_die_ends_at_the_other_node(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    options = ("--lease", "2s")
    with NodeHub(tmp_path / "a", journal, *options) as first, NodeHub(tmp_path / "b", journal, *options) as second:
        program = "import time; print('begun', flush=True); time.sleep(600)"
        with Process("run", "--name", "lost", "--url", first.url, "--", "python", "-c", program) as run:
            wait_until(lambda: find_operation(second, "lost"))
            first.process.kill()
            run.process.kill()
            wait_until(lambda: has_state(second, "lost", "failed"))
        error = find_operation(second, "lost")["error"]
        assert isinstance(error, dict)
        assert error["code"] == "producer_lost"


class Publisher(threading.Thread):
    """Publishes events with ids, one after the other, until the hub is gone."""

    def __init__(self, hub: NodeHub) -> None:
        super().__init__()
        self._hub = hub
        self.accepted: dict[str, str] = {}
        """Positions of the events that were acknowledged, by their ids."""
        self.unanswered = ""
        """Id of the event that was under way at the end."""

    def run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            while True:
                self.unanswered = id = str(uuid4())
                try:
                    answer = client.post(f"{self._hub.http}v1/events", json={**EVENT, "event_id": id})
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.accepted[id] = answer.json()["position"]


def test_node_that_is_killed_under_load_loses_no_acknowledged_event(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        publishers = [Publisher(first) for _ in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        wait_until(lambda: all(len(publisher.accepted) >= 50 for publisher in publishers))
        first.process.kill()
        for publisher in publishers:
            publisher.join()
        accepted = {id: position for publisher in publishers for id, position in publisher.accepted.items()}
        assert len(set(accepted.values())) == len(accepted)
        for publisher in publishers:  # it may be stored; nothing is stored twice
            position = second.publish(**EVENT, event_id=publisher.unanswered)
            assert second.publish(**EVENT, event_id=publisher.unanswered) == position
            accepted[publisher.unanswered] = position
        stored = second.positions()
        assert len(stored) == len(set(stored)) == len(accepted)
        assert set(stored) == set(accepted.values())
        with NodeHub(tmp_path / "a", journal) as again:
            wait_for_positions(again, stored)


@contextmanager
def open_until_equal(folder: Path, journal: str, positions: list[str]) -> Iterator[NodeHub]:
    """Start a node until it has these positions: one that notices after its start that its log differs ends first."""
    while True:
        with NodeHub(folder, journal) as node:
            try:
                wait_for_positions(node, positions)
            except httpx.TransportError:
                assert node.process.wait(TIMEOUT_S) == 1
                continue
            yield node
            return


def test_node_whose_log_differs_when_it_opens_builds_another(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    (tmp_path / "sitecustomize.py").write_text(DIVERGING)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with NodeHub(tmp_path / "a", journal) as first:
        positions = [first.publish()]
        with NodeHub(tmp_path / "b", journal, env={"PYTHONPATH": path}) as differing:
            wait_for_positions(differing, positions)
            event = {"type": "data:update", "data": {"dataset": "diverge"}}
            refused = httpx.post(f"{differing.http}v1/events", json=event, timeout=TIMEOUT_S)
            assert refused.status_code == 500, "it is stored that it was rejected"
            differing.process.kill()
        with open_until_equal(tmp_path / "b", journal, first.positions()) as again:
            assert again.readiness() == (200, "")
            positions = [*first.positions(), again.publish()]
            wait_for_positions(first, positions)
            assert len(positions) == 3
            assert again.stop()[0] == 0
        assert (tmp_path / "b" / "set-aside").is_dir()
        assert first.stop()[0] == 0


def test_node_waits_for_a_journal_that_is_away_at_its_start(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.port = free_port()
    with start_node_without_its_journal(tmp_path / "a", f"{server.url}/hubs") as hub:
        wait_until(lambda: hub.readiness() == (503, "log_opening"))
        assert httpx.get(f"{hub.http}healthz", timeout=TIMEOUT_S).status_code == 200
        assert str(server.port) not in httpx.get(f"{hub.http}readyz", timeout=TIMEOUT_S).text
        assert "hint='Check that the engine runs" in hub.wait_for_log("tries again")
        server.start()
        try:
            wait_until(lambda: hub.readiness() == (200, ""))
            hub.publish()
        finally:
            server.stop()


def test_journal_that_is_away_for_a_while_is_reported_and_nothing_is_lost(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/hubs"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        positions = [first.publish() for _ in range(3)]
        server.stop()
        wait_until(lambda: first.readiness() == second.readiness() == (503, "log_unavailable"))
        refused = httpx.post(f"{first.http}v1/events", json=EVENT, timeout=TIMEOUT_S)
        assert refused.status_code == 503
        assert refused.json()["code"] == "log_unavailable"
        assert refused.json()["hint"]
        assert first.positions() == positions, "reading goes on"
        server.start()
        wait_until(lambda: first.readiness() == second.readiness() == (200, ""))
        last = second.publish()
        wait_until(lambda: first.positions()[-1:] == [last])
        assert first.positions()[:3] == positions
        assert first.positions() == second.positions()


def test_full_journal_refuses_events_until_it_is_trimmed(tmp_path: Path, server: NatsServer) -> None:
    journal = f"{server.url}/full?max_bytes={FULL_BYTES}"
    with NodeHub(tmp_path / "a", journal) as first, NodeHub(tmp_path / "b", journal) as second:
        accepted: list[str] = []
        refused = 0
        event = {"type": "data:update", "data": {"dataset": "d", "note": "x" * 50_000}}
        while refused == 0 and len(accepted) * 50_000 < 4 * FULL_BYTES:
            answer = httpx.post(f"{first.http}v1/events", json=event, timeout=TIMEOUT_S)
            if answer.status_code == 200:
                accepted.append(answer.json()["position"])
            else:
                assert (answer.status_code, error_code(answer)) == (507, "log_full")
                refused += 1
        wait_until(lambda: first.readiness() == second.readiness() == (200, ""))
        accepted.append(second.publish())
        # What was refused may be stored all the same, at both nodes alike.
        wait_until(lambda: first.positions() == second.positions())
        stored = first.positions()
        assert set(accepted) <= set(stored)
        assert len(set(stored)) == len(stored) <= len(accepted) + refused


def test_new_node_loads_a_snapshot_where_the_journal_has_no_beginning(tmp_path: Path, server: NatsServer) -> None:
    with NodeHub(tmp_path / "a", f"{server.url}/hubs") as first:
        positions = [first.publish() for _ in range(20)]
        wait_until(lambda: count_snapshots(server))
        trim(server)
        with NodeHub(tmp_path / "b", f"{server.url}/hubs") as second:
            wait_for_positions(second, positions)
            positions.append(second.publish())
            wait_for_positions(first, positions)
            code, _, stderr = second.stop()
        assert code == 0
        assert "a snapshot was loaded" in stderr
        shutil.rmtree(tmp_path / "b")
        with NodeHub(tmp_path / "b", f"{server.url}/hubs") as second:  # its disk was lost
            wait_for_positions(second, positions)


def test_stream_that_was_put_back_sets_the_log_aside_and_answers_gap(tmp_path: Path, server: NatsServer) -> None:
    folder, journal = tmp_path / "a", f"{server.url}/hubs"
    with NodeHub(folder, journal) as hub:
        kept = hub.publish()
        assert hub.stop()[0] == 0
    server.stop()
    shutil.copytree(server.folder, tmp_path / "copy")
    server.start()
    with NodeHub(folder, journal) as hub:
        lost = [hub.publish() for _ in range(5)][-1]
        assert hub.stop()[0] == 0
    server.stop()
    shutil.rmtree(server.folder)
    shutil.copytree(tmp_path / "copy", server.folder)
    server.start()
    with NodeHub(folder, journal) as hub:
        wait_for_positions(hub, [kept])
        for _ in range(10):
            hub.publish()
        for position, gap in ((kept, False), (lost, True)):
            page = httpx.get(f"{hub.http}v1/events?channel=data&since={position}", timeout=TIMEOUT_S).json()
            assert bool(page.get("gap")) is gap, page
        code, _, stderr = hub.stop()
    assert code == 0
    assert "the journal does not continue the log of this node" in stderr
    assert len(list((folder / "set-aside").glob("*/log.db"))) == 1


def test_stream_that_is_replaced_while_a_node_runs_ends_the_node(tmp_path: Path, server: NatsServer) -> None:
    with NodeHub(tmp_path / "a", f"{server.url}/hubs") as hub:
        hub.publish()
        administer(server, "delete")
        code, _, stderr = hub.wait()
        assert code == 1
        assert "the stream does not exist any more" in stderr
        assert "Traceback" not in stderr
    with NodeHub(tmp_path / "a", f"{server.url}/hubs") as hub:
        assert hub.positions() == []
        hub.publish()


def test_folder_of_a_node_becomes_that_of_a_hub_that_runs_alone(tmp_path: Path, server: NatsServer) -> None:
    folder = tmp_path / "a"
    with NodeHub(folder, f"{server.url}/hubs") as node:
        positions = [node.publish() for _ in range(5)]
        assert node.stop()[0] == 0
    for name in ("snapshot.copy", "snapshot.copy.part", "snapshot.new"):  # of a process that was killed
        (folder / name).write_text("a part of a log")
    with NodeHub(folder, f"{server.url}/hubs") as node:
        wait_for_positions(node, positions)
        assert node.stop()[0] == 0
    assert not list(folder.glob("snapshot*"))
    server.stop()
    with Hub("--data", str(folder), memory=False) as alone:
        page = httpx.get(f"{alone.http}v1/events?channel=data&since={positions[1]}", timeout=TIMEOUT_S).json()
        assert [event["position"] for event in page["events"]] == positions[2:]
        assert "gap" not in page
        assert httpx.post(f"{alone.http}v1/events", json=EVENT, timeout=TIMEOUT_S).status_code == 200


def count_snapshots(server: NatsServer) -> int:
    return administer(server, "count")


def trim(server: NatsServer) -> None:
    """Delete the entries before that of the newest snapshot."""
    administer(server, "trim")


def administer(server: NatsServer, what: str) -> int:
    return asyncio.run(_administer(server, what))


async def _administer(server: NatsServer, what: str) -> int:
    connection = await nats.connect(server.url)
    context = connection.jetstream()
    try:
        if what == "delete":
            await context.delete_stream("hubs")
            return 0
        found = await context.stream_info("hubs-snapshots", subjects_filter="hubs.snapshot.*.info")
        subjects = list(found.state.subjects or {})
        if what == "trim":
            newest = await context.get_last_msg("hubs-snapshots", subjects[-1])
            seq = json.loads(newest.data or b"")["mark"]["seq"]
            await context.purge_stream("hubs", seq=seq)
        return len(subjects)
    finally:
        with suppress(Exception):
            await connection.close()
