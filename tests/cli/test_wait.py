import contextlib
import itertools
import signal
import uuid
from collections.abc import Callable

import pytest
from tests.cli.processes import Hub, Process, publish_operation, tidings
from tests.client.http_server import http_server

from tidings.cli.errors import FAILED as FAILED_WAIT
from tidings.cli.errors import ExitCode
from tidings.cli.wait import OperationWait, Until
from tidings.client.http import HTTPClient
from tidings.exceptions import Forbidden, NotAHub
from tidings.operations.lifecycle import OperationState


def test_wait_returns_at_the_end_with_its_outcome(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    with Process("wait", id, "--url", shared_hub.url) as process:
        publish_operation(shared_hub, "start", id, name="slow")
        publish_operation(shared_hub, "failed", id, code="bad_row", message="row 7", recoverable=False)
        code, stdout, _ = process.wait()
    assert code == 3
    assert stdout.startswith("failed ")
    assert stdout.endswith(": bad_row — row 7\n")


def test_until_ended_accepts_any_end(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    publish_operation(shared_hub, "cancelled", id, reason="wrong file")
    assert tidings("wait", id, "--url", shared_hub.url).returncode == 4
    done = tidings("wait", id, "--until", "ended", "--url", shared_hub.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": wrong file\n")


@pytest.mark.parametrize(
    ("begun", "code", "error"), [(True, 124, "did not reach complete"), (False, 5, "no operation")]
)
def test_a_timeout_is_reported(shared_hub: Hub, begun: bool, code: int, error: str) -> None:
    id = uuid.uuid4().hex
    if begun:
        publish_operation(shared_hub, "start", id)
    done = tidings("wait", id, "--timeout", "300ms", "--url", shared_hub.url)
    assert done.returncode == code
    assert f"within {'300ms'}" in done.stderr
    assert error in done.stderr
    assert done.stdout.startswith("running: ") if begun else done.stdout == ""
    quiet = tidings("wait", id, "--timeout", "0", "--quiet", "--url", shared_hub.url)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (code, "", "")


def test_ctrl_c_exits_with_130(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    with Process("wait", id, "--url", shared_hub.url) as process:
        assert process.process.stderr is not None
        assert b"there is no operation" in process.process.stderr.readline()
        process.signal(signal.SIGINT)
        assert process.wait()[0] == 130


def test_an_unreachable_hub_exits_with_69() -> None:
    done = tidings("wait", "x", "--timeout", "100ms", "--url", "ws://127.0.0.1:1/ws")
    assert done.returncode == 69
    assert "no hub answers" in done.stderr


def test_help_lists_the_exit_codes() -> None:
    shown = " ".join(tidings("wait", "--help").stdout.split())
    for code in ("0", "3", "4", "5", "69", "124"):
        assert f"{code}: " in shown


class Rig:
    """A wait whose pauses are moments at which something happens."""

    def __init__(
        self, api: HTTPClient, until: Until = Until.COMPLETE, id: str | None = None, *, step_s: float = 0.01
    ) -> None:
        self.id = id or uuid.uuid4().hex
        self.reports: list[str] = []
        self.pauses: list[float] = []
        self.happens: list[Callable[[], None]] = []
        self.waiting = OperationWait(
            api,
            self.id,
            until,
            report=self.reports.append,
            clock=itertools.count(0.0, step_s).__next__,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.happens:
            self.happens.pop(0)()


def test_an_operation_that_has_not_begun_is_awaited(shared_hub: Hub) -> None:
    with HTTPClient(shared_hub.url) as api:
        rig = Rig(api, Until.RUNNING)
        rig.happens = [
            lambda: None,
            lambda: publish_operation(shared_hub, "start", rig.id, queued=True),
            lambda: publish_operation(shared_hub, "start", rig.id),
        ]
        assert rig.waiting.wait(None) is ExitCode.SUCCESS
    assert rig.reports == [f"there is no operation {rig.id!r} yet; waiting for it"]
    assert rig.waiting.operation is not None
    assert rig.waiting.operation.state == "running"


def test_wait_continues_over_a_restart_of_the_hub(tmp_path: object) -> None:
    options = ("--data", str(tmp_path), "--log-level", "error")
    with Hub(*options, memory=False) as first:
        port = first.port
        publish_operation(first, "start", "op")
        with HTTPClient(first.url) as api:
            assert api.operation("op").state == "running"
    hubs: list[Hub] = []

    def restart() -> None:
        hubs.append(Hub("--port", str(port), *options, memory=False).__enter__())
        publish_operation(hubs[0], "complete", "op")

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
        publish_operation(shared_hub, verb, rig.id, **data)
        assert rig.waiting.wait(None) is code
        assert rig.pauses == []


def test_a_timeout_has_the_exit_code_of_its_reason(shared_hub: Hub) -> None:
    with HTTPClient(shared_hub.url) as api:
        never = Rig(api)
        assert never.waiting.wait(0) is ExitCode.UNKNOWN_OPERATION
        slow = Rig(api)
        publish_operation(shared_hub, "start", slow.id)
        assert slow.waiting.wait(0) is ExitCode.TIMED_OUT
        assert slow.waiting.operation is not None
    with HTTPClient("ws://127.0.0.1:1/ws") as api:
        away = Rig(api)
        assert away.waiting.wait(0.2) is ExitCode.NO_HUB
        assert "no hub answers" in away.waiting.obstacle


def test_an_operation_that_was_seen_times_out_instead_of_unknown(shared_hub: Hub) -> None:
    with Hub() as hub, HTTPClient(hub.url) as api:
        rig = Rig(api)
        publish_operation(hub, "start", rig.id)
        rig.happens = [lambda: hub.signal(9)]
        assert rig.waiting.wait(0.05) is ExitCode.TIMED_OUT


@pytest.mark.parametrize("restored", [False, True])
def test_an_operation_that_a_restarted_hub_has_lost_ends_the_wait(restored: bool) -> None:
    with Hub("--log-level", "error") as first, contextlib.ExitStack() as stack, HTTPClient(first.url) as api:
        publish_operation(first, "start", "lost")
        port = str(first.port)

        def kill() -> None:
            first.signal(signal.SIGKILL)
            first.wait()

        def restart() -> None:
            hub = stack.enter_context(Hub("--log-level", "error", "--port", port))
            if restored:  # the producer is alive
                rig.happens = [lambda: None, lambda: publish_operation(hub, "complete", "lost")]

        rig = Rig(api, id="lost", step_s=0.01 if restored else 9.0)
        rig.happens = [kill, restart]
        assert rig.waiting.wait(None) == (ExitCode.SUCCESS if restored else FAILED_WAIT)
        assert "the hub no longer has operation 'lost'; waiting 20 s for its producer" in rig.reports


def test_a_foreign_server_ends_the_wait() -> None:
    with http_server(b"<html>") as url, HTTPClient(url) as api, pytest.raises(NotAHub):
        Rig(api).waiting.wait(None)


def test_a_permanent_refusal_ends_the_wait() -> None:
    refusal = b'{"code": "forbidden", "message": "not yours", "recoverable": false}'
    with http_server(refusal, 403) as url, HTTPClient(url) as api, pytest.raises(Forbidden, match="not yours"):
        Rig(api).waiting.wait(None)


def test_a_temporary_refusal_continues_the_wait() -> None:
    busy = b'{"code": "draining", "message": "the hub is shutting down", "recoverable": true}'
    with http_server(busy, 503) as url, HTTPClient(url) as api:
        rig = Rig(api)
        assert rig.waiting.wait(1) is ExitCode.NO_HUB
    assert rig.reports == ["the hub is shutting down; waiting for it"]
    assert len(rig.pauses) > 1


SUCCESS, FAILED, CANCELLED = ExitCode.SUCCESS, ExitCode.FAILED, ExitCode.CANCELLED


@pytest.mark.parametrize(
    ("until", "codes"),
    [
        (Until.COMPLETE, [None, None, SUCCESS, FAILED, CANCELLED]),
        (Until.ENDED, [None, None, SUCCESS, SUCCESS, SUCCESS]),
        (Until.RUNNING, [None, SUCCESS, SUCCESS, FAILED, CANCELLED]),
    ],
)
def test_each_state_has_an_exit_code_or_continues_the_wait(until: Until, codes: list[ExitCode | None]) -> None:
    assert [until.find_exit_code(state) for state in OperationState] == codes
