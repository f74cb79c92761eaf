"""Drains: every client returns after a restart under load, and reads every durable event once."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.access.servers import reply, serving
from tests.cli.processes import TIMEOUT_S, Hub
from tests.server.raw_client import RawClient, handshake_request

import tidings

DATASETS = 20
WATCHES = 200
RATE = 100


class Crowd:
    """Publishers of datasets whose versions count up, and watchers of them, all in this process."""

    def __init__(self, client: tidings.Client) -> None:
        self._client = client
        self._stop = False
        self.published: dict[int, int] = defaultdict(int)
        """Number of versions of each dataset that the hub has acknowledged."""
        self.received: dict[int, list[int]] = defaultdict(list)
        self._changed = asyncio.Condition()

    async def publish(self, dataset: int) -> None:
        while not self._stop:
            data = {"dataset": f"set-{dataset}", "version": self.published[dataset]}
            await self._client.publish("data:update", data, timeout_s=None)
            self.published[dataset] += 1
            await asyncio.sleep(0.02)  # a load that leaves time to those who read it
        await self._client.publish("data:update", {"dataset": f"set-{dataset}", "state": "complete"}, timeout_s=None)

    async def watch(self, number: int) -> None:
        async with contextlib.aclosing(self._client.watch(f"data/set-{number % DATASETS}", since="first")) as events:
            async for event in events:
                version = msgspec.json.decode(event.data).get("version")
                if version is None:
                    return
                self.received[number].append(version)
                async with self._changed:
                    self._changed.notify_all()

    async def wait_all_beyond(self, versions: dict[int, int]) -> None:
        """Wait until each watch has received a version of its dataset from `versions` on."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: all(
                    self.received[number] and self.received[number][-1] >= versions[number % DATASETS]
                    for number in range(WATCHES)
                )
            )

    def stop(self) -> None:
        self._stop = True


@pytest.mark.timeout(240)
async def test_restart_under_load_loses_and_repeats_nothing(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--port", str(port), "--data", str(tmp_path / "data"), "--reconnect-rate", str(RATE))
    with Hub(*options, "--log-level", "warning", memory=False) as hub:
        async with tidings.connect(hub.url) as client, asyncio.TaskGroup() as group:
            crowd = Crowd(client)
            tasks = [
                *(group.create_task(crowd.publish(dataset)) for dataset in range(DATASETS)),
                *(group.create_task(crowd.watch(number)) for number in range(WATCHES)),
            ]
            await crowd.wait_all_beyond(defaultdict(int))
            hub.signal(signal.SIGTERM)
            code, _, stderr = await asyncio.to_thread(hub.wait)
            assert (code, "by force" in stderr) == (0, False), stderr
            before = dict(crowd.published)
            with Hub(*options, memory=False) as restarted:
                await crowd.wait_all_beyond({dataset: count + 1 for dataset, count in before.items()})
                crowd.stop()
                await asyncio.wait(tasks)
                code, _, stderr = await asyncio.to_thread(restarted.stop)
        assert code == 0
    # A client gives up on a handshake after a while, and comes again: on a slow machine there are a few more.
    assert WATCHES + 1 <= stderr.count("connection opened") < 1.5 * WATCHES
    for number in range(WATCHES):
        assert crowd.received[number] == list(range(crowd.published[number % DATASETS]))


def test_handshakes_that_wait_for_their_turn_are_refused_by_a_drain() -> None:
    """The loop of a hub never closed while their connections were open."""
    with Hub("--reconnect-rate", "1") as hub, contextlib.ExitStack() as stack:
        with RawClient(hub.port) as first:
            assert first.open("/ws").startswith("HTTP/1.1 101 ")  # the next one opens two seconds later
        clients = [stack.enter_context(RawClient(hub.port)) for _ in range(2)]
        for client in clients:
            client.send(handshake_request("/ws"))
        assert httpx.get(f"{hub.http}healthz").status_code == 200
        hub.signal(signal.SIGTERM)
        code, _, stderr = hub.wait()
        heads = [client.read_response() for client in clients]
    assert (code, "Traceback" in stderr) == (0, False), stderr
    assert [(head.split()[1], "Retry-After: 1" in head) for head in heads] == [("503", True)] * 2


def test_streams_that_are_not_read_are_no_failures_of_a_drain() -> None:
    event = {"type": "data:update", "data": {"dataset": "d", "url": "u" * 60_000}}
    with Hub("--grace", "1s") as hub, socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # of the megabytes below, most wait in the hub
        stream.connect(("127.0.0.1", hub.port))
        stream.sendall(b"GET /v1/stream?channel=data HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(12) == b"HTTP/1.1 200"
        for _ in range(4):
            assert httpx.post(f"{hub.http}v1/events", json=[event] * 60).status_code == 200
        code, _, stderr = hub.stop()
    assert code == 0
    assert "by force" in stderr
    assert "Traceback" not in stderr


def test_request_whose_sender_is_being_identified_is_answered_by_a_drain() -> None:
    asked, released = threading.Semaphore(0), threading.Event()

    def identify(request: BaseHTTPRequestHandler) -> None:
        asked.release()
        released.wait(TIMEOUT_S)
        reply(request, status=401)

    with serving(identify) as url, ThreadPoolExecutor() as threads:
        with Hub("--auth", "forward", "--forward-auth-url", url, "--grace", "60s") as hub:
            headers = {"Cookie": "session=1"}
            requests = [
                threads.submit(httpx.get, f"{hub.http}v1/{path}", headers=headers) for path in ("snapshot", "stream")
            ]
            for _ in requests:
                assert asked.acquire(timeout=TIMEOUT_S)
            hub.signal(signal.SIGTERM)
            answers = [request.result() for request in requests]
            assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "draining")] * 2
            assert hub.wait()[0] == 0
            assert not released.is_set()
        released.set()
