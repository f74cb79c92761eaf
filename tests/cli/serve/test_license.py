import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.cli.processes import TIMEOUT_S, Hub, Process, tidings
from websockets.sync.client import ClientConnection, connect

import tidings as tidings_client
from tidings.access.license import License, issue_license
from tidings.client.events import LicenseEnded, Live
from tidings.protocol.messages import SUBPROTOCOL

KEY = Ed25519PrivateKey.generate()
DAY_S = 86_400


class Files:
    """A license file and its public key, as options of `tidings serve`."""

    def __init__(self, folder: Path) -> None:
        self.license, self.public = folder / "license.jwt", folder / "license.pub"
        self.public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.public.chmod(0o644)
        self.options = ("--license", str(self.license), "--license-public-key", str(self.public))

    def issue(self, days: float, *, id: str = "lic-1", key: Ed25519PrivateKey = KEY, begins_days: float = -100) -> None:
        """Replace the license by one that expires in some days."""
        now_ns = time.time_ns() // 10**9 * 10**9
        begins_ns = now_ns + int(begins_days * DAY_S) * 10**9
        expires_ns = now_ns + int(days * DAY_S) * 10**9
        made = License(license_id=id, subject="ACME", issued_ns=begins_ns, begins_ns=begins_ns, expires_ns=expires_ns)
        self.replace(issue_license(made, key))

    def replace(self, text: str) -> None:
        new = self.license.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o644)
        new.replace(self.license)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def messages(connection: ClientConnection) -> Iterator[dict[str, object]]:
    while True:
        yield json.loads(connection.recv(timeout=TIMEOUT_S))


def wait_for(connection: ClientConnection, type: str) -> dict[str, object]:
    return next(message for message in messages(connection) if message["type"] == type)


def status(url: str, body: bytes | None = None, *, accept: str = "*/*") -> tuple[int, str]:
    """Return the status and the body of an answer."""
    request = Request(url, body, {"Content-Type": "application/json", "Accept": accept})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


EVENT = json.dumps({"type": "data:update", "data": {"dataset": "d"}}).encode()


def test_expired_license_is_announced_refuses_events_and_is_renewed_without_a_restart(files: Files) -> None:
    files.issue(-1)
    with Hub(*files.options) as hub, connect(hub.url, subprotocols=[SUBPROTOCOL]) as connection:  # type: ignore[list-item]
        expired = wait_for(connection, "license:expired")
        assert expired["data"]["license_id"] == "lic-1"  # type: ignore[index]
        for answer in (status(f"{hub.http}v1/events", EVENT), status(f"{hub.http}readyz")):
            assert (answer[0], json.loads(answer[1])["code"]) == (403, "license_expired")
        refused = tidings("publish", "data:update", '{"dataset": "d"}', "--url", hub.url)
        assert "license_expired" in refused.stderr
        assert status(f"{hub.http}v1/snapshot")[0] == 200, "reading goes on"
        with urlopen(f"{hub.http}v1/stream", timeout=TIMEOUT_S) as stream:
            assert any(b"license:expired" in line for line in stream)
        connection.send(json.dumps({"type": "channel:subscribe", "id": "1", "data": {"channels": ["system"]}}))
        files.issue(300, id="lic-2")
        cleared = next(
            message
            for message in messages(connection)
            if message["type"] == "system:alert" and message["data"]["state"] == "cleared"  # type: ignore[index]
        )
        assert cleared["data"]["alert_id"] == "tidings:license:expired"  # type: ignore[index]
        assert status(f"{hub.http}v1/events", EVENT)[0] == 200
        assert status(f"{hub.http}readyz")[0] == 200
        metric = next(
            line for line in status(f"{hub.http}metrics")[1].splitlines() if line.startswith("tidings_license")
        )
        assert float(metric.split()[1]) > time.time() + 299 * DAY_S
        _, _, stderr = hub.stop()
    assert "license reloaded" in stderr


async def test_expired_license_is_shown_by_doctor_and_watches_and_logged_by_clients(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.issue(-1)
    with Hub(*files.options) as hub:
        done = tidings("doctor", hub.url)
        assert done.returncode == 1
        assert "→ Renew it; the hub resumes by itself." in done.stdout
        async with tidings_client.connect(hub.url) as client:
            async for event in client.watch("system", since="snapshot"):
                assert event.type.startswith("system:")
                break
            async for item in client.watch("system", since="now", notices=True):
                if isinstance(item, LicenseEnded):
                    assert item.data.license_id == "lic-1"
                    break
                assert not isinstance(item, Live), "the notice precedes the end of catching up"
        with Process("watch", "system", "--url", hub.url) as watch:
            watch.read_until("! the license of the hub has expired: nothing can be published; reading goes on until")
        with Process("watch", "data", "--json", "--url", hub.url) as watch:
            watch.read_until('"type":"license:expired"')
    assert "the license of the hub has expired: nothing can be published; reading goes on until" in caplog.text


def test_hub_is_closed_when_the_grace_has_passed(files: Files) -> None:
    files.issue(-2)
    with Hub(*files.options, "--license-grace", "1d") as hub:
        with connect(hub.url, subprotocols=[SUBPROTOCOL]) as connection:  # type: ignore[list-item]
            assert wait_for(connection, "connection:closed")["data"]["code"] == 4051  # type: ignore[index]
        for path in ("v1/snapshot", "v1/events", "v1/operations", "v1/operations/x", "v1/operation-names"):
            code, body = status(f"{hub.http}{path}")
            assert (code, json.loads(body)["code"]) == (403, "license_expired")
        stream = status(f"{hub.http}v1/stream", accept="text/event-stream")[1]
        assert '"code":4051' in stream
        assert '"reconnect":true' in stream
        assert 30_000 <= int(stream.partition("retry: ")[2].partition("\n")[0]) < 40_000
        for path in ("", "healthz", "metrics", "openapi.json", "v1/contract.json"):
            assert status(f"{hub.http}{path}")[0] == 200
        with Process("watch", "--json", "--url", hub.url) as watch:
            assert watch.process.stderr is not None
            told = watch.process.stderr.readline().decode()
            assert told.startswith("tidings: the license lic-1 of this hub expired")
            assert told.endswith("; waiting for its renewal\n")


def test_license_that_cannot_be_used_is_refused_at_the_start_with_its_own_error(files: Files) -> None:
    def start() -> str:
        done = tidings("serve", "--memory", "--port", "0", *files.options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "hint: " in done.stderr
        return done.stderr

    assert "cannot read the license" in start()
    files.replace("not a license")
    assert "it is not a license, or is cut off" in start()
    files.issue(100, key=Ed25519PrivateKey.generate())
    assert "it was signed with the key" in start()
    files.issue(100, begins_days=50)
    assert "which is 49 days earlier" in start() or "which is 50 days earlier" in start()
    files.license.chmod(0o666)
    assert "other users can write it" in start()


def test_changed_license_that_cannot_be_used_leaves_the_old_one(files: Files) -> None:
    files.issue(100)
    with Hub(*files.options, "--log-format", "json") as hub:
        files.replace("broken")
        assert hub.process.stderr is not None
        for raw in hub.process.stderr:
            line = json.loads(raw)
            if line["event"] == "the changed license is refused: the old one stays in use":
                assert line["code"] == "invalid_license"
                break
        assert status(f"{hub.http}v1/events", EVENT)[0] == 200
        os.remove(files.license)
        assert status(f"{hub.http}v1/events", EVENT)[0] == 200
