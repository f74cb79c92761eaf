"""`tidings serve` while its log opens: it answers, ends at a signal, and fails as ever."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import Hub, Process
from tests.cli.serve.slow_hub import SlowHub

import tidings
from tidings.protocol.messages import Accepted

EVENT = {"type": "data:update", "data": {"dataset": "d"}}


def test_hub_answers_while_its_log_opens_and_is_ready_when_it_is_open(tmp_path: Path) -> None:
    with SlowHub(tmp_path) as hub:
        assert (hub.ready.status_code, hub.ready.json()["code"]) == (503, "log_opening")
        assert hub.ready.json()["message"] == "the hub is opening its log: 312,000 of 500,000 rows read"
        assert "retry-after" in hub.ready.headers
        assert httpx.get(f"{hub.http}/healthz").status_code == 200
        assert httpx.post(f"{hub.http}/v1/events", json=EVENT).status_code == 503
        hub.release()
        assert hub.read_line() == f"{hub.url} {hub.http}/\n"
        assert httpx.get(f"{hub.http}/readyz").status_code == 200
        assert httpx.post(f"{hub.http}/v1/events", json=EVENT).status_code == 200
        hub.signal(signal.SIGTERM)
        code, stdout, stderr = hub.wait()
    assert (code, stdout) == (0, "")
    assert "rows=500000 rows_read=312000" in stderr
    assert stderr.index("opening the log") < stderr.index("log opened") < stderr.index("hub ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_the_log_opens_ends_the_hub_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with SlowHub(tmp_path) as hub, httpx.Client() as kept_alive:
        assert kept_alive.get(f"{hub.http}/healthz").status_code == 200
        hub.signal(number)
        code, stdout, stderr = hub.wait()
    assert (code, stdout) == (0, ""), stderr
    assert "hub stopped" in stderr
    assert "Traceback" not in stderr
    assert "log opened" not in stderr


def test_reload_while_the_log_opens_is_harmless(tmp_path: Path) -> None:
    with SlowHub(tmp_path) as hub:
        hub.signal(signal.SIGHUP)
        hub.release()
        assert hub.read_line() == f"{hub.url} {hub.http}/\n"


def test_log_that_cannot_be_opened_ends_the_hub_as_one_that_fails_quickly(tmp_path: Path) -> None:
    with Hub("--data", str(tmp_path / "data"), memory=False) as owner, SlowHub(tmp_path) as second:
        second.release()
        slow = second.wait()
        with Process("serve", "--port", "0", "--data", str(tmp_path / "data")) as third:
            quick = third.wait()
        pid = owner.process.pid
    assert slow[:2] == quick[:2] == (1, "")
    expected = f"error: another hub (process {pid}) uses the data folder {tmp_path / 'data'}"
    for stderr in (slow[2], quick[2]):
        lines = stderr.splitlines()
        assert any(line.startswith("error:") for line in lines), stderr
        assert expected in " ".join(lines).replace("  ", " "), stderr
        assert "Traceback" not in stderr


async def test_client_that_comes_while_the_log_opens_comes_back(tmp_path: Path) -> None:
    with SlowHub(tmp_path) as hub:
        waiting = asyncio.Event()
        reasons: list[str] = []

        def changed(status: tidings.Status) -> None:
            if status.error is not None:
                reasons.append(str(status.error))
                waiting.set()

        connecting = asyncio.ensure_future(_publish_one(hub.url, changed))
        await waiting.wait()
        hub.release()
        assert (await connecting).duplicate is False
    assert "the hub is opening its log: 312,000 of 500,000 rows read" in reasons[0]


async def _publish_one(url: str, changed: Callable[[tidings.Status], None]) -> Accepted:
    async with tidings.connect(url, wait_for_hub=True, on_change=changed) as client:
        return await client.publish("data:update", {"dataset": "d"})
