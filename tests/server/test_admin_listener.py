"""A second listener for `/metrics` and `/v1/admin`."""

import re
from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.cli.processes import Hub, tidings
from tests.nats_server import free_port
from tests.server.raw_client import RawClient

from tidings.hub.clock import SystemClock
from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp

ADMIN_PATHS = ["/metrics", "/v1/admin/revocations", "/v1/admin/sessions", "/v1/admin/nothing"]


def test_admin_routes_are_at_the_admin_listener_only() -> None:
    port = free_port()
    with Hub("--admin-listen", f"127.0.0.1:{port}") as hub, httpx.Client(timeout=60) as client:
        admin = f"http://127.0.0.1:{port}"
        for path in ADMIN_PATHS:
            answer = client.get(hub.http.rstrip("/") + path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "tidings_connections" in client.get(f"{admin}/metrics").text
        assert client.get(f"{admin}/readyz").status_code == client.get(f"{hub.http}readyz").status_code == 200
        for path in ("/", "/v1/events", "/v1/operations", "/docs", "/ws", "/v1/stream"):
            assert client.get(admin + path).status_code == 404
            assert path == "/v1/stream" or client.get(hub.http.rstrip("/") + path).status_code in (200, 426)
        assert "metrics" not in client.get(hub.http, headers={"Accept": "text/html"}).text
        assert "metrics" not in client.get(hub.http).json()["http"]
        for at, status in ((port, "404"), (hub.port, "101")):
            with RawClient(at) as websocket:
                assert websocket.open("/ws").startswith(f"HTTP/1.1 {status} ")
        code, _, stderr = hub.stop()
    assert code == 0
    assert re.search(rf"admin=\['127\.0\.0\.1:{port}'\]", stderr)


@pytest.mark.parametrize("place", ["9100", "127.0.0.1:", "127.0.0.1:65536", "http://127.0.0.1:9100"])
def test_invalid_admin_address_is_a_usage_error(place: str) -> None:
    done = tidings("serve", "--memory", "--admin-listen", place)
    assert (done.returncode, "HOST:PORT" in done.stderr) == (2, True)


def test_admin_listener_needs_a_port_of_its_own() -> None:
    port = str(free_port())
    done = tidings("serve", "--memory", "--port", port, "--admin-listen", f"127.0.0.2:{port}")
    assert (done.returncode, "own port" in done.stderr) == (2, True)


def test_admin_listener_without_authentication_is_for_this_machine_only() -> None:
    done = tidings("serve", "--memory", "--port", "0", "--admin-listen", f"0.0.0.0:{free_port()}")
    assert (done.returncode != 0, "--auth" in done.stderr) == (True, True), done.stderr


@pytest.mark.parametrize(
    ("port", "client", "path", "fields", "status"),
    [
        (9100, "127.0.0.1", "/metrics", {}, 200),
        (9100, "::1", "/metrics", {}, 200),
        (9100, "192.0.2.7", "/metrics", {}, 401),
        (9100, "127.0.0.1", "/metrics", {"X-Forwarded-For": "192.0.2.7"}, 401),
        (9100, "192.0.2.7", "/metrics", {"Authorization": "Bearer root"}, 200),
        (9100, "192.0.2.7", "/metrics", {"Authorization": "Bearer ada"}, 403),
        (9100, "127.0.0.1", "/v1/admin/sessions", {}, 401),
        (9100, "127.0.0.1", "/v1/admin/sessions", {"Authorization": "Bearer root"}, 200),
        (8765, "127.0.0.1", "/metrics", {"Authorization": "Bearer root"}, 404),
        (None, "127.0.0.1", "/metrics", {}, 401),
        (None, "127.0.0.1", "/metrics", {"Authorization": "Bearer root"}, 200),
    ],
)
async def test_metrics_need_no_credential_at_a_local_admin_listener_only(
    port: int | None, client: str, path: str, fields: dict[str, str], status: int
) -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("root", "admin", name="root")
    tokens.add("ada", "read *", name="ada")
    app = HubApp(
        lambda scheduler: MemoryLog("0badcafe"),
        config=HubConfig(status_s=0, metrics_s=0),
        access=tokens.options,
        trusted_proxies=["127.0.0.1"],
    )
    if port is not None:
        app.use_admin_port(9100)
    transport: Any = httpx.ASGITransport(app, client=(client, 4711))
    base = f"http://127.0.0.1:{port or 8765}"
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url=base) as http:
        answer = await http.get(path, headers=fields)
    assert answer.status_code == status, answer.text
