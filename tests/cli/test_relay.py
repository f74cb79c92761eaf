"""`tidings relay` as a process, between a service that knows nothing of tidings and a hub."""

import json
import os
import re
import select
import signal
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.hub_log import datasets, read_log, until
from tests.cli.processes import TIMEOUT_S, Hub, Process, Terminal, environment, tidings
from tests.cli.serve.test_access import KeyHub
from tests.client.hub_server import HubServer
from tests.relay.foreign_service import ForeignService, envelope, joined, numbered
from websockets.sync.client import connect

AT = "2025-07-30T12:00:00.{:09d}Z"


class RelayProcess(Process):
    """`tidings relay`, and what it tells on stderr."""

    def __init__(
        self, service: ForeignService | Hub, hub: Hub | HubServer, *options: str, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("relay", service.url, "--to", hub.url, *options, env=env)
        self._told = b""

    def read_told(self, text: str) -> str:
        """Return everything that was told, once `text` was."""
        assert self.process.stderr is not None
        while text.encode() not in self._told:
            ready, _, _ = select.select([self.process.stderr], [], [], TIMEOUT_S)
            assert ready, f"{text!r} was not told: {self._told.decode()}"
            data = os.read(self.process.stderr.fileno(), 65536)
            assert data, f"the end came before {text!r}: {self._told.decode()}"
            self._told += data
        return self._told.decode()

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Return the exit code, and everything that was told."""
        self.signal(number)
        code, stdout, rest = self.wait()
        assert stdout == ""
        return code, self._told.decode() + rest


@pytest.fixture
def service() -> Iterator[ForeignService]:
    with ForeignService(remembers=10_000) as running:
        yield running


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("--log-level", "error") as running:
        yield running


def figure(told: str, name: str) -> int:
    """Return a figure of the last line that was told."""
    match = re.search(rf"([\d,]+) {name}", told.splitlines()[-1])
    return int(match[1].replace(",", "")) if match else 0


def operation(type: str, n: int, **data: Any) -> str:
    return envelope(f"operation:{type}", {"operation_id": "op-1", **data}, at=AT.format(n), channel="operations")


def test_a_browser_receives_the_same_events_from_hub_and_service(service: ForeignService, hub: Hub) -> None:
    said = [
        operation("start", 1, name="import", extra={"kept": [1.50]}),
        operation("progress", 2, progress=12.5, current_step="load", total_steps=2),
        operation("progress", 3, progress=50, current_step="parse", total_steps=2),
        operation("complete", 4),
        envelope("report:ready", {"report_id": "r", "url": "/r"}, at=AT.format(5), channel="data"),
        envelope("system:alert", {"code": "disk", "message": "full", "recoverable": True, "severity": "warning"},
                 at=AT.format(6), channel="global"),
    ]  # fmt: skip
    with RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        service.say(joined(said[:4]), said[4].encode(), said[5] + "\n")
        until(lambda: len(read_log(hub)) == 6)
        with connect(f"{hub.url}?since=first", proxy=None) as browser:
            read: list[dict[str, Any]] = []
            while not read or read[-1]["data"].get("code") != "disk":
                read.append(json.loads(browser.recv(timeout=TIMEOUT_S)))
        code, told = relay.stop()
    seen = [each for each in read if each["type"] not in ("connection:established", "operation:estimate")]
    seen = [each for each in seen if each["data"].get("source") != "tidings"]
    # A superseded progress may be skipped, and nothing else.
    wanted = [json.loads(each) for each in said if "12.5" not in each]
    assert [each for each in seen if each["data"].get("progress") != 12.5] == wanted
    assert {tuple(each) for each in seen} == {("type", "timestamp", "trace_id", "data", "channel")}
    assert code == 0
    assert (figure(told, "published"), figure(told, "addressed to this connection only"), figure(told, "read")) == (
        6,
        1,
        7,
    )


def test_events_repeated_after_a_restart_are_stored_once(service: ForeignService, hub: Hub) -> None:
    with RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        service.say(joined(numbered(1, 200)))
        until(lambda: len(datasets(hub)) == 200)
        service.restart()
        service.wait_accepted(2)
        service.say(*numbered(201, 300))
        until(lambda: len(datasets(hub)) == 300)
        service.close(1000, "deploying")
        service.wait_accepted(3)
        relay.read_told("the service closed the connection (1000): deploying")
        service.say(*numbered(301, 301))
        until(lambda: len(datasets(hub)) == 301)
        code, told = relay.stop(signal.SIGTERM)
    assert datasets(hub) == [f"d-{n}" for n in range(1, 302)]
    assert code == 0
    assert figure(told, "already in the hub") == 200 + 300


def test_a_relay_after_a_killed_one_continues_without_duplicates(service: ForeignService, hub: Hub) -> None:
    with RelayProcess(service, hub) as first:
        service.wait_accepted(1)
        service.say(*numbered(1, 500))
        until(lambda: len(datasets(hub)) > 20)
        first.process.kill()
    service.say(*numbered(501, 600))
    with RelayProcess(service, hub) as second:
        until(lambda: len(datasets(hub)) == 600)
        assert second.stop()[0] == 0
    assert datasets(hub) == [f"d-{n}" for n in range(1, 601)]


def test_a_killed_hub_receives_the_rest_after_its_restart(service: ForeignService, tmp_path: Path) -> None:
    options = ("--data", str(tmp_path), "--log-level", "error")
    with Hub(*options, memory=False) as hub, RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        service.say(joined(numbered(1, 300)))
        until(lambda: len(datasets(hub)) > 20)
        hub.process.kill()
        relay.read_told("the connection to the hub ended")
        service.say(joined(numbered(301, 600)))
        with Hub(*options, "--port", str(hub.port), memory=False) as again:
            until(lambda: len(datasets(again)) == 600)
            told = relay.read_told("connected to the hub")
            code, _ = relay.stop()
            assert datasets(again) == [f"d-{n}" for n in range(1, 601)]
    assert code == 0
    assert told.count("events wait until it answers") == 1


def test_a_burst_faster_than_the_hub_loses_no_event(service: ForeignService, hub: Hub) -> None:
    messages = [joined(numbered(n, n + 99)) for n in range(1, 12_001, 100)]
    with RelayProcess(service, hub, "--buffer", "1MiB") as relay:
        service.wait_accepted(1)
        service.say(*messages)
        until(lambda: datasets(hub)[-1:] == ["d-12000"])
        code, told = relay.stop()
    assert code == 0
    assert (figure(told, "published"), figure(told, "dropped because the backlog was full")) == (12_000, 0)
    assert datasets(hub) == [f"d-{n}" for n in range(1, 12_001)]


def test_invalid_messages_are_reported_once_per_kind(service: ForeignService, hub: Hub) -> None:
    with RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        for n in range(5):
            service.say(
                "garbage", '{"data":1}', b'{"type":"data:update","data":"\xff"}',
                envelope("data:updated", {}, at=AT.format(n)),
                envelope("data:update", {"dataset": n}, at=AT.format(n)),
                envelope("data:update", {"dataset": "elsewhere"}, at=AT.format(n), channel="system"),
                operation("error", n, code="x", message="late", recoverable=False),
            )  # fmt: skip
        service.say(*numbered(7, 7))
        until(lambda: "d-7" in datasets(hub))
        code, told = relay.stop()
    assert code == 0
    for text in (
        "invalid_json", "'garbage'", "invalid_envelope", "invalid_utf8",
        "Did you mean 'data:update'?", "the hub refuses data:updated",
        "the hub refuses data:update: $.data.dataset", "has the channel 'system': it is published to 'data'",
        "the hub refuses operation:error",
    ):  # fmt: skip
        # Both sides know of the nearest name: here before the hub has said anything, and the hub's own word.
        assert told.count(text) == (2 if "Did you mean" in text else 1), told
    assert (figure(told, "invalid"), figure(told, "of unknown types")) == (15, 5)
    assert figure(told, "refused") == 5 + 5 + 4, "of the ends, one ended it"
    stored = read_log(hub)
    assert [event["channel"] for event in stored if event["data"].get("dataset") == "elsewhere"] == ["data"] * 5
    assert [event["type"] for event in stored if event["channel"] == "operations"] == ["operation:failed"]


def test_a_lenient_hub_receives_unknown_types(service: ForeignService) -> None:
    with Hub("--lenient", "--log-level", "error") as hub, RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        service.say(envelope("trade:executed", {"price": 7}, channel="trades"))
        until(lambda: any(event["type"] == "trade:executed" for event in read_log(hub, channel="data")))
        code, told = relay.stop()
    assert code == 0
    assert "unknown type 'trade:executed'" in told
    assert figure(told, "published") == 1


def test_operations_without_a_holder_survive_the_death_of_the_service(service: ForeignService, hub: Hub) -> None:
    with RelayProcess(service, hub, "--prefix", "acme.") as relay:
        service.wait_accepted(1)
        service.say(joined([operation("start", 1, name="import", parent_id="op-0"), operation("log", 2, level="info",
                    message="at work")]))  # fmt: skip
        until(lambda: len(read_log(hub, channel="operations")) >= 2)
        service.stop()
        relay.read_told("no server answers at")
        figures = httpx.get(f"{hub.http}v1/operations/acme.op-1", trust_env=False).json()
        relay.process.kill()
    assert figures["state"] == "running"
    assert figures["parent_id"] == "acme.op-0"
    assert figures.get("producer_id") in (None, "")
    assert tidings("cancel", "acme.op-1", "--url", hub.url).returncode == 9, "nobody could be asked"


def test_statistics_are_printed_on_a_signal(service: ForeignService, hub: Hub) -> None:
    with RelayProcess(service, hub) as relay:
        service.wait_accepted(1)
        service.say(joined(numbered(1, 5)), envelope("data:updated", {}))
        until(lambda: len(datasets(hub)) == 5)
        relay.read_told("the hub refuses")
        relay.signal(signal.SIGUSR1)
        told = relay.read_told("unknown: data:updated")
        assert relay.stop()[0] == 0
    figures = {name: int(number) for number, name in re.findall(r"^ *(\d+)  (.+)$", told, re.MULTILINE)}
    assert figures["published"] == 5
    assert figures["envelopes in them"] == 7
    assert figures["connections to the service"] == 1
    assert figures["unknown: data:updated"] == 1


def test_a_terminal_shows_a_status_line(service: ForeignService, hub: Hub) -> None:
    with Terminal("relay", service.url, "--to", hub.url, columns=160) as terminal:
        service.wait_accepted(1)
        service.say(joined(numbered(1, 5)))
        terminal.wait_for("relaying: 6 read, 5 published, 1 addressed to this connection only")
        service.stop()
        terminal.wait_for("waiting for the service")
        terminal.press(b"\x03")
        assert terminal.wait() == 0


def test_credentials_are_sent_to_their_own_side_only(service: ForeignService, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("for-the-hub")
    token = ("--token-file", str(tmp_path / "token"))
    with RelayProcess(service, hub, "--header", "Cookie: session=s", *token) as relay:
        service.wait_accepted(1)
        assert relay.stop()[0] == 0
    (headers,) = service.headers
    assert headers["cookie"] == "session=s"
    assert "for-the-hub" not in str(headers)


def test_a_revoked_key_of_the_service_is_reported_once_and_ends_with_give_up(hub: Hub, tmp_path: Path) -> None:
    with KeyHub(tmp_path, "--log-level", "error") as source:
        key = source.add("reader", "read data")
        options = ("--header", f"Authorization: Bearer {key}", "--give-up", "2s")
        with RelayProcess(source, hub, *options) as relay:
            relay.read_told("connected to")
            source.revoke("reader")
            told = relay.read_told("(4001)")
            code, _, rest = relay.wait()
    told += rest
    assert code == 69
    assert told.count("retrying until it answers") <= 2
    assert told.count("connected to") <= 2
    assert "was revoked" in told.splitlines()[-2]
    assert key not in told


def test_a_revoked_key_for_the_hub_is_replaced_by_that_of_its_file(service: ForeignService, tmp_path: Path) -> None:
    with KeyHub(tmp_path / "hub", "--log-level", "error") as hub:
        file = tmp_path / "key"
        file.write_text(hub.add("relay", "publish data"))
        reader = hub.add("reader", "read data")
        with RelayProcess(service, hub, "--token-file", str(file)) as relay:
            service.wait_accepted(1)
            service.say(*numbered(1, 3))
            until(lambda: relayed(hub, reader) == 3)
            hub.revoke("relay")
            relay.read_told("was revoked at")
            relay.read_told("events wait until there is another token")
            service.say(*numbered(4, 6))
            file.write_text(hub.add("relay", "publish data"))
            relay.read_told("connected to the hub")
            until(lambda: relayed(hub, reader) == 6)
            code, told = relay.stop()
    assert code == 0
    assert figure(told, "published") == 6
    assert "tdk_" not in told


def relayed(hub: KeyHub, key: str) -> int:
    """Return the number of updates in a hub, as the holder of a key sees it."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.get(f"{hub.http}v1/events", params={"channel": "data", "since": "first"}, headers=headers)
    return len(answer.json()["events"])


def test_a_refused_key_for_the_hub_ends_the_relay_with_its_reason(service: ForeignService, tmp_path: Path) -> None:
    with KeyHub(tmp_path, "--log-level", "error") as hub:
        key = hub.add("relay", "publish data")
        with RelayProcess(service, hub, env=environment(TIDINGS_TOKEN=key)) as relay:
            service.wait_accepted(1)
            hub.revoke("relay")
            code, _, told = relay.wait()
    assert code == 77
    assert "was revoked at" in told
    assert key not in told


def test_unsent_events_exit_with_1(service: ForeignService) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"ws://127.0.0.1:{reserved.getsockname()[1]}/ws"
        with Process("relay", service.url, "--to", address) as relay:
            service.wait_accepted(1)
            service.say(*numbered(1, 3))
            service.drop()
            service.wait_accepted(2)
            relay.signal(signal.SIGINT)
            code, _, told = relay.wait()
    assert code == 1
    assert figure(told, "waiting") > 0


def test_an_unreachable_service_ends_the_relay_only_with_give_up(hub: Hub) -> None:
    done = tidings("relay", "ws://127.0.0.1:1/", "--to", hub.url, "--give-up", "0s")
    assert done.returncode == 69
    assert "error: no server answers at 127.0.0.1:1: Connection refused" in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("ws://127.0.0.1:1/ws", "--to", "ws://127.0.0.1:1/ws"), "cannot be relayed into itself"),
        (("ftp://x",), "invalid WebSocket URL 'ftp://x'"),
        (("ws://x", "--header", "no header"), "invalid header 'no header': expected NAME:VALUE"),
        (("ws://x", "--buffer", "much"), "--buffer"),
        (("ws://x", "--give-up", "soon"), "--give-up"),
        (("ws://x", "--to", "ws://x:0"), "expected a port from 1 to 65535"),
    ],
)
def test_an_invalid_command_line_exits_with_2(arguments: tuple[str, ...], error: str) -> None:
    done = tidings("relay", *arguments)
    assert done.returncode == 2
    assert error in done.stderr
