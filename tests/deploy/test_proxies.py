"""The configurations in `deploy/proxies`: each proxy as a process before two real nodes of one log."""

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S
from tests.cli.serve.cluster_processes import EVENT, NodeHub
from tests.cli.serve.worker_processes import wait_until
from tests.deploy.proxies import RUNNERS, Proxy, find_program
from tests.nats_server import NatsServer, free_port
from websockets.sync.client import connect


class Nodes:
    """Two hubs of one log, which keep their ports when they are started again."""

    def __init__(self, folder: Path, journal: str) -> None:
        self._folder = folder
        self._journal = journal
        self._ports = [free_port(), free_port()]
        self.running = [self.start(0), self.start(1)]

    @property
    def places(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self._ports]

    def start(self, number: int) -> NodeHub:
        """Start a node, which trusts the proxy as the configurations require."""
        options = ("--trusted-proxy", "127.0.0.1")
        node = NodeHub(self._folder / f"{number}", self._journal, *options, port=self._ports[number])
        return node.__enter__()

    def close(self) -> None:
        for node in self.running:
            node.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    engine = NatsServer(folder / "nats")
    engine.start()
    with ExitStack() as stack:
        stack.callback(engine.stop)
        started = Nodes(folder, f"{engine.url}/hubs")
        stack.callback(started.close)
        yield started


@pytest.fixture(params=RUNNERS)
def proxy(request: pytest.FixtureRequest, tmp_path: Path, nodes: Nodes) -> Iterator[Proxy]:
    if find_program(request.param) is None and not os.environ.get("CI"):
        pytest.skip(f"{request.param} is not installed")
    with RUNNERS[request.param](tmp_path, nodes.places) as running:
        yield running


def test_clients_work_behind_the_proxy_and_survive_a_restart(proxy: Proxy, nodes: Nodes) -> None:
    trust = ssl.create_default_context(cafile=proxy.authority)
    with httpx.Client(base_url=proxy.url, verify=trust, timeout=TIMEOUT_S) as client:
        wait_until(lambda: passes_on(client))
        check_streams(client, proxy, trust)
        check_forged_headers(client, proxy)
        check_restart(client, proxy, nodes)


def check_streams(client: httpx.Client, proxy: Proxy, trust: ssl.SSLContext) -> None:
    """An event stream and a WebSocket get each event when it is published."""
    with (
        client.stream("GET", "/v1/stream?channel=data&since=now") as stream,
        connect(f"wss{proxy.url[5:]}/ws?channel=data&since=now", ssl=trust) as socket,
    ):
        lines = stream.iter_lines()
        assert next(lines) is not None
        for _ in range(3):
            answer = client.post("/v1/events", json=EVENT)
            assert answer.status_code == 200, answer.text
            position = answer.json()["position"]
            assert next(line for line in lines if line == f"id: {position}" or line == f"id:{position}")
            received = next(message for message in socket if json.loads(message)["type"] == EVENT["type"])
            assert json.loads(received)["data"] == EVENT["data"]


def check_forged_headers(client: httpx.Client, proxy: Proxy) -> None:
    """Clients cannot choose the name, the scheme and the path of the hub."""
    for forged in (
        {"X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.9;proto=http;host=evil.example"},
        {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"},
    ):
        described = client.get("/asyncapi.json", headers=forged)
        assert described.status_code == 200, described.text
        [server], [channel] = described.json()["servers"].values(), described.json()["channels"].values()
        assert (server["protocol"], server["host"], channel["address"]) == ("wss", f"localhost:{proxy.port}", "/ws")


def check_restart(client: httpx.Client, proxy: Proxy, nodes: Nodes) -> None:
    """Publishing and reading go on while a hub drains and is away, and no event is lost or stored twice."""
    published = []
    hub = nodes.running[0]
    for number in range(30):
        # An event id makes it safe to publish an event again after an answer that was lost.
        event = {**EVENT, "event_id": f"event-{proxy.port:05}-{number:05}"}
        wait_until(partial(is_accepted, client, event))
        published.append(event["event_id"])
        assert client.get("/v1/snapshot?channel=data").status_code == 200, "reads go to the other hub"
        if number == 5:
            hub.signal(15)
        if number == 25:
            assert hub.wait()[0] == 0
    nodes.running[0] = nodes.start(0)
    wait_until(lambda: nodes.running[0].readiness()[0] == 200)
    for node in nodes.running:
        wait_until(partial(has_caught_up, node, nodes.running[1]))
        found = stored_ids(node)
        assert [each for each in found if each in published] == published, "each once, and in order"


def passes_on(client: httpx.Client) -> bool:
    """Return whether a proxy that has just started passes requests on: it may still read its files."""
    with suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False


def is_accepted(client: httpx.Client, event: Mapping[str, object]) -> bool:
    """Publish an event; return whether it was accepted, and not refused by a hub that drains."""
    answer = client.post("/v1/events", json=event)
    assert answer.status_code in (200, 502, 503), answer.text
    return answer.status_code == 200


def has_caught_up(node: NodeHub, other: NodeHub) -> bool:
    return node.positions() == other.positions()


def stored_ids(node: NodeHub) -> list[str]:
    """Return the event ids on `data`, in order."""
    events = httpx.get(f"{node.http}v1/events?channel=data&limit=1000", timeout=TIMEOUT_S).json()["events"]
    return [event["event_id"] for event in events if "event_id" in event]
