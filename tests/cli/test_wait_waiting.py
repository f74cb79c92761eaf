import itertools
import uuid
from collections.abc import Callable

import msgspec
import pytest
from tests.cli.processes import Hub
from tests.client.http_server import http_server

from tidings.cli.errors import ExitCode
from tidings.cli.wait import OperationWait, Until
from tidings.client.http import HTTPClient
from tidings.exceptions import CommandRefused, NotAHub


class Rig:
    """A wait whose pauses are moments at which something happens."""

    def __init__(self, api: HTTPClient, until: Until = Until.COMPLETE, id: str | None = None) -> None:
        self.id = id or uuid.uuid4().hex
        self.reports: list[str] = []
        self.pauses: list[float] = []
        self.happens: list[Callable[[], None]] = []
        self.waiting = OperationWait(
            api,
            self.id,
            until,
            report=self.reports.append,
            clock=itertools.count(0.0, 0.01).__next__,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.happens:
            self.happens.pop(0)()


def tell(hub: Hub, verb: str, id: str, **data: object) -> None:
    envelope = {"type": f"operation:{verb}", "data": {"operation_id": id, **data}}
    with HTTPClient(hub.url) as api:
        api.publish(msgspec.json.encode(envelope), {})


def test_an_operation_that_has_not_begun_is_awaited(shared_hub: Hub) -> None:
    with HTTPClient(shared_hub.url) as api:
        rig = Rig(api, Until.RUNNING)
        rig.happens = [
            lambda: None,
            lambda: tell(shared_hub, "start", rig.id, queued=True),
            lambda: tell(shared_hub, "start", rig.id),
        ]
        assert rig.waiting.wait(None) is ExitCode.SUCCESS
    assert rig.reports == [f"there is no operation {rig.id!r} yet; waiting for it"]
    assert rig.waiting.operation is not None
    assert rig.waiting.operation.state == "running"


def test_wait_continues_over_a_restart_of_the_hub(tmp_path: object) -> None:
    options = ("--data", str(tmp_path), "--log-level", "error")
    with Hub(*options, memory=False) as first:
        port = first.port
        tell(first, "start", "op")
        with HTTPClient(first.url) as api:
            assert api.operation("op").state == "running"
    hubs: list[Hub] = []

    def restart() -> None:
        hubs.append(Hub("--port", str(port), *options, memory=False).__enter__())
        tell(hubs[0], "complete", "op")

    try:
        with HTTPClient(f"ws://127.0.0.1:{port}/ws") as api:
            rig = Rig(api, id="op")
            rig.happens = [lambda: None, lambda: None, restart]
            assert rig.waiting.wait(None) is ExitCode.SUCCESS
        (report,) = rig.reports
        assert "no hub answers" in report
        assert rig.pauses == sorted(rig.pauses), "it is asked less and less often"
    finally:
        for hub in hubs:
            hub.__exit__()


@pytest.mark.parametrize(
    ("verb", "data", "code"),
    [
        ("complete", {}, ExitCode.SUCCESS),
        ("failed", {"code": "c", "message": "m", "recoverable": False}, ExitCode.FAILED),
        ("cancelled", {}, ExitCode.CANCELLED),
    ],
)
def test_the_outcome_is_the_exit_code(shared_hub: Hub, verb: str, data: dict[str, object], code: ExitCode) -> None:
    with HTTPClient(shared_hub.url) as api:
        rig = Rig(api)
        tell(shared_hub, verb, rig.id, **data)
        assert rig.waiting.wait(None) is code
        assert rig.pauses == []


def test_a_timeout_has_the_exit_code_of_its_reason(shared_hub: Hub) -> None:
    with HTTPClient(shared_hub.url) as api:
        never = Rig(api)
        assert never.waiting.wait(0) is ExitCode.UNKNOWN_OPERATION
        slow = Rig(api)
        tell(shared_hub, "start", slow.id)
        assert slow.waiting.wait(0) is ExitCode.TIMED_OUT
        assert slow.waiting.operation is not None
    with HTTPClient("ws://127.0.0.1:1/ws") as api:
        away = Rig(api)
        assert away.waiting.wait(0.2) is ExitCode.NO_HUB
        assert "no hub answers" in away.waiting.obstacle


def test_an_operation_that_was_seen_times_out_instead_of_unknown(shared_hub: Hub) -> None:
    with Hub() as hub, HTTPClient(hub.url) as api:
        rig = Rig(api)
        tell(hub, "start", rig.id)
        rig.happens = [lambda: hub.signal(9)]
        assert rig.waiting.wait(0.05) is ExitCode.TIMED_OUT


def test_a_foreign_server_ends_the_wait() -> None:
    with http_server(b"<html>") as url, HTTPClient(url) as api, pytest.raises(NotAHub):
        Rig(api).waiting.wait(None)


def test_a_permanent_refusal_ends_the_wait() -> None:
    refusal = b'{"code": "forbidden", "message": "not yours", "recoverable": false}'
    with http_server(refusal, 403) as url, HTTPClient(url) as api, pytest.raises(CommandRefused, match="not yours"):
        Rig(api).waiting.wait(None)


def test_a_temporary_refusal_continues_the_wait() -> None:
    busy = b'{"code": "draining", "message": "the hub is shutting down", "recoverable": true}'
    with http_server(busy, 503) as url, HTTPClient(url) as api:
        rig = Rig(api)
        assert rig.waiting.wait(1) is ExitCode.NO_HUB
    assert rig.reports == ["the hub is shutting down; waiting for it"]
    assert len(rig.pauses) > 1
