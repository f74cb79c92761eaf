import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cli.processes import TIMEOUT_S, environment, limited_by_permissions, tidings
from tests.client.hub_server import HubServer
from tests.producer.held import told
from tests.producer.older_hub import serve_no_leases
from tests.test_private_folder import ROOT_ONLY

LEAVE = (
    "import sys\n"
    "from tidings.producer.outbox.outbox import Outbox\n"
    "outbox = Outbox(sys.argv[1])\n"
    "outbox.put_nowait('operation:start', {'operation_id': sys.argv[2], 'name': 'import'})\n"
    "outbox.put_nowait('operation:complete', {'operation_id': sys.argv[2]})\n"
    "print(outbox.producer_id)\n"
)
NOWHERE = "ws://127.0.0.1:1/ws"


@pytest.fixture
def leave(tmp_path: Path) -> Callable[[str, str], str]:
    """Lets a program report one operation to nobody and end; returns the producer's name."""

    def run(url: str, operation_id: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LEAVE, url, operation_id],
            env=environment(TIDINGS_SPOOL=str(tmp_path)),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        )
        return done.stdout.strip()

    return run


def test_unsent_events_are_sent_and_counted(leave: Callable[[str, str], str], tmp_path: Path) -> None:
    with HubServer() as hub:
        port = hub.port
    url = f"ws://127.0.0.1:{port}/ws"
    producer_id = leave(url, "op-1")
    with HubServer(port) as hub:
        done = tidings("flush", "--url", url, TIDINGS_SPOOL=str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{producer_id}: 2 sent\n", "")
        assert [(kind, data["operation_id"]) for kind, data in told(hub)] == [("start", "op-1"), ("complete", "op-1")]
        again = tidings("flush", "--url", url, TIDINGS_SPOOL=str(tmp_path))
        assert (again.returncode, again.stdout) == (0, "nothing to send\n")
    assert list(tmp_path.iterdir()) == []


@ROOT_ONLY
def test_events_of_another_user_stay_and_are_named(leave: Callable[[str, str], str], tmp_path: Path) -> None:
    leave(NOWHERE, "op-1")
    os.chown(tmp_path, 12_345, 12_345)
    done = tidings("flush", "--url", NOWHERE, TIDINGS_SPOOL=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: the events in {tmp_path} are still unsent: it belongs to #12345" in done.stderr
    assert "hint: Run it as that user: `sudo -u '#12345' tidings flush`." in done.stderr
    assert len(list(tmp_path.glob("*.ndjson"))) == 1


@ROOT_ONLY
def test_file_that_only_another_user_reads_is_named(leave: Callable[[str, str], str], tmp_path: Path) -> None:
    leave(NOWHERE, "op-1")
    (path,) = tmp_path.glob("*.ndjson")
    path.chmod(0)
    done = tidings("flush", "--url", NOWHERE, TIDINGS_SPOOL=str(tmp_path), wrapper=limited_by_permissions())
    assert done.returncode == 1
    assert f"error: the events in {path} are still unsent: only root may read and change it" in done.stderr
    assert f"sudo chown $USER {path}" in done.stderr


def test_rejected_event_is_set_aside_and_printed(leave: Callable[[str, str], str], tmp_path: Path) -> None:
    with HubServer() as hub:
        port = hub.port
    url = f"ws://127.0.0.1:{port}/ws"
    producer_id = leave(url, "op-1")
    (spooled,) = tmp_path.iterdir()
    spooled.write_bytes(spooled.read_bytes().replace(b'"name":"import"', b'"name":' + b"[" * 70 + b"]" * 70, 1))
    with HubServer(port) as hub:
        done = tidings("flush", "--url", url, TIDINGS_SPOOL=str(tmp_path))
        aside = spooled.with_suffix(".rejected")
        printed = f"{producer_id}: 1 sent, 1 rejected, now in {aside}\n"
        assert (done.returncode, done.stdout) == (0, printed)
        assert [kind for kind, _ in told(hub)] == ["complete"]
        again = tidings("flush", "--url", url, TIDINGS_SPOOL=str(tmp_path))
        assert (again.returncode, again.stdout) == (0, "nothing to send\n")
    assert list(tmp_path.iterdir()) == [aside]


def test_flush_with_nothing_to_send_needs_no_hub(tmp_path: Path) -> None:
    done = tidings("flush", "--url", NOWHERE, TIDINGS_SPOOL=str(tmp_path / "none"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to send\n", "")


def test_flush_without_a_hub_keeps_everything_and_reports_the_reason(
    leave: Callable[[str, str], str], tmp_path: Path
) -> None:
    producer_id = leave(NOWHERE, "op-1")
    done = tidings("flush", TIDINGS_URL=NOWHERE, TIDINGS_SPOOL=str(tmp_path))
    assert (done.returncode, done.stdout) == (69, f"{producer_id}: 2 left\n")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: 2 events are still unsent: no hub answers at 127.0.0.1:1")
    assert hint.startswith("hint: ")
    assert len(list(tmp_path.iterdir())) == 1


def test_two_concurrent_flushes_send_each_event_once(leave: Callable[[str, str], str], tmp_path: Path) -> None:
    with HubServer() as hub:
        port = hub.port
    url = f"ws://127.0.0.1:{port}/ws"
    for number in range(4):
        leave(url, f"op-{number}")
    with HubServer(port) as hub, ThreadPoolExecutor(2) as two:
        flushes = [two.submit(tidings, "flush", "--url", url, TIDINGS_SPOOL=str(tmp_path)) for _ in range(2)]
        results = [flush.result() for flush in flushes]
        assert [done.returncode for done in results] == [0, 0]
        lines = [line for done in results for line in done.stdout.splitlines() if line.endswith("sent")]
        assert len(lines) == 4
        assert len(told(hub)) == 8
    assert list(tmp_path.iterdir()) == []


def test_flush_works_with_a_hub_without_producers(
    leave: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_no_leases(monkeypatch)
    with HubServer() as hub:
        port = hub.port
    url = f"ws://127.0.0.1:{port}/ws"
    leave(url, "op-1")
    with HubServer(port) as hub:
        assert tidings("flush", "--url", url, TIDINGS_SPOOL=str(tmp_path)).returncode == 0
        assert [kind for kind, _ in told(hub)] == ["start", "complete"]


@pytest.mark.parametrize("arguments", [("--url", "ftp://x"), ("--timeout", "0")])
def test_an_unusable_argument_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert tidings("flush", *arguments).returncode == 2
