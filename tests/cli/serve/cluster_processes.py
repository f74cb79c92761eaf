"""Hubs of several machines: nodes as processes of this one, with a folder and a port each."""

import os
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
from tests.cli.processes import TIMEOUT_S, Hub
from tests.cli.serve.worker_processes import wait_until
from tests.nats_server import free_port

EVENT = {"type": "data:update", "data": {"dataset": "d"}}


class NodeHub(Hub):
    """`tidings serve --log URL` with a data folder.

    Args:
        folder: The data folder.
        journal: The URL of the journal; empty where a variable has it.
        options: More options.
        port: The port; 0 for a free one.
        wrapper: Begins the command.
    """

    def __init__(
        self,
        folder: Path,
        journal: str,
        *options: str,
        port: int = 0,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        chosen = ("--data", str(folder), "--grace", "2s", *options)
        if journal:
            chosen += ("--log", journal)
        if port:
            chosen += ("--port", str(port))
        super().__init__(*chosen, memory=False, env=env, wrapper=wrapper)
        self.folder = folder

    def close(self) -> None:
        """End it, where it is not used in a `with` block."""
        self.__exit__()

    def wait_for_log(self, text: str) -> str:
        """Wait until a text is in the lines that it logs; return these, which `stop` returns no more."""
        assert self.process.stderr is not None
        lines = ""
        while text not in lines:
            ready, _, _ = select.select([self.process.stderr], [], [], TIMEOUT_S)
            assert ready, f"it was not logged: {lines}"
            data = os.read(self.process.stderr.fileno(), 65536)
            assert data, f"the hub has ended: {lines}"
            lines += data.decode()
        return lines

    def readiness(self) -> tuple[int, str]:
        """Return the status of `/readyz`, and the code of its error."""
        answer = httpx.get(f"{self.http}readyz", timeout=TIMEOUT_S)
        return answer.status_code, "" if answer.status_code == 200 else error_code(answer)

    def publish(self, **body: object) -> str:
        """Publish an event; return its position."""
        answer = httpx.post(f"{self.http}v1/events", json=body or EVENT, timeout=TIMEOUT_S)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["position"])

    def positions(self) -> list[str]:
        """Return the positions of all events on `data`."""
        positions: list[str] = []
        while True:
            since = f"&since={positions[-1]}" if positions else ""
            page = httpx.get(f"{self.http}v1/events?channel=data&limit=1000{since}", timeout=TIMEOUT_S).json()
            positions += [event["position"] for event in page["events"]]
            if len(page["events"]) < 1000:
                return positions


def error_code(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


@contextmanager
def start_node_without_its_journal(
    folder: Path, journal: str, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[NodeHub]:
    """Start a node that cannot open its log yet, so that it prints no addresses."""
    port = free_port()
    hub = NodeHub(folder, journal, *options, port=port, env=env)
    hub.url, hub.http = f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}/"
    with closing(hub):
        wait_until(partial(_answers, hub))
        yield hub


def _answers(hub: NodeHub) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{hub.http}healthz", timeout=TIMEOUT_S).status_code == 200
    return False


def find_operation(hub: Hub, name: str) -> dict[str, object]:
    """Return the status of the operation with a name; empty if the node does not know it yet."""
    operations = httpx.get(f"{hub.http}v1/operations?name={name}", timeout=TIMEOUT_S).json()["operations"]
    return dict(operations[0]) if operations else {}


def has_state(hub: Hub, name: str, state: str) -> bool:
    return find_operation(hub, name).get("state") == state


def wait_for_positions(hub: NodeHub, positions: list[str]) -> None:
    wait_until(lambda: hub.positions() == positions)
