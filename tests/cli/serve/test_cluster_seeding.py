"""The folder of a hub of one machine begins a journal of many machines, and becomes that of one machine again."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, Process, tidings
from tests.cli.serve.cluster_processes import (
    EVENT,
    NodeHub,
    find_operation,
    has_state,
    start_node_without_its_journal,
    wait_for_positions,
)
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer
from tests.postgres_server import PostgresServer, new_postgres_server

STEPS = ("claimed", "appended", "attached", "put", "finished")
KILLED = """
import os, signal
import tidings.log.journal.seeding as seeding
import tidings.log.journal.snapshots as snapshots
from tidings.log.journal.jetstream_snapshots import JetStreamSnapshots
from tidings.log.journal.postgres_snapshots import PostgresSnapshots
def die(step):
    if os.environ["STEP"] == step:
        os.kill(os.getpid(), signal.SIGKILL)
claim, append, attach, save = seeding._claim, seeding._append_first, seeding._attach, seeding.save_snapshot
def claim_and_die(folder):
    claimed = claim(folder)
    die("claimed")
    return claimed
async def append_and_die(*arguments):
    entry = await append(*arguments)
    die("appended")
    return entry
def attach_and_die(*arguments):
    attach(*arguments)
    die("attached")
async def save_and_die(*arguments):
    await save(*arguments)
    die("finished")
def make_put(put):
    async def put_and_die(*arguments):
        await put(*arguments)
        die("put")
    return put_and_die
seeding._claim, seeding._append_first, seeding._attach = claim_and_die, append_and_die, attach_and_die
seeding.save_snapshot = save_and_die
for store in (JetStreamSnapshots, PostgresSnapshots):
    store.put = make_put(store.put)
"""
"""A module that Python imports at its start: the process kills itself after one step."""


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    with new_postgres_server() as server:
        yield server


@pytest.fixture
def journal(nats_server: NatsServer) -> str:
    return f"{nats_server.url}/{uuid4().hex}"


@pytest.fixture(params=["nats", "postgres"])
def any_journal(request: pytest.FixtureRequest) -> str:
    """The URL of a new journal of each engine."""
    server = request.getfixturevalue(f"{request.param}_server")
    return f"{server.url}/{uuid4().hex}" if request.param == "nats" else f"{server.url}?journal={uuid4().hex}"


class SingleHub(Hub):
    """`tidings serve` with a data folder, without `--log`."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__("--data", str(folder), "--grace", "2s", *options, memory=False)

    def publish(self, event_id: str) -> str:
        """Publish an event; return its position."""
        answer = httpx.post(f"{self.http}v1/events", json={**EVENT, "event_id": event_id}, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["position"])


def fill(folder: Path, *options: str) -> list[str]:
    """Publish events 0 to 4 at a hub of one machine; return their positions."""
    with SingleHub(folder, *options) as hub:
        positions = [hub.publish(f"event-number-{number:04}") for number in range(5)]
        assert hub.stop()[0] == 0
    return positions


def check_complete(hub: Hub, positions: list[str]) -> None:
    """Check that a reader at the second position gets all later events, and learns of no gap."""
    page = httpx.get(f"{hub.http}v1/events?channel=data&since={positions[1]}", timeout=TIMEOUT_S).json()
    assert [event["position"] for event in page["events"]] == positions[2:]
    assert "gap" not in page


def test_folder_goes_from_one_machine_to_many_and_back(tmp_path: Path, any_journal: str) -> None:
    journal = any_journal
    positions = fill(tmp_path / "a")
    with NodeHub(tmp_path / "a", journal) as first:
        check_complete(first, positions)
        assert first.publish(**EVENT, event_id="event-number-0003") == positions[3], "event ids are known"
        positions.append(first.publish())
        with NodeHub(tmp_path / "b", journal) as second:
            wait_for_positions(second, positions)
            check_complete(second, positions)
            assert second.publish(**EVENT, event_id="event-number-0003") == positions[3]
            positions.append(second.publish())
            wait_for_positions(first, positions)
            code, _, stderr = second.stop()
            assert (code, "a snapshot was loaded" in stderr) == (0, True)
        code, _, stderr = first.stop()
        assert (code, "the journal begins with the log of this folder" in stderr) == (0, True)
    with NodeHub(tmp_path / "a", journal) as first:
        check_complete(first, positions)
        code, _, stderr = first.stop()
        assert (code, "snapshot" in stderr) == (0, False)
    with SingleHub(tmp_path / "a") as alone:
        check_complete(alone, positions)
        positions.append(alone.publish("published-apart-0"))
        check_complete(alone, positions)
        assert alone.stop()[0] == 0
    with NodeHub(tmp_path / "a", f"{journal}-2") as moved:
        check_complete(moved, positions)


def test_producer_goes_on_while_its_hub_becomes_a_node(tmp_path: Path, journal: str) -> None:
    folder, go = tmp_path / "a", tmp_path / "go"
    program = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n"
        "    print('working', flush=True); time.sleep(0.1)\n"
    )
    options = ("--lease", "60s")
    with SingleHub(folder, *options) as alone:
        run = Process("run", "--name", "steady", "--url", alone.url, "--", "python", "-c", program)
        wait_until(lambda: has_state(alone, "steady", "running"))
        port = alone.port
        assert alone.stop()[0] == 0
    with run, NodeHub(folder, journal, *options, port=port) as node:
        # Before it is attached again, its end could stay on disk: a command waits for a hub for 2 s.
        wait_until(lambda: find_operation(node, "steady").get("presence") == "attached")
        go.touch()
        assert run.wait()[0] == 0
        wait_until(lambda: has_state(node, "steady", "complete"))
        assert find_operation(node, "steady")["attempt"] == 1


def test_folder_of_workers_begins_a_journal(tmp_path: Path, journal: str) -> None:
    positions = fill(tmp_path / "a", "--workers", "2")
    with NodeHub(tmp_path / "a", journal) as node:
        check_complete(node, positions)
        assert node.stop()[0] == 0
    assert not list((tmp_path / "a").glob("worker-*"))


def test_folder_of_one_machine_is_refused_by_a_journal_with_entries(tmp_path: Path, journal: str) -> None:
    positions = fill(tmp_path / "a")
    with NodeHub(tmp_path / "b", journal) as other:
        other.publish()
        refused = NodeHub(tmp_path / "a", journal)
        code, ready, stderr = refused.wait()
        refused.close()
        assert (code, ready) == (1, "")
        assert "has the log of a hub of one machine, and the journal has entries of another log" in stderr
        assert "give the journal another name" in stderr
        assert len(other.positions()) == 1
    with SingleHub(tmp_path / "a") as alone:
        check_complete(alone, positions)
    with NodeHub(tmp_path / "a", f"{journal}-2") as node:
        check_complete(node, positions)


def test_one_of_two_folders_that_are_opened_together_begins_the_journal(tmp_path: Path, any_journal: str) -> None:
    journal = any_journal
    positions = {name: fill(tmp_path / name) for name in ("a", "b")}
    nodes = [NodeHub(tmp_path / name, journal) for name in ("a", "b")]
    try:
        wait_until(lambda: any(node.process.poll() is not None for node in nodes))
        winner, loser = sorted(nodes, key=lambda node: node.process.poll() is not None)
        code, ready, stderr = loser.wait()
        assert (code, ready) == (1, "")
        assert "the journal begins with the log of another folder" in stderr
        with winner:
            check_complete(winner, positions[winner.folder.name])
        with SingleHub(loser.folder) as alone:
            check_complete(alone, positions[loser.folder.name])
    finally:
        for node in nodes:
            node.close()


def test_journal_of_a_lost_folder_is_new_again_once_it_is_released(tmp_path: Path, any_journal: str) -> None:
    journal = any_journal
    fill(tmp_path / "lost")
    (tmp_path / "sitecustomize.py").write_text(KILLED)
    lost = NodeHub(tmp_path / "lost", journal, env={"PYTHONPATH": str(tmp_path), "STEP": "attached"})
    assert lost.wait()[0] == -9
    lost.close()
    with start_node_without_its_journal(tmp_path / "b", journal) as waiting:
        logged = waiting.wait_for_log("`tidings data release`, with the name of the node")
        match = re.search(r"begins with that of node '([^']+)'", logged)
        assert match is not None
        for name, expected in (("another", "is that of node"), (match[1], "")):
            done = tidings("data", "release", name, "--log", journal)
            assert (done.returncode, expected in done.stderr) == (1 if expected else 0, True), done.stderr
        wait_until(lambda: waiting.readiness() == (200, ""))
        done = tidings("data", "release", match[1], "--log", journal)
        assert (done.returncode, "nothing was deleted" in done.stderr) == (1, True)
        position = waiting.publish()
        with NodeHub(tmp_path / "lost", journal) as returned:
            wait_for_positions(returned, [position])
            code, _, stderr = returned.stop()
            assert (code, "set aside" in stderr) == (0, True)


def test_journal_that_was_used_is_not_released(tmp_path: Path, any_journal: str) -> None:
    positions = fill(tmp_path / "a")
    with NodeHub(tmp_path / "a", any_journal) as node:
        name = httpx.get(f"{node.http}v1/system", timeout=TIMEOUT_S).json()["nodes"][0]["name"]
        done = tidings("data", "release", name, "--log", any_journal)
        assert (done.returncode, "nodes have used the journal" in done.stderr) == (1, True), done.stderr
        check_complete(node, positions)
        positions.append(node.publish())
        check_complete(node, positions)


@pytest.mark.timeout(480)  # nine nodes start, one after the other
def test_node_that_is_killed_while_it_begins_a_journal_continues(tmp_path: Path, any_journal: str) -> None:
    folder, journal = tmp_path / "a", any_journal
    positions = fill(folder)
    (tmp_path / "sitecustomize.py").write_text(KILLED)
    for step in STEPS:
        killed = NodeHub(folder, journal, env={"PYTHONPATH": str(tmp_path), "STEP": step})
        code, ready, stderr = killed.wait()
        killed.close()
        assert (code, ready) == (-9, ""), f"{step}: {stderr}"
        if step == "attached":  # no node builds the log from the entries alone
            with start_node_without_its_journal(tmp_path / "b", journal) as other:
                assert "is not saved as a snapshot yet" in other.wait_for_log("the hub tries again")
                assert other.readiness() == (503, "log_opening")
    with NodeHub(tmp_path / "b", journal) as other:
        wait_for_positions(other, positions)
        with NodeHub(folder, journal) as node:
            check_complete(node, positions)
            check_complete(other, positions)
