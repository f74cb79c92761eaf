import itertools
import os
import signal
import tempfile
import uuid
from pathlib import Path

import msgspec
import pytest
from tests.cli.processes import Hub, tidings

from tidings.cli.errors import ExitCode
from tidings.cli.report.delivery import EventPost, Stage, post_event, producer_of
from tidings.client.http import HTTPClient
from tidings.exceptions import OperationUnknown
from tidings.operations.views import OperationDetail
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationCompleteData, OperationLogData, OperationProgressData, OperationStartData

NOWHERE = "ws://127.0.0.1:1/ws"


@pytest.fixture
def id() -> str:
    return f"script/{uuid.uuid4()}"


def start(id: str, **more: object) -> EventPost:
    payload = OperationStartData(operation_id=id, name="script")
    return EventPost(operation_id=id, type=MessageType.OPERATION_START, payload=payload, stage=Stage.START, **more)  # type: ignore[arg-type]


def progress(id: str, percent: float) -> EventPost:
    payload = OperationProgressData(operation_id=id, progress=percent)
    return EventPost(operation_id=id, type=MessageType.OPERATION_PROGRESS, payload=payload, stage=Stage.UPDATE)


def complete(id: str, *, create: bool = False) -> EventPost:
    payload = OperationCompleteData(operation_id=id)
    return EventPost(
        operation_id=id, type=MessageType.OPERATION_COMPLETE, payload=payload, stage=Stage.END, create=create
    )


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
    post_event(shared_hub.url, complete(id, create=True))
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
        assert post_event(f"http://127.0.0.1:{port}", complete(id, create=True), strict=True, sleep=sleep) == 0
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
    assert post_event(NOWHERE, complete(id, create=True), clock=clock, sleep=slept.append) == 0
    assert 0 < len(slept) <= 6


def test_the_next_post_reports_a_cancel_request(shared_hub: Hub, id: str, capsys: pytest.CaptureFixture[str]) -> None:
    post_event(shared_hub.url, start(id, lease_s=60.0))
    with HTTPClient(shared_hub.url) as api:
        assert api.cancel(id, "wrong file", 0).outcome == "unreachable"
    assert post_event(shared_hub.url, progress(id, 50)) == ExitCode.CANCEL_REQUESTED
    assert f"tidings report cancelled {id}" in capsys.readouterr().err
    line = OperationLogData(operation_id=id, message="still there")
    post = EventPost(operation_id=id, type=MessageType.OPERATION_LOG, payload=line, stage=Stage.UPDATE)
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


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool folder that no other test uses."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("TIDINGS_SPOOL", str(folder))
    return folder


@pytest.fixture
def away() -> str:
    """The address of a hub that does not run yet."""
    with Hub() as hub:
        return hub.url


def on_port(url: str) -> Hub:
    return Hub("--port", url.split("/")[2].rpartition(":")[2])


def kept(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def test_a_run_without_a_hub_is_sent_whole_by_flush(
    spool: Path, away: str, id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [post_event(away, post, timeout_s=0.2) for post in (start(id), progress(id, 42), complete(id))] == [0, 0, 0]
    started, progressed, ended = capsys.readouterr().err.splitlines()
    assert started.startswith("tidings: operation:start is kept on disk, and sent when a hub answers: no hub answers")
    assert progressed.startswith("tidings: operation:progress was not reported")
    assert ended.startswith("tidings: operation:complete is kept on disk")
    with on_port(away) as hub:
        assert tidings("flush", "--url", hub.url, TIDINGS_SPOOL=str(spool)).returncode == 0
        operation = known(hub, id)
    assert (operation.state, operation.name, operation.attempt) == ("complete", "script", 1)
    assert kept(spool) == []


def test_a_start_without_a_hub_is_sent_by_the_next_command(spool: Path, away: str, id: str) -> None:
    assert post_event(away, start(id), timeout_s=0.2) == 0
    with on_port(away) as hub:
        assert post_event(hub.url, progress(id, 42)) == 0
        running = known(hub, id)
        assert (running.state, running.name, running.progress) == ("running", "script", 42)
        assert post_event(hub.url, complete(id)) == 0
        assert (known(hub, id).state, known(hub, id).attempt) == ("complete", 1)
    assert kept(spool) == []


@pytest.mark.parametrize("lease_s", [None, 60.0])
def test_a_flushed_start_leaves_the_operation_as_the_script_began_it(
    spool: Path, away: str, id: str, lease_s: float | None
) -> None:
    assert post_event(away, start(id, lease_s=lease_s), timeout_s=0.2) == 0
    with on_port(away) as hub:
        assert tidings("flush", "--url", hub.url, TIDINGS_SPOOL=str(spool)).returncode == 0
        running = known(hub, id)
        assert (running.state, running.lease_s) == ("running", lease_s)
        assert running.producer_id == (None if lease_s is None else producer_of(id))
        assert post_event(hub.url, complete(id), strict=True) == 0
        assert known(hub, id).state == "complete"


def test_an_end_that_no_hub_took_is_kept_and_sent_by_the_next_script(spool: Path, id: str) -> None:
    with Hub() as first:
        assert post_event(first.url, start(id)) == 0
        url = first.url
    assert post_event(url, complete(id), timeout_s=0.2) == 0
    with on_port(url) as hub:
        assert post_event(hub.url, start(f"{id}/next")) == 0
        assert post_event(hub.url, complete(f"{id}/next")) == 0
        assert known(hub, id).state == "complete"
    assert kept(spool) == []


@pytest.mark.parametrize("post", [progress("nosuch", 5), complete("nosuch")])
def test_an_operation_that_was_never_started_is_an_error(
    shared_hub: Hub, spool: Path, post: EventPost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert post_event(shared_hub.url, post) == ExitCode.UNKNOWN_OPERATION
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: no such operation: 'nosuch'"
    assert "--create" in hint
    with HTTPClient(shared_hub.url) as api, pytest.raises(OperationUnknown):
        api.operation("nosuch")


def test_an_end_without_hub_and_start_is_an_error_that_names_both(
    spool: Path, id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert post_event(NOWHERE, complete(id), timeout_s=0.2) == ExitCode.NO_HUB
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: no hub answers at 127.0.0.1:1")
    assert error.endswith(f"and operation {id!r} was not started on this machine")
    assert "--create" in hint
    assert post_event(NOWHERE, complete(id, create=True), timeout_s=0.2) == 0
    assert kept(spool) == [".ndjson"]


def test_a_strict_start_without_a_hub_is_not_sent_later(spool: Path, id: str) -> None:
    assert post_event(NOWHERE, start(id), timeout_s=0.2, strict=True) == ExitCode.NO_HUB
    assert not spool.exists() or kept(spool) == []


def test_follow_ups_of_a_leased_operation_are_not_refused_first(spool: Path, id: str) -> None:
    with Hub("--log-level", "info") as hub:
        for post in (start(id, lease_s=60.0), progress(id, 42), complete(id)):
            assert post_event(hub.url, post, strict=True) == 0
        _, _, log = hub.stop()
    assert "post refused" not in log


def test_a_spool_that_cannot_be_written_does_not_stop_the_report(
    shared_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TIDINGS_SPOOL", str(tmp_path / "file" / "spool"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert [post_event(shared_hub.url, post) for post in (start(id), complete(id))] == [0, 0]
    assert known(shared_hub, id).state == "complete"
