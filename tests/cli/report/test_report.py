import itertools
import os
import signal
import uuid

import msgspec
import pytest
from tests.cli.processes import Hub

from tidings.cli.errors import ExitCode
from tidings.cli.report.command import EventPost, post_event, producer_of
from tidings.client.http import HTTPClient
from tidings.operations.views import OperationDetail
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationCompleteData, OperationLogData, OperationProgressData, OperationStartData

NOWHERE = "ws://127.0.0.1:1/ws"


@pytest.fixture
def id() -> str:
    return f"script/{uuid.uuid4()}"


def start(id: str, **more: object) -> EventPost:
    payload = OperationStartData(operation_id=id, name="script")
    return EventPost(operation_id=id, type=MessageType.OPERATION_START, payload=payload, retried=True, **more)  # type: ignore[arg-type]


def progress(id: str, percent: float) -> EventPost:
    payload = OperationProgressData(operation_id=id, progress=percent)
    return EventPost(operation_id=id, type=MessageType.OPERATION_PROGRESS, payload=payload)


def complete(id: str) -> EventPost:
    payload = OperationCompleteData(operation_id=id)
    return EventPost(operation_id=id, type=MessageType.OPERATION_COMPLETE, payload=payload, retried=True)


def known(hub: Hub, id: str) -> OperationDetail:
    with HTTPClient(hub.url) as api:
        return api.operation(id)


def test_a_script_reports_start_progress_and_end(shared_hub: Hub, id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [post_event(shared_hub.url, post) for post in (start(id), progress(id, 42), complete(id))] == [0, 0, 0]
    operation = known(shared_hub, id)
    assert (operation.state, operation.name, operation.producer_id) == ("complete", "script", None)
    assert capsys.readouterr() == ("", "")


def test_a_lease_makes_the_script_the_holder_and_each_post_renews_it(shared_hub: Hub, id: str) -> None:
    assert post_event(shared_hub.url, start(id, lease_s=60.0)) == 0
    assert post_event(shared_hub.url, progress(id, 42)) == 0
    operation = known(shared_hub, id)
    assert (operation.producer_id, operation.lease_s, operation.presence) == (producer_of(id), 60.0, "attached")
    assert operation.progress == 42
    assert post_event(shared_hub.url, complete(id)) == 0
    assert known(shared_hub, id).state == "complete"


def test_a_leased_operation_without_reports_is_producer_lost(shared_hub: Hub, id: str) -> None:
    assert post_event(shared_hub.url, start(id, lease_s=1.0)) == 0
    with HTTPClient(shared_hub.url) as api:
        operation = api.operation(id, wait_s=20)
    assert operation.error is not None
    assert operation.error.code == "producer_lost"


def test_an_unreachable_hub_is_a_warning_or_with_strict_an_error(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert post_event(NOWHERE, progress(id, 1)) == 0
    remark = capsys.readouterr().err
    assert remark.startswith("tidings: operation:progress was not reported: no hub answers at 127.0.0.1:1")
    assert remark.endswith("The script continues.\n")
    assert remark.count("\n") == 1
    assert post_event(NOWHERE, progress(id, 1), strict=True) == ExitCode.NO_HUB
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: no hub answers")
    assert hint.startswith("hint: ")


def test_a_refusal_is_a_warning_or_with_strict_an_error(
    shared_hub: Hub, id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    post_event(shared_hub.url, complete(id))
    assert post_event(shared_hub.url, progress(id, 1)) == 0
    assert "has ended" in capsys.readouterr().err
    assert post_event(shared_hub.url, progress(id, 1), strict=True) == 1
    assert "(operation_finished)" in capsys.readouterr().err


def test_an_operation_of_another_producer_is_fenced(
    shared_hub: Hub, id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    envelope = {"type": "operation:start", "data": {"operation_id": id, "name": "other"}}
    with HTTPClient(shared_hub.url) as api:
        api.publish(msgspec.json.encode(envelope), {"tidings-producer": "somebody-else", "tidings-lease": "60"})
    assert post_event(shared_hub.url, complete(id), strict=True) == 1
    assert "(operation_fenced)" in capsys.readouterr().err
    assert known(shared_hub, id).state == "running"


def test_an_end_is_retried_until_the_hub_is_reachable(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Hub() as first:
        port = first.port
    hubs: list[Hub] = []

    def sleep(_: float) -> None:
        if not hubs:
            hubs.append(Hub("--port", str(port)).__enter__())

    try:
        assert post_event(f"http://127.0.0.1:{port}", complete(id), strict=True, sleep=sleep) == 0
        assert known(hubs[0], id).state == "complete"
    finally:
        for hub in hubs:
            hub.__exit__()
    assert capsys.readouterr().err == ""


def test_an_end_is_retried_until_the_timeout_and_progress_is_not_retried(id: str) -> None:
    clock = itertools.count(0.0, 0.5).__next__
    slept: list[float] = []
    assert post_event(NOWHERE, progress(id, 1), clock=clock, sleep=slept.append) == 0
    assert slept == []
    assert post_event(NOWHERE, complete(id), clock=clock, sleep=slept.append) == 0
    assert 0 < len(slept) <= 6


def test_the_next_post_reports_a_cancel_request(shared_hub: Hub, id: str, capsys: pytest.CaptureFixture[str]) -> None:
    post_event(shared_hub.url, start(id, lease_s=60.0))
    with HTTPClient(shared_hub.url) as api:
        assert api.cancel(id, "wrong file", 0).outcome == "unreachable"
    assert post_event(shared_hub.url, progress(id, 50)) == ExitCode.CANCEL_REQUESTED
    assert f"tidings report cancelled {id}" in capsys.readouterr().err
    line = OperationLogData(operation_id=id, message="still there")
    post = EventPost(operation_id=id, type=MessageType.OPERATION_LOG, payload=line)
    assert post_event(shared_hub.url, post) == ExitCode.CANCEL_REQUESTED


def test_a_hanging_hub_ends_at_the_timeout(id: str) -> None:
    with Hub() as hub:
        os.kill(hub.process.pid, signal.SIGSTOP)
        try:
            assert post_event(hub.url, progress(id, 1), timeout_s=0.3, strict=True) == ExitCode.NO_HUB
        finally:
            os.kill(hub.process.pid, signal.SIGCONT)


def test_producer_id_of_a_script_is_derived_from_the_operation_id() -> None:
    assert producer_of("a") == producer_of("a") != producer_of("b")
    assert len(producer_of("ü" * 255)) <= 64
    assert producer_of(b"\xff".decode(errors="surrogateescape")).isascii()
