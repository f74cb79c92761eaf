"""docs/deploying.md behind a real nginx: TLS by a private authority, a prefix, a login, and every client."""

import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, tidings
from tests.deploy.proxies import find_program, serve_nginx, write_certificate
from tests.nats_server import free_port
from tests.server.hub_server import HubServer
from tests.server.raw_client import handshake_request
from tests.transcripts.markdown import Document

from tidings.server.dashboard.bundle import PAGES

pytestmark = pytest.mark.skipif(
    find_program("nginx") is None and not os.environ.get("CI"), reason="nginx is not installed"
)

BLOCKS = [block.text for block in Document("docs/deploying.md").blocks_in("nginx")]
LOGIN = "reporter:p%40ss"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The guide's nginx with both of its locations before a hub; yields the port, the authority's file and the hub."""
    folder = tmp_path_factory.mktemp("nginx")
    port, authority = free_port(), write_certificate(folder)
    (folder / "tidings.htpasswd").write_text("reporter:{PLAIN}p@ss\n")
    with Hub("--trusted-proxy", "127.0.0.1") as hub:
        whole, location = BLOCKS
        config = whole.rstrip().removesuffix("}") + location + "}\n"
        for stands, is_ in (
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("tidings.example.com", "localhost"),
            ("/etc/ssl/", f"{folder}/"),
            ("/etc/nginx/", f"{folder}/"),
            ("127.0.0.1:8765", f"127.0.0.1:{hub.port}"),
        ):
            assert stands in config
            config = config.replace(stands, is_)
        with serve_nginx(folder, config, port):
            yield {"port": str(port), "ca": str(authority), "hub": hub}


@pytest.mark.alone  # the commands print no note only if the hub answers in time
@pytest.mark.parametrize(
    ("url", "variable"),
    [("https://localhost:{}", "TIDINGS_CA"), (f"https://{LOGIN}@localhost:{{}}/tidings/", "SSL_CERT_FILE")],
    ids=["at the root", "with a login and a prefix"],
)
def test_every_command_works_behind_the_proxy(proxied: dict[str, Any], url: str, variable: str) -> None:
    environment = {"TIDINGS_URL": url.format(proxied["port"]), variable: proxied["ca"]}
    started = tidings("report", "start", "nightly", **environment)
    assert (started.returncode, started.stderr) == (0, "")
    operation_id = started.stdout.strip()
    for command in (
        ["doctor"],
        ["publish", "data:update", '{"dataset": "prices"}'],
        ["run", "--name", f"job {operation_id}", "--", "true"],
        ["report", "complete", operation_id],
        ["wait", operation_id],
        ["show", operation_id],
        ["ls"],
        ["watch", "--exit-when-done", "--since", "snapshot"],
        ["flush"],
    ):
        done = tidings(*command, **environment)
        assert (done.returncode, done.stderr) == (0, ""), (command, done.stderr, done.stdout)
    assert f"job {operation_id}" in tidings("ls", **environment).stdout


def test_option_names_the_authority(proxied: dict[str, Any]) -> None:
    url = f"https://localhost:{proxied['port']}"
    assert tidings("ls", "--url", url, "--ca", proxied["ca"]).returncode == 0
    for command in ("ls", "watch"):
        done = tidings(command, "--url", url)
        assert done.returncode != 0
        assert "TIDINGS_CA" in done.stderr, done.stderr


@pytest.mark.parametrize("command", [["ls"], ["watch"], ["publish", "data:update", '{"dataset": "a"}']])
def test_wrong_login_is_explained(proxied: dict[str, Any], command: list[str]) -> None:
    url = f"https://reporter:wrong@localhost:{proxied['port']}/tidings"
    done = tidings(*command, TIDINGS_URL=url, TIDINGS_CA=proxied["ca"])
    assert done.returncode != 0
    assert "401" in done.stderr
    assert "hint: A proxy in front of the hub refuses access" in done.stderr
    assert "wrong" not in done.stderr, "the password is not shown"


def curl(proxied: dict[str, Any], url: str, *options: str) -> str:
    """Request a page, and return its text."""
    command = ["curl", "-sS", "--cacert", proxied["ca"], "-H", "Accept: text/html", *options, url]
    done = subprocess.run(command, capture_output=True, encoding="latin-1", timeout=TIMEOUT_S, check=False)
    return done.stdout


def named_address(described: dict[str, Any]) -> str:
    """Return the address of the WebSocket in an AsyncAPI document."""
    [server], [channel] = described["servers"].values(), described["channels"].values()
    return f"{server['protocol']}://{server['host']}{channel['address']}"


def test_pages_below_a_prefix_link_within_it(proxied: dict[str, Any]) -> None:
    port = proxied["port"]
    for page in ("", "docs"):
        url = f"https://localhost:{port}/tidings/{page}"
        shown = curl(proxied, url, "-u", "reporter:p@ss")
        assert "<html" in shown
        assert not re.findall(r'(?:href|src)="/[^/"]', shown)


def test_client_cannot_name_itself_or_the_hub(proxied: dict[str, Any]) -> None:
    url = f"https://localhost:{proxied['port']}/asyncapi.json"
    spoofed = (
        ["-H", "X-Forwarded-For: 203.0.113.9"],
        ["-H", "X-Forwarded-Host: evil.example"],
        ["-H", "X-Forwarded-Proto: http", "-H", "X-Forwarded-Prefix: /evil"],
        ["-H", "Forwarded: for=203.0.113.9;proto=http;host=evil.example"],
    )
    for fields in spoofed:
        # From another address than the proxy's own, which the hub trusts.
        described = json.loads(curl(proxied, url, "--interface", "127.0.0.2", *fields))
        assert named_address(described) == f"wss://localhost:{proxied['port']}/ws", fields
    place = ("127.0.0.1", int(proxied["port"]))
    trust = ssl.create_default_context(cafile=proxied["ca"])
    with (
        socket.create_connection(place, timeout=TIMEOUT_S, source_address=("127.0.0.2", 0)) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(handshake_request("/ws?channel=data", headers=("X-Forwarded-For: 203.0.113.9",)))
        assert secured.recv(65_536).startswith(b"HTTP/1.1 101 ")
    hub: Hub = proxied["hub"]
    assert hub.process.stderr is not None
    line = b""
    while b"connection opened" not in line or b"client=127.0.0.1" in line:  # the other tests come from there
        line = hub.process.stderr.readline()
        assert line, "the hub ended"
    assert b"client=127.0.0.2" in line


def test_prefix_of_the_proxy_is_named(proxied: dict[str, Any]) -> None:
    url = f"https://localhost:{proxied['port']}/tidings/asyncapi.json"
    described = json.loads(curl(proxied, url, "-u", "reporter:p@ss"))
    assert named_address(described) == f"wss://localhost:{proxied['port']}/tidings/ws"


PREFIXES = """
server {
  listen 127.0.0.1:%(port)s;
  proxy_set_header Host $http_host;
  location / { proxy_pass http://127.0.0.1:%(hub)s; }
  location /removed/ { proxy_pass http://127.0.0.1:%(hub)s/; }
  location /kept/ { proxy_pass http://127.0.0.1:%(hub)s; }
  location /named/twice/ {
    proxy_pass http://127.0.0.1:%(hub)s/;
    proxy_set_header X-Forwarded-Prefix /named/twice;
  }
}
"""


@pytest.mark.parametrize("prefix", ["/", "/removed/", "/kept/", "/named/twice/"])
def test_dashboard_finds_its_files_below_every_prefix(tmp_path: Path, prefix: str) -> None:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text('<script src="./assets/main.js"></script><link href="./icon.svg">')
    (built / "assets" / "main.js").write_text("main")
    (built / "icon.svg").write_text("<svg/>")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options: dict[str, Any] = {"root_path": "/kept", "trusted_proxies": ["127.0.0.1"], "dashboard": built}
    with (
        HubServer(**options) as hub,
        serve_nginx(tmp_path, PREFIXES % {"port": port, "hub": hub.port}, port),
        httpx.Client(headers={"Accept": "text/html"}) as client,
    ):
        top = f"http://127.0.0.1:{port}{prefix}"
        for page in ("", *(path[1:] for path in PAGES), "operation?id=night%2F1%2F..%2F%2Fa"):
            shown = client.get(top + page)
            assert shown.status_code == 200, page
            links = re.findall(r'(?:href|src)="([^"]*)"', shown.text)
            assert len(links) == 2
            for link in links:
                answer = client.get(shown.url.join(link))
                assert (answer.status_code, answer.headers["cache-control"] != "no-store") == (200, True)
        assert client.get(top[:-1], follow_redirects=True).url.path == prefix
        assert client.get(top + "v1/operations").json()["operations"] == []
