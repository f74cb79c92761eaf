"""Limits of a subject hold for all nodes and all workers of a hub together, with real processes."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from tests.cli.processes import TIMEOUT_S, Hub, tidings
from tests.cli.serve.cluster_processes import EVENT, NodeHub
from tests.cli.serve.worker_processes import WorkersHub, wait_until
from tests.nats_server import NatsServer

LIMITS = ("--auth", "keys", "--connections-of-subject", "3", "--subject-events-per-s", "1")
FILLING_S = 1.0
"""Longest time for which a process refuses an event where each counts by itself."""

logger = logging.getLogger(__name__)


class Subject:
    """A subject with a key, and a connection with each process of a hub."""

    def __init__(self, clients: Sequence[httpx.Client], urls: Sequence[str], key: str) -> None:
        self._places = list(zip(clients, urls, strict=True))
        self._headers = {"authorization": f"Bearer {key}"}

    def publish(self, process: int) -> float:
        """Post an event to a process; return the time for which it is refused, in seconds."""
        client, url = self._places[process]
        answer = client.post(f"{url}v1/events", json=EVENT, headers=self._headers)
        assert answer.status_code in (200, 429), answer.text
        return 0.0 if answer.status_code == 200 else float(answer.json()["retry_after_ms"]) / 1000

    def is_known(self) -> bool:
        """Return whether all processes accept its key."""
        return all(
            client.get(f"{url}v1/events?channel=data", headers=self._headers).status_code == 200
            for client, url in self._places
        )

    @contextmanager
    def stream(self, process: int) -> Iterator[int]:
        """Open an event stream at a process, and yield the status."""
        client, url = self._places[process]
        with client.stream("GET", f"{url}v1/stream?channel=data", headers=self._headers) as stream:
            yield stream.status_code

    def may_connect(self, process: int) -> bool:
        with self.stream(process) as status:
            assert status in (200, 429)
            return status == 200


Connect = Callable[[], Sequence[httpx.Client]]


def add_key(keys: Path, name: str) -> str:
    made = tidings("key", "add", name, "--keys", str(keys), "--grant", "read *", "--grant", "publish *")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def check_limits(keys: Path, urls: Sequence[str], connect: Connect) -> None:
    """Check that connections and events of a subject count at all processes together."""
    key = add_key(keys, "ada")
    probe = Subject(connect(), urls, key)

    def answers() -> set[bool]:
        return {probe.may_connect(process) for process in range(len(urls))}

    wait_until(probe.is_known)
    with ExitStack() as stack:
        for client in range(3):
            assert stack.enter_context(Subject(connect(), urls, key).stream(client % len(urls))) == 200
        begun = time.monotonic()
        wait_until(lambda: answers() == {False})
        logger.info("three connections were too many for each process after %.3f s", time.monotonic() - begun)
    begun = time.monotonic()
    wait_until(lambda: answers() == {True})
    logger.info("there was room again after %.3f s", time.monotonic() - begun)
    sender = Subject(connect(), urls, key)  # a stream that is left closes its connection, and the next one is anywhere
    waits_s: list[float] = []
    while max(waits_s, default=0.0) < 2 * FILLING_S:
        waits_s += [sender.publish(process) for process in range(len(urls))]
    logger.info("an event was refused for %.3f s, because others were sent at another process", max(waits_s))


def test_limits_of_a_subject_hold_for_all_nodes(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    keys = tmp_path / "keys.jsonl"
    add_key(keys, "admin")
    with ExitStack() as stack:
        stack.callback(server.stop)
        hubs: list[Hub] = [
            stack.enter_context(NodeHub(tmp_path / name, f"{server.url}/hubs", "--keys", str(keys), *LIMITS))
            for name in "abc"
        ]

        def connect() -> Sequence[httpx.Client]:
            return [stack.enter_context(httpx.Client(timeout=TIMEOUT_S)) for _ in hubs]

        check_limits(keys, [hub.http for hub in hubs], connect)


def test_limits_of_a_subject_hold_for_all_workers(tmp_path: Path) -> None:
    with WorkersHub(tmp_path / "data", 2, *LIMITS) as hub, ExitStack() as stack:

        def connect() -> Sequence[httpx.Client]:
            clients = hub.connect_to_each(stack)
            return [clients[pid] for pid in sorted(clients)]

        check_limits(tmp_path / "data" / "keys.jsonl", [hub.http] * 2, connect)
