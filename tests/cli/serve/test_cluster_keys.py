"""API keys of several machines: a key in the file of one node is accepted by all."""

import hashlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.cli.processes import TIMEOUT_S, tidings
from tests.cli.serve.cluster_processes import NodeHub
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import NatsServer

from tidings.protocol.timestamps import from_nanoseconds

MAX_DELAY_S = 10.0
"""A second is promised, and logged; a machine with a high load takes longer."""
_LOOK_S = 0.25
"""Invalid keys are looked at less often than the limit of failures refuses them."""

logger = logging.getLogger(__name__)


@dataclass
class ThreeNodes:
    """Three nodes with a file of keys each."""

    folder: Path
    hubs: list[NodeHub]
    admin: str
    server: NatsServer
    stack: ExitStack

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.jsonl"

    def start(self, number: int) -> NodeHub:
        """Start the node with a number, which is not running."""
        options = ("--auth", "keys", "--keys", str(self.file(number)))
        hub = self.stack.enter_context(NodeHub(self.folder / str(number), f"{self.server.url}/hubs", *options))
        self.hubs[number:] = [hub, *self.hubs[number + 1 :]]
        return hub

    def add(self, number: int, name: str, *options: str) -> str:
        """Add a key to the file of a node, and return it."""
        made = tidings("key", "add", name, "--keys", str(self.file(number)), *(options or ("--grant", "read *")))
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def edit(self, number: int, name: str, **fields: object) -> None:
        """Edit the line of a key in the file of a node; without fields, delete it."""
        header, *lines = self.file(number).read_text().splitlines()
        keys = [msgspec.json.decode(line) for line in lines]
        kept = [{**key, **(fields if key["name"] == name else {})} for key in keys if fields or key["name"] != name]
        new = self.file(number).with_suffix(".new")
        new.write_text("\n".join([header, *(msgspec.json.encode(key).decode() for key in kept)]) + "\n")
        new.chmod(0o600)
        new.replace(self.file(number))

    def codes(self, key: str) -> list[str]:
        """Return how each node that runs answers a read with a key: the code of its error, or "ok"."""
        headers = {"authorization": f"Bearer {key}"}
        answers = [
            httpx.get(f"{hub.http}v1/events?channel=data", headers=headers, timeout=TIMEOUT_S)
            for hub in self.hubs
            if hub.process.poll() is None
        ]
        return ["ok" if answer.status_code == 200 else answer.json()["code"] for answer in answers]

    def expect(self, key: str, code: str) -> float:
        """Wait until all nodes answer like this; return the seconds."""
        begun = time.monotonic()
        while set(self.codes(key)) != {code}:
            assert time.monotonic() - begun < TIMEOUT_S, self.codes(key)
            time.sleep(_LOOK_S)
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    folder = tmp_path_factory.mktemp("nodes")
    server = NatsServer(folder / "nats")
    server.start()
    with ExitStack() as stack:
        stack.callback(server.stop)
        nodes = ThreeNodes(folder, [], "", server, stack)
        nodes.admin = nodes.add(0, "admin", "--grant", "admin")
        nodes.start(0)
        nodes.expect(nodes.admin, "ok")
        wait_until(lambda: b"sha256" in server.read_files())
        nodes.start(1)
        nodes.add(2, "carol")
        nodes.start(2)
        yield nodes


def test_key_in_the_file_of_one_node_is_accepted_by_all(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "ada")
    delay_s = nodes.expect(key, "ok")
    logger.info("a key that was added at one node was accepted by all after %.3f s", delay_s)
    assert delay_s < MAX_DELAY_S
    assert not nodes.file(1).exists(), "a node that knows an admin key creates none"
    assert key.encode() not in nodes.server.read_files()
    assert nodes.codes(f"{key[:-2]}aa") == ["unknown_api_key"] * 3


def test_key_stays_valid_while_its_node_is_away_and_after_restarts(nodes: ThreeNodes) -> None:
    before = nodes.add(0, "before")
    nodes.expect(before, "ok")
    assert nodes.hubs[0].stop()[0] == 0
    nodes.hubs[1].process.send_signal(signal.SIGKILL)
    nodes.hubs[1].wait()
    meanwhile = nodes.add(0, "meanwhile")
    nodes.start(1)
    assert nodes.codes(before) == ["ok", "ok"]
    assert nodes.codes(meanwhile) == ["unknown_api_key"] * 2
    nodes.start(0)
    nodes.expect(meanwhile, "ok")


def test_edited_line_holds_at_all_nodes_and_a_deleted_one_nowhere(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "edited")
    nodes.expect(key, "ok")
    nodes.edit(0, "edited", grants=["read operations"])
    nodes.expect(key, "forbidden")
    hour_ago = from_nanoseconds(time.time_ns() // 10**9 * 10**9 - 3_600 * 10**9)
    nodes.edit(0, "edited", grants=["read data"], expires=hour_ago)
    nodes.expect(key, "api_key_expired")
    nodes.edit(0, "edited")
    nodes.expect(key, "unknown_api_key")


def test_streams_at_other_nodes_end_with_the_right_of_their_key(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "reader")
    nodes.expect(key, "ok")
    for fields in ({"grants": ["read operations"]}, {}):
        nodes.edit(0, "reader", grants=["read data"])
        nodes.expect(key, "ok")
        url, headers = f"{nodes.hubs[1].http}v1/stream?channel=data", {"authorization": f"Bearer {key}"}
        with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_S) as stream:
            assert stream.status_code == 200
            nodes.edit(0, "reader", **fields)
            begun = time.monotonic()
            for _ in stream.iter_bytes():
                pass
        logger.info("a stream at another node ended after %.3f s", time.monotonic() - begun)


def test_key_whose_id_another_file_uses_is_reported_and_works_at_its_node(nodes: ThreeNodes) -> None:
    key, other = nodes.add(0, "first"), nodes.add(2, "second")
    nodes.expect(key, "ok")
    nodes.expect(other, "ok")
    stolen = f"{other[:4]}{key[4:12]}{other[12:]}"
    nodes.edit(2, "second", id=key[4:12], sha256=hashlib.sha256(stolen.encode()).hexdigest())
    assert "has another key with this id" in nodes.hubs[2].wait_for_log("valid at this node only")
    assert nodes.codes(key) == ["ok", "ok", "unknown_api_key"]
    assert nodes.codes(stolen) == ["unknown_api_key", "unknown_api_key", "ok"]
    nodes.edit(2, "second")
    nodes.expect(key, "ok")


def test_two_files_with_one_key_do_not_replace_each_others_lines(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "shared")
    nodes.expect(key, "ok")
    line = nodes.file(0).read_text().splitlines()[-1]
    with nodes.file(2).open("a") as file:
        file.write(line + "\n")
    nodes.edit(2, "shared", grants=["read operations"])
    nodes.edit(0, "shared", grants=["read dashboards"])
    wait_until(lambda: len(set(nodes.codes(key))) == 1)
    nodes.edit(2, "shared", grants=["read data"])
    nodes.expect(key, "ok")
    nodes.edit(2, "shared")
    nodes.expect(key, "forbidden")
    nodes.edit(0, "shared")
    nodes.expect(key, "unknown_api_key")


def test_line_that_is_deleted_from_one_file_of_all_nodes_does_not_come_back(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "common")
    options = ("--auth", "keys", "--keys", str(nodes.file(0)))
    with ExitStack() as stack:
        hubs = [
            stack.enter_context(NodeHub(nodes.folder / name, f"{nodes.server.url}/common", *options)) for name in "ab"
        ]
        common = ThreeNodes(nodes.folder, hubs, nodes.admin, nodes.server, stack)
        common.expect(key, "ok")
        nodes.edit(0, "common", grants=["read operations"])
        common.expect(key, "forbidden")
        nodes.edit(0, "common")
        common.expect(key, "unknown_api_key")
        other = nodes.add(0, "another")
        common.expect(other, "ok")  # the nodes have looked at the file again
        assert common.codes(key) == ["unknown_api_key"] * 2


def test_revoked_key_is_refused_also_where_a_node_starts_with_an_older_file(nodes: ThreeNodes) -> None:
    key = nodes.add(2, "dave")
    nodes.expect(key, "ok")
    older = nodes.file(2).read_bytes()
    assert tidings("key", "revoke", "dave", "--keys", str(nodes.file(2))).returncode == 0
    nodes.expect(key, "credential_revoked")
    nodes.hubs[2].process.send_signal(signal.SIGKILL)
    nodes.hubs[2].wait()
    nodes.file(2).write_bytes(older)
    nodes.start(2)
    assert nodes.codes(key) == ["credential_revoked"] * 3
    os.utime(nodes.file(2))
    nodes.expect(key, "credential_revoked")


def test_node_without_its_folder_accepts_the_keys_of_the_others(nodes: ThreeNodes) -> None:
    key = nodes.add(0, "eve")
    nodes.expect(key, "ok")
    options = ("--auth", "keys", "--keys", str(nodes.folder / "none.jsonl"))
    with NodeHub(nodes.folder / "new", f"{nodes.server.url}/hubs", *options) as new:
        answer = httpx.get(
            f"{new.http}v1/events?channel=data", headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )
        assert answer.status_code == 200, answer.text
