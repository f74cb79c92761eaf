"""TCP connections that send no request make room for those that do."""

import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.hub.hub_process import HubProcess

from tidings.server.tcp_limit import TcpLimit


class Idle:
    def __init__(self, limit: TcpLimit) -> None:
        self.aborted = False
        limit.add(self)

    def abort(self) -> None:
        self.aborted = True


def test_oldest_connection_without_a_request_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    limit = TcpLimit(2)
    first, second, third = [Idle(limit) for _ in range(3)]
    assert limit.admits(first, 1)
    assert limit.admits(second, 2)
    limit.discard(first)  # it has sent a request
    assert limit.admits(third, 3)
    assert [each.aborted for each in (first, second, third)] == [False, True, False]
    assert limit.dropped == 1
    assert caplog.text.count("TCP connections are open") == 1


def test_new_connection_is_refused_where_all_others_have_requests() -> None:
    limit = TcpLimit(1)
    first, second = Idle(limit), Idle(limit)
    limit.discard(first)
    assert not limit.admits(second, 2)
    assert not first.aborted


def test_silent_connections_do_not_exhaust_the_descriptors(tmp_path: Path) -> None:
    with HubProcess(tmp_path, open_files=512) as hub, ExitStack() as stack:
        for number in range(800):
            stack.enter_context(socket.create_connection(("127.0.0.1", hub.port), timeout=10))
            if number % 100 == 99:
                answer = httpx.post(f"http://127.0.0.1:{hub.port}/v1/events", json={"type": "data:update"}, timeout=10)
                assert answer.status_code == 200
        descriptors = len(list(Path(f"/proc/{hub.process.pid}/fd").iterdir()))
        assert descriptors < 512
    assert "TCP connections are open" in (tmp_path / "stderr").read_text()
