"""A drain while clients of every kind are connected: each gets its end, and no event is lost or stored twice."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, Process, publish_operation
from tests.cli.serve.cluster_processes import NodeHub
from tests.cli.serve.worker_processes import WorkersHub, is_running
from tests.nats_server import NatsServer, free_port
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

CLIENTS = 8
"""Clients of each kind."""
IN_FLIGHT = 20
BURST = 8
"""Events that a publisher sends at a time."""
VERSIONED = [Subprotocol("tidings.v1")]


class Hubs:
    """One hub, one with workers, or two nodes of a log; they keep their ports."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack) -> None:
        self._kind = kind
        self._folder = folder
        self._stack = stack
        self._ports = [free_port() for _ in range(2 if kind == "nodes" else 1)]
        self._journal = ""
        if kind == "nodes":
            engine = NatsServer(folder / "nats")
            engine.start()
            stack.callback(engine.stop)
            self._journal = f"{engine.url}/hubs"

    def start(self) -> Sequence[Hub]:
        return [self._stack.enter_context(self._make(number)) for number in range(len(self._ports))]

    def _make(self, number: int) -> Hub:
        port, folder = self._ports[number], self._folder / f"data-{number}"
        options = ("--grace", "60s")  # a busy machine may need more than the default
        if self._kind == "process":
            return Hub("--port", str(port), "--data", str(folder), *options, memory=False)
        if self._kind == "workers":
            return WorkersHub(folder, 2, *options, port=port)
        return NodeHub(folder, self._journal, *options, port=port)


@pytest.fixture(params=["process", "workers", "nodes"])
def hubs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hubs]:
    with ExitStack() as stack:
        yield Hubs(request.param, tmp_path, stack)


class Crowd:
    """Clients that are written from PROTOCOL.md alone, without ours."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.ready = asyncio.Barrier(5 * CLIENTS + 1)
        self.ends: Counter[tuple[object, ...]] = Counter()
        """Number of clients by kind and by how their connections ended."""
        self.accepted: dict[str, str] = {}
        """Positions by event id."""
        self.unanswered: dict[str, dict[str, object]] = {}

    async def watch(self, hub: Hub, subprotocols: Sequence[Subprotocol] | None) -> None:
        url = f"{hub.url}?channel=data"
        async with connect(url, subprotocols=subprotocols, open_timeout=TIMEOUT_S, max_queue=None) as socket:
            await self.ready.wait()
            await self._read("watch", socket)

    async def publish(self, hub: Hub, name: str) -> None:
        url = f"{hub.url}?channels=none"
        async with connect(url, subprotocols=VERSIONED, open_timeout=TIMEOUT_S, max_queue=None) as socket:
            room = asyncio.Semaphore(IN_FLIGHT)
            sending = asyncio.create_task(self._send(socket, name, room))
            await self.ready.wait()
            await self._read("publish", socket, room)
            sending.cancel()

    async def _send(self, socket: ClientConnection, name: str, room: asyncio.Semaphore) -> None:
        with suppress(ConnectionClosed):
            for number in range(1_000_000):
                await room.acquire()
                event_id = f"event-{name}-{number:08}"
                data = {"dataset": name, "version": number}
                event: dict[str, object] = {"type": "data:update", "event_id": event_id, "data": data}
                self.unanswered[event_id] = event
                await socket.send(json.dumps({**event, "id": event_id}))
                if number % BURST == 0:
                    await asyncio.sleep(0.2)  # a load that leaves time to those who read it

    async def _read(self, kind: str, socket: ClientConnection, room: asyncio.Semaphore | None = None) -> None:
        last: dict[str, Any] = {}
        with suppress(ConnectionClosed):
            while True:
                last = json.loads(await socket.recv())
                if last["type"] == "event:accepted" and room is not None:
                    assert "duplicate" not in last["data"]
                    self.accepted[last["reply_to"]] = last["data"]["position"]
                    del self.unanswered[last["reply_to"]]
                    room.release()
        said = last["type"] == "connection:closed" and last["data"]["retry_after_ms"] >= 1_000
        self.ends[kind, socket.close_code, socket.close_reason, said] += 1

    async def stream(self, hub: Hub) -> None:
        async with self._http.stream("GET", f"{hub.http}v1/stream?channel=data") as stream:
            await self.ready.wait()
            lines = [line async for line in stream.aiter_lines() if line.startswith("data:")]
        data = json.loads(lines[-1].removeprefix("data:"))["data"]
        self.ends["stream", data["code"], data["reason"], data["retry_after_ms"] >= 1_000] += 1

    async def wait(self, hub: Hub, operation_id: str) -> None:
        sent = asyncio.Event()

        async def trace(step: str, info: object) -> None:
            if step == "http11.receive_response_headers.started":
                sent.set()

        url = f"{hub.http}v1/operations/{operation_id}?wait=60"
        asking = asyncio.create_task(self._http.get(url, extensions={"trace": trace}))
        await sent.wait()
        await self.ready.wait()
        self.ends["wait", (await asking).status_code] += 1


async def stored_positions(http: httpx.AsyncClient, hub: Hub) -> dict[str, list[str]]:
    """Return all positions of each event id."""
    found: dict[str, list[str]] = {}
    page: dict[str, Any] = {"next": "first", "position": ""}
    while page["next"] != page["position"]:
        page = (await http.get(f"{hub.http}v1/events?channel=data&limit=1000&since={page['next']}")).json()
        for event in page["events"]:
            found.setdefault(event["event_id"], []).append(event["position"])
    return found


@pytest.mark.timeout(240)
async def test_drain_ends_clients_of_every_kind_and_loses_no_event(hubs: Hubs) -> None:
    running = hubs.start()
    publish_operation(running[0], "start", "known")
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits) as http, asyncio.TaskGroup() as group:
        crowd = Crowd(http)
        clients: list[asyncio.Task[None]] = []
        for number in range(CLIENTS):
            hub = running[number % len(running)]
            clients += map(
                group.create_task,
                (
                    crowd.watch(hub, VERSIONED),
                    crowd.watch(hub, None),
                    crowd.publish(hub, f"publisher-{number}"),
                    crowd.stream(hub),
                    crowd.wait(hub, "known" if number % 4 < 2 else "unknown"),
                ),
            )
        waiter = Process("wait", "known", "--url", running[0].url)
        with waiter:
            await crowd.ready.wait()
            children = [child.pid for hub in running for child in psutil.Process(hub.process.pid).children()]
            for hub in running:
                hub.signal(signal.SIGTERM)
            for code, _, stderr in await asyncio.gather(*(asyncio.to_thread(hub.wait) for hub in running)):
                assert (code, "by force" in stderr, "Traceback" in stderr) == (0, False, False), stderr
            await asyncio.wait(clients)
            assert not any(map(is_running, children))
            end = (4100, "the hub is shutting down", True)
            assert crowd.ends == {
                ("watch", *end): 2 * CLIENTS,
                ("publish", *end): CLIENTS,
                ("stream", *end): CLIENTS,
                ("wait", 200): CLIENTS // 2,
                ("wait", 404): CLIENTS // 2,
            }

            running = hubs.start()
            found = await stored_positions(http, running[-1])
            assert {event_id: found.get(event_id) for event_id in crowd.accepted} == {
                event_id: [position] for event_id, position in crowd.accepted.items()
            }
            again = list(crowd.unanswered.values())
            results = (await http.post(f"{running[0].http}v1/events", json=again)).json()["results"]
            assert [result.get("duplicate", False) for result in results] == [
                event["event_id"] in found for event in again
            ]
            found = await stored_positions(http, running[0])
            assert set(found) == {*crowd.accepted, *crowd.unanswered}
            assert all(len(positions) == 1 for positions in found.values())
            publish_operation(running[0], "complete", "known")
            assert waiter.wait()[0] == 0
        for hub in running:
            assert hub.stop()[0] == 0
