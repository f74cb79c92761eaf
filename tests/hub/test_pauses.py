"""A hub whose process is stopped for longer than a lease, and goes on (SIGSTOP, SIGCONT)."""

import json
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.cli.processes import TIMEOUT_S
from tests.hub.hub_process import HubProcess

LEASE_S = 1.0
PAUSE_S = 3.0


def post(port: int, event: Mapping[str, object]) -> socket.socket:
    """Send a post as a producer with a lease, without waiting for the answer."""
    body = json.dumps(event).encode()
    opened = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Tidings-Producer: script\r\nTidings-Lease: {LEASE_S}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    opened.sendall(head.encode() + body)
    return opened


def answer(opened: socket.socket) -> bytes:
    """Return the answer to a post."""
    with opened, opened.makefile("rb") as file:
        return file.read()


@pytest.mark.alone
def test_stopped_hub_fails_no_producer_whose_post_waited_in_the_socket(tmp_path: Path) -> None:
    with HubProcess(tmp_path) as hub:
        assert b" 200 " in answer(post(hub.port, {"type": "operation:start", "data": {"operation_id": "op"}}))
        progress = {"type": "operation:progress", "data": {"operation_id": "op", "progress": 50}}
        for _ in range(2):
            hub.process.send_signal(signal.SIGSTOP)
            waiting = [post(hub.port, progress) for _ in range(3)]
            time.sleep(PAUSE_S)  # what is tested is that this time does not count
            hub.process.send_signal(signal.SIGCONT)
            for opened in waiting:
                response = answer(opened)
                assert b" 200 " in response, response
        end = {"type": "operation:complete", "data": {"operation_id": "op"}}
        assert b" 200 " in answer(post(hub.port, end))
