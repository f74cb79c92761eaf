import signal
import uuid

import pytest
from tests.cli.processes import Hub, Process, tidings
from tests.cli.test_wait_waiting import tell


def test_wait_returns_at_the_end_with_its_outcome(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    with Process("wait", id, "--url", shared_hub.url) as process:
        tell(shared_hub, "start", id, name="slow")
        tell(shared_hub, "failed", id, code="bad_row", message="row 7", recoverable=False)
        code, stdout, _ = process.wait()
    assert code == 3
    assert stdout.startswith("failed ")
    assert stdout.endswith(": bad_row — row 7\n")


def test_until_ended_accepts_any_end(shared_hub: Hub) -> None:
    id = uuid.uuid4().hex
    tell(shared_hub, "cancelled", id, reason="wrong file")
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
        tell(shared_hub, "start", id)
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
