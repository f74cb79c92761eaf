"""The certificate of a hub in a process of its own, replaced while clients are connected."""

import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.cli.processes import Hub
from tests.server.raw_client import RawClient, handshake_request

AUTHORITY = trustme.CA()


def write(folder: Path, certificate: trustme.LeafCert, *, key: trustme.LeafCert | None = None) -> None:
    """Replace both files of a folder, as certificate tools do."""
    (folder / "new").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    os.replace(folder / "new", folder / "chain.pem")
    (folder / "new").write_bytes((key or certificate).private_key_pem.bytes())
    os.replace(folder / "new", folder / "key.pem")


def trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def serial(client: RawClient) -> str:
    assert isinstance(client.socket, ssl.SSLSocket)
    found = client.socket.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def served_serial(hub: Hub) -> str:
    with RawClient(hub.port, tls=trust()) as client:
        return serial(client)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    write(tmp_path, AUTHORITY.issue_cert("localhost"))
    with Hub("--tls-cert", str(tmp_path / "chain.pem"), "--tls-key", str(tmp_path / "key.pem")) as running:
        yield running


@pytest.fixture(scope="module")
def tls_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("tls")
    write(folder, AUTHORITY.issue_cert("localhost"))
    names = ("--allow-host", "hub.example.com", "--allow-host", "hub", "--allow-host", "hub.local")
    with Hub("--tls-cert", str(folder / "chain.pem"), "--tls-key", str(folder / "key.pem"), *names) as running:
        yield running


def log_until(hub: Hub, text: str) -> str:
    assert hub.process.stderr is not None
    lines = ""
    while text not in lines:
        line = hub.process.stderr.readline().decode()
        assert line, lines
        lines += line
    return lines


@pytest.mark.parametrize("asked", [True, False], ids=["SIGHUP", "by itself"])
def test_replaced_certificate_serves_new_connections_and_drops_no_old_one(
    hub: Hub, tmp_path: Path, asked: bool
) -> None:
    with RawClient(hub.port, tls=trust()) as client:
        client.send(handshake_request("/ws?channel=data"))
        assert client.read_response().startswith("HTTP/1.1 101 ")
        before = serial(client)
        assert served_serial(hub) == before
        write(tmp_path, AUTHORITY.issue_cert("localhost"))
        if asked:
            hub.signal(signal.SIGHUP)
        log_until(hub, "reloaded")
        after = served_serial(hub)
        assert after != before
        hub.signal(signal.SIGTERM)
        assert client.closing().code == 4100, "the old connection is still served"
    assert hub.wait()[0] == 0


@pytest.mark.parametrize("broken", ["no such file", "not PEM", "another key", "a password"])
def test_broken_certificate_is_refused_and_the_old_one_stays(hub: Hub, tmp_path: Path, broken: str) -> None:
    before = served_serial(hub)
    other = AUTHORITY.issue_cert("localhost")
    if broken == "no such file":
        (tmp_path / "chain.pem").unlink()
    elif broken == "not PEM":
        (tmp_path / "chain.pem").write_text("half a certif")
    elif broken == "another key":
        write(tmp_path, other, key=AUTHORITY.issue_cert("localhost"))
    else:
        (tmp_path / "key.pem").write_bytes(_encrypted(other.private_key_pem.bytes()))
    hub.signal(signal.SIGHUP)
    logged = log_until(hub, "reload refused")
    assert "chain.pem" in logged
    assert served_serial(hub) == before
    write(tmp_path, other)
    hub.signal(signal.SIGHUP)
    log_until(hub, "reloaded")
    assert served_serial(hub) != before


def _encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("host", "required"),
    [
        ("hub.example.com", True),
        ("hub.example.com:8765", True),
        ("localhost", False),
        ("hub.localhost", False),
        ("127.0.0.1", False),
        ("[::1]:8765", False),
        ("hub", False),
        ("hub.local", False),
    ],
)
def test_tls_is_required_from_now_on_for_full_names_only(tls_hub: Hub, host: str, required: bool) -> None:
    for request in ("GET /readyz", "POST /v1/events"):
        with RawClient(tls_hub.port, tls=trust()) as client:
            client.send(f"{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
            head = client.read_response()
        assert ("strict-transport-security: max-age=" in head) is required, head
