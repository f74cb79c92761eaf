import asyncio
import json
import signal
import socket
from pathlib import Path

import pytest
import trustme
from tests.cli.doctor.servers import answering, http, speaking, stripping_proxy, tls_of
from tests.cli.processes import Hub, Process, tidings
from tests.cli.serve.slow_hub import SlowHub
from websockets.sync.server import ServerConnection

from tidings.cli.doctor import handshake, network, session
from tidings.cli.doctor.command import run_checks
from tidings.cli.doctor.finding import CheckResult, CheckStatus


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what never answers not hold the tests up."""
    for module in (network, handshake, session):
        monkeypatch.setattr(module, "TIMEOUT_S", 0.5)


def findings(url: str) -> dict[str, CheckResult]:
    async def collect() -> dict[str, CheckResult]:
        return {finding.check: finding async for finding in run_checks(url)}

    return asyncio.run(collect())


def verdicts(found: dict[str, CheckResult]) -> dict[str, str]:
    return {check: str(finding.verdict) for check, finding in found.items()}


def test_a_healthy_hub_passes_every_check(shared_hub: Hub) -> None:
    found = findings(shared_hub.url)
    assert set(verdicts(found).values()) == {"good"}
    assert list(found) == [
        "url",
        "name",
        "tcp",
        "healthz",
        "readyz",
        "websocket",
        "subprotocol",
        "contract",
        "access",
        "clock",
        "round trip",
        "idle",
    ]
    assert "as ours" in found["contract"].summary
    assert "every 25s" in found["idle"].summary


def test_an_http_url_is_read_as_the_websocket(shared_hub: Hub) -> None:
    found = findings(f"http://127.0.0.1:{shared_hub.port}")
    assert found["url"].summary == f"ws://127.0.0.1:{shared_hub.port}/ws"
    assert found["websocket"].verdict is CheckStatus.GOOD


def test_passwords_are_not_shown() -> None:
    report = tidings("doctor", "ws://me:secret@127.0.0.1:1/ws").stdout
    assert "ws://me:...@127.0.0.1:1/ws" in report
    assert "secret" not in report


@pytest.mark.parametrize("url", ["", "gopher://x", "ws://", "ws://h:99999/ws", "ws://h/ws#x"])
def test_an_invalid_url_ends_the_checks(url: str) -> None:
    found = findings(url)
    assert verdicts(found) == {"url": "bad"}
    assert found["url"].hint


def test_a_closed_port_is_bad_and_later_checks_are_skipped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = findings(f"ws://127.0.0.1:{port}/ws")
    assert found["tcp"].verdict is CheckStatus.BAD
    assert "connection refused" in found["tcp"].summary
    assert "tidings serve" in found["tcp"].hint
    assert {found[check].verdict for check in list(found)[3:]} == {CheckStatus.SKIPPED}
    assert "tls" not in found


def test_a_name_without_an_address_is_bad() -> None:
    found = findings("wss://no-such-host.invalid/ws")
    assert found["name"].verdict is CheckStatus.BAD
    assert found["tls"].verdict is CheckStatus.SKIPPED


def test_a_hub_that_opens_its_log_is_not_taken_for_another_server(tmp_path: Path) -> None:
    with SlowHub(tmp_path) as hub:
        found = findings(hub.url)
    assert found["healthz"].verdict is found["websocket"].verdict is CheckStatus.GOOD
    for check in ("readyz", "contract"):
        assert found[check].verdict is CheckStatus.BAD
        assert "the hub is opening its log: 312,000 of 500,000 rows read" in found[check].summary
        assert "wait" in found[check].hint.lower()
    assert found["access"].verdict is CheckStatus.SKIPPED


def test_a_proxy_that_strips_the_upgrade_is_recognised(shared_hub: Hub) -> None:
    with answering(stripping_proxy(shared_hub.port)) as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    assert found["healthz"].verdict is CheckStatus.GOOD
    assert found["websocket"].verdict is CheckStatus.BAD
    assert "proxy_set_header Upgrade" in found["websocket"].hint
    assert found["contract"].verdict is CheckStatus.SKIPPED


@pytest.mark.parametrize(
    ("answer", "summary", "hint"),
    [
        (http("400 Bad Request", "Server: nginx"), "400 by nginx", "proxy_set_header Upgrade"),
        (http("404 Not Found"), "no WebSocket at this path", "/ws"),
        (http("426 Upgrade Required"), "without an upgrade", "proxy_set_header Upgrade"),
        (http("502 Bad Gateway", "Server: nginx"), "502 by nginx: a proxy cannot reach the hub", "forwards to"),
        (http("504 Gateway Timeout"), "504", "forwards to"),
        (http("503 Service Unavailable"), "503", "try again"),
        (http("401 Unauthorized"), "401", "login"),
        (http("403 Forbidden"), "403", "--allow-origin"),
        (http("200 OK", body="<html>"), "an ordinary page", "Upgrade"),
        (http("418 Odd"), "418", "log"),
        (http("301 Moved", "Location: https://h/ws"), "redirected", "wss://h/ws"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), "not HTTP/1.1", "HTTP/2 only"),
        (b"SSH-2.0-OpenSSH_9\r\n", "not HTTP/1.1", "not a web server"),
        (b"", "not HTTP/1.1", "not a web server"),
    ],
)
def test_a_refused_upgrade_is_explained(answer: bytes, summary: str, hint: str) -> None:
    with answering(lambda head: answer) as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    websocket = found["websocket"]
    assert websocket.verdict is CheckStatus.BAD
    assert summary in websocket.summary
    assert hint in websocket.hint
    assert found["round trip"].verdict is CheckStatus.SKIPPED


def test_a_name_that_the_hub_does_not_know_is_explained() -> None:
    body = (
        '{"code":"origin_refused","message":"unknown host name \'hub\'","recoverable":false,"hint":"--allow-host hub"}'
    )
    with answering(lambda head: http("403 Forbidden", body=body)) as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    for name in ("healthz", "readyz", "websocket"):
        assert found[name].summary == "403 by the hub: unknown host name 'hub' (origin_refused)"
        assert found[name].hint == "--allow-host hub"


def test_a_silent_server_is_bad() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = findings(f"ws://127.0.0.1:{server.getsockname()[1]}/ws")
    assert found["tcp"].verdict is CheckStatus.GOOD
    assert found["websocket"].verdict is CheckStatus.BAD
    assert "no answer within" in found["websocket"].summary


def test_a_websocket_of_another_service_is_bad() -> None:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with speaking(echo) as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    assert found["websocket"].verdict is CheckStatus.GOOD
    assert found["subprotocol"].verdict is CheckStatus.BAD
    assert "Sec-WebSocket-Protocol" in found["subprotocol"].hint


def established(**changes: object) -> str:
    data = {
        "connection_id": "c",
        "contract": {"version": "2025-07-30", "hash": "sha256:other"},
        "position": "a:0",
        "now": "2025-07-30T12:00:00Z",
        "heartbeat_s": 120.0,
        "channels": ["global"],
        "auth": "none",
        **changes,
    }
    return json.dumps({"type": "connection:established", "timestamp": "2025-07-30T12:00:00Z", "data": data})


def test_another_contract_a_wrong_clock_and_a_slow_heartbeat_are_reported() -> None:
    def speak(connection: ServerConnection) -> None:
        connection.send(established())
        for message in connection:
            reply = {"type": "connection:pong", "reply_to": json.loads(message)["id"]}
            connection.send(json.dumps({**reply, "data": {"now": "2025-07-30T12:00:00Z"}}))

    with speaking(speak, "tidings.v1") as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    assert found["contract"].verdict is CheckStatus.NOTE
    assert found["clock"].verdict is CheckStatus.BAD
    assert "behind ours" in found["clock"].summary
    assert found["round trip"].verdict is CheckStatus.GOOD
    assert found["idle"].verdict is CheckStatus.NOTE
    assert "--heartbeat" in found["idle"].hint


@pytest.mark.parametrize("message", ["hello", '{"type": "x:y"}', established(contract=5)])
def test_an_invalid_greeting_is_bad(message: str) -> None:
    with speaking(lambda connection: connection.send(message), "tidings.v1") as port:
        found = findings(f"ws://127.0.0.1:{port}/ws")
    assert found["contract"].verdict is CheckStatus.BAD
    assert found["idle"].verdict is CheckStatus.SKIPPED


def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with answering(lambda head: http("404 Not Found"), tls_of("localhost", authority)) as port:
        found = findings(f"wss://localhost:{port}/ws")
        assert found["tls"].verdict is CheckStatus.BAD
        assert "authority is unknown" in found["tls"].hint
        assert found["websocket"].verdict is CheckStatus.SKIPPED
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert findings(f"wss://localhost:{port}/ws")["tls"].verdict is CheckStatus.GOOD
        other_name = findings(f"wss://127.0.0.1:{port}/ws")["tls"]
        assert "use the name" in other_name.hint


def test_tls_to_a_plain_port_is_bad(shared_hub: Hub) -> None:
    found = findings(f"wss://127.0.0.1:{shared_hub.port}/ws")
    assert found["tls"].verdict is CheckStatus.BAD
    assert "ws://" in found["tls"].hint


def test_doctor_exits_with_0_or_1_and_prints_versions(shared_hub: Hub) -> None:
    well = tidings("doctor", shared_hub.url)
    assert (well.returncode, well.stderr) == (0, "")
    assert "✓ websocket" in well.stdout
    assert "versions" in well.stdout.splitlines()[-1]
    ill = tidings("doctor", "--json", "--url=ws://127.0.0.1:1/ws")
    report = json.loads(ill.stdout)
    assert (ill.returncode, report["ok"]) == (1, False)
    assert {"tidings", "python", "uvloop", "websockets", "sqlite"} <= set(report["versions"])
    assert [check["verdict"] for check in report["checks"]][:3] == ["good", "good", "bad"]


def test_ctrl_c_ends_doctor_without_a_traceback() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Process("doctor", f"ws://127.0.0.1:{silent.getsockname()[1]}/ws") as doctor,
    ):
        doctor.read_until("tcp")
        doctor.signal(signal.SIGINT)
        code, _, stderr = doctor.wait()
    assert (code, stderr) == (130, "")
