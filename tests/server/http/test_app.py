import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.server.hub_server import NO_DASHBOARD, HubServer, update

from tidings.exceptions import LogFull, LogInUse, LogUnavailable
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp

APP_PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer(allow_origins=[APP_PAGE], dashboard=NO_DASHBOARD) as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/events",
    "/v1/operation-names",
    "/v1/operations",
    "/v1/snapshot",
    "/v1/stream",
]


# Routes.


def test_index_lists_routes_that_exist(client: httpx.Client) -> None:
    about = client.get("/").json()
    assert about["name"] == "tidings"
    assert about["websocket"] == {"path": "/ws", "subprotocol": "tidings.v1"}
    for place in about["http"].values():
        method, path = place.split()
        assert method in client.options(path).headers["allow"]


def test_index_is_a_page_for_browsers_and_json_for_programs(client: httpx.Client, server: HubServer) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = client.get("/", headers=browser)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert f"tidings watch --url {server.ws}" in page.text
    assert f"curl -N {server.http}/v1/stream" in page.text
    for path in re.findall('href="([^"]*)"', page.text):
        assert client.head(path, headers={"Range": "bytes=0-0"}).status_code == 200, path
    for accept in ("*/*", "application/json"):
        answer = client.get("/", headers={"Accept": accept})
        assert answer.json()["name"] == "tidings"
        assert answer.headers["vary"] == "Accept"
    assert client.get("/", headers={"Origin": APP_PAGE}).headers["vary"] == "Accept, Origin"


async def test_index_page_below_a_mount_links_below_it() -> None:
    hub = HubApp(lambda scheduler: MemoryLog("e", None), check_host=False, dashboard=NO_DASHBOARD)
    app = Starlette(routes=[Mount("/events/hub", hub)])
    headers = {"Accept": "text/html"}
    async with hub.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        for path in ("/events/hub/", "/events/hub"):
            page = await client.get(path, headers=headers, follow_redirects=True)
            assert "curl -N http://h/events/hub/v1/stream" in page.text
            assert "--url ws://h/events/hub/ws" in page.text
            [link] = [link for link in re.findall('href="([^"]*)"', page.text) if link.endswith("docs")]
            assert page.url.join(link).path == "/events/hub/docs"


def test_hub_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/events/", "/v1/operations/", "/healthz/x", "/%00"])
def test_unknown_route_is_refused_in_json(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["hint"]


def test_unknown_route_leads_to_a_list_of_routes_also_in_a_browser(client: httpx.Client) -> None:
    hint = client.get("/nope").json()["hint"]
    named = next(word.strip("`") for word in hint.split() if word.startswith("/"))
    assert "/v1/events" in client.get(named, headers={"Accept": "text/html"}).json()["paths"]


@pytest.mark.parametrize("path", PATHS)
def test_path_refuses_other_methods(client: httpx.Client, path: str) -> None:
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    options = client.options(path)
    assert (options.status_code, options.content) == (204, b"")
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == options.headers["allow"]
    assert ("POST" in options.headers["allow"]) is (path == "/v1/events")


@pytest.mark.parametrize("path", ["/", "/v1/operations", "/v1/events", "/ws"])
def test_get_with_a_body_is_refused(client: httpx.Client, path: str) -> None:
    answer = client.request("GET", path, json={"state": "failed"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert client.request("GET", path, headers={"Content-Length": "0"}).status_code in (200, 426)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_websocket_path_asks_for_the_upgrade(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/ws", headers={"Upgrade": "h2c", "Connection": "Upgrade"})
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"] == "upgrade"
    if method == "GET":
        assert answer.json()["code"] == "upgrade_required"
        assert "proxy" in answer.json()["hint"]


def test_websocket_at_the_root_leaves_the_index(client: httpx.Client) -> None:
    with HubServer(ws_path="/") as server:
        assert httpx.get(server.http).json()["websocket"]["path"] == "/"


# Readiness.


def test_hub_with_a_failing_log_is_not_ready() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
        client.post("/v1/events", json=update("d"))
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (507, "log_full")
        client.post("/v1/events", json=update("d"))
        assert client.get("/readyz").status_code == 200


def test_hub_whose_log_cannot_follow_is_not_ready_without_a_publisher() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        server.call(lambda: server.log.fail(LogUnavailable("the log is behind the others", hint="Wait.")))
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"], answer.json()["hint"]) == (503, "log_unavailable", "Wait.")
        assert "retry-after" in answer.headers
        assert client.get("/healthz").status_code == 200
        assert "tidings_log_failing 1.0" in client.get("/metrics").text
        server.call(server.log.clear_faults)
        assert client.get("/readyz").status_code == 200
        assert "tidings_log_failing 0.0" in client.get("/metrics").text


def test_draining_hub_is_alive_and_not_ready() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        client.get("/readyz").raise_for_status()
        server.call(server.app.drain)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        assert "retry-after" in answer.headers
        assert client.get("/healthz").status_code == 200


def test_hub_with_an_overdue_job_is_not_ready() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:

        def fail() -> None:
            raise OverflowError("int too big to convert")

        def break_retention() -> None:
            [job] = [job for job in server.app.hub.jobs if job.name == "retention"]
            job.run = fail
            job.ran_at -= 60.0

        server.call(break_retention)
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "job_overdue")
        assert answer.json()["message"].startswith("the job 'retention' has not run for 60")
        assert client.get("/healthz").status_code == 200
        assert 'tidings_job_overdue{name="retention"} 1.0' in client.get("/metrics").text


async def test_hub_without_a_log_is_alive_and_not_ready() -> None:
    def open_log(scheduler: Scheduler) -> Log:
        raise LogInUse("process 42 holds the data folder")

    transport = httpx.ASGITransport(HubApp(open_log))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/readyz", "/v1/events", "/v1/snapshot", "/v1/stream", "/v1/operations", "/metrics"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "log_in_use"), path
        posted = await client.post("/v1/events", json=update("d"))
        assert (posted.status_code, posted.json()["code"]) == (503, "log_in_use")


async def test_internal_error_is_answered_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_log(scheduler: Scheduler) -> Log:
        raise RuntimeError("as if opening had a fault")

    transport = httpx.ASGITransport(HubApp(open_log), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for answer in (await client.get("/v1/events"), await client.post("/v1/events", json=update("d"))):
            assert (answer.status_code, answer.json()["code"]) == (500, "internal")


# Origins.


@pytest.mark.parametrize("path", PATHS)
def test_foreign_origin_is_refused(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert "--allow-origin http://evil.example" in answer.json()["hint"]
    assert "access-control-allow-origin" not in answer.headers


def test_foreign_page_cannot_post_or_preflight(client: httpx.Client) -> None:
    evil = {"Origin": "http://evil.example"}
    assert client.post("/v1/events", json=update("evil"), headers=evil).status_code == 403
    preflight = client.options("/v1/events", headers={**evil, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 403
    assert client.get("/v1/events", params={"key": "evil"}).json()["events"] == []


def test_foreign_host_name_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/events", headers={"Host": "evil.example:80"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert client.get("/v1/events", headers={"Host": "app.example.com"}).status_code == 200


def test_address_embedded_by_a_foreign_page_is_refused(client: httpx.Client) -> None:
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    answer = client.get("/v1/stream", headers=embedded)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert (
        client.get("/", headers={**embedded, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}).status_code
        == 200
    )


@pytest.mark.parametrize("name", ["Origin", "Tidings-Producer", "Tidings-Lease", "Idempotency-Key", "Content-Type"])
def test_repeated_header_is_refused(client: httpx.Client, server: HubServer, name: str) -> None:
    fields = [(name, server.http if name == "Origin" else "30"), (name, "http://evil.example")]
    answer = client.post("/v1/events", json=update("twice"), headers=fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert name in answer.json()["message"]


async def test_header_repeated_over_any_server_is_refused() -> None:
    hub_app = HubApp(lambda scheduler: MemoryLog("0badcafe"))
    fields = [("Origin", "http://localhost"), ("Origin", "http://evil.example")]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hub_app), base_url="http://localhost") as client:
        answer = await client.get("/v1/events", headers=fields)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    raw = [(name.lower().encode(), value.encode()) for name, value in fields]
    scope = {"type": "websocket", "path": "/ws", "headers": raw, "query_string": b"", "subprotocols": []}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await hub_app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    hub_app.stop()


@pytest.mark.parametrize("path", ["/", "/v1/events", "/nowhere", "/docs", "/openapi.json", "/v1/snapshot", "/metrics"])
def test_no_answer_is_taken_for_another_type(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    if answer.headers["content-type"].startswith("text/html"):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert client.post("/v1/events", json=update("typed")).headers["x-content-type-options"] == "nosniff"


def test_own_origin_needs_no_permission(client: httpx.Client, server: HubServer) -> None:
    answer = client.post("/v1/events", json=update("own"), headers={"Origin": server.http})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/events", "/v1/snapshot", "/nope"])
def test_listed_origin_may_read_answers_and_errors(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Origin": APP_PAGE})
    assert answer.headers["access-control-allow-origin"] == APP_PAGE
    assert answer.headers["vary"] == "Origin"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


PREFLIGHT = {"Origin": APP_PAGE, "Access-Control-Request-Method": "POST"}
USUAL_HEADERS = (
    "authorization,baggage,cache-control,content-type,idempotency-key,if-none-match,last-event-id,"
    "tidings-lease,tidings-producer,traceparent,tracestate"
)


@pytest.mark.parametrize("wanted", [USUAL_HEADERS, "x-requested-with, sentry-trace", None])
def test_listed_origin_may_post_json(client: httpx.Client, wanted: str | None) -> None:
    asked = {} if wanted is None else {"Access-Control-Request-Headers": wanted}
    preflight = client.options("/v1/events", headers={**PREFLIGHT, **asked})
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == APP_PAGE
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert int(preflight.headers["access-control-max-age"]) > 0
    assert preflight.headers["vary"] == "Origin"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    allowed = preflight.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert set((wanted or USUAL_HEADERS).replace(" ", "").split(",")) <= set(allowed)
    posted = client.post("/v1/events", json=update("page"), headers={"Origin": APP_PAGE})
    assert posted.status_code == 200
    assert posted.headers["access-control-allow-origin"] == APP_PAGE


def test_preflight_reflects_names_of_headers_only(client: httpx.Client) -> None:
    asked = {"Access-Control-Request-Headers": "x-a\tb<script>"}
    allowed = client.options("/v1/events", headers={**PREFLIGHT, **asked}).headers["access-control-allow-headers"]
    assert "script" not in allowed
    assert "Authorization" in allowed


def test_preflight_of_an_unknown_path_lets_the_page_see_the_404(client: httpx.Client) -> None:
    assert client.options("/v1/event", headers=PREFLIGHT).status_code == 204
    answer = client.post("/v1/event", json={}, headers={"Origin": APP_PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, APP_PAGE)


def test_preflight_from_a_public_page_to_a_private_network_is_allowed(client: httpx.Client) -> None:
    asked = {"Access-Control-Request-Private-Network": "true"}
    preflight = client.options("/v1/events", headers={**PREFLIGHT, **asked})
    assert preflight.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-private-network" not in client.options("/v1/events", headers=PREFLIGHT).headers


def test_document_for_a_listed_origin_shows_its_tag_and_is_cached_by_origin(client: httpx.Client) -> None:
    for headers in ({}, {"Origin": APP_PAGE}):
        answer = client.get("/v1/contract.json", headers=headers)
        assert answer.headers["vary"] == "Origin"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    unchanged = client.get("/v1/contract.json", headers={"Origin": APP_PAGE, "If-None-Match": answer.headers["etag"]})
    assert (unchanged.status_code, unchanged.headers["access-control-allow-origin"]) == (304, APP_PAGE)


@pytest.mark.parametrize(("listed", "origin"), [("*", "https://any.example"), ("null", "null")])
def test_origin_without_a_name_gets_no_credentials(listed: str, origin: str) -> None:
    with HubServer(allow_origins=[listed]) as server:
        answer = httpx.get(f"{server.http}/v1/snapshot", headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("edge", ["native", "asgi"])
@pytest.mark.parametrize("path", ["/operations", "/a/b/", "/v1/nothing", "/%3Cb%3E%2Fx", "/x?y=1"])
def test_browser_gets_a_page_for_an_unknown_address_that_leads_back(edge: Any, path: str) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with (
        HubServer(edge, root_path="/tidings", trusted_proxies=["127.0.0.1"]) as server,
        httpx.Client(base_url=server.http) as client,
    ):
        for prefix in ("", "/tidings"):
            answer = client.get(prefix + path, headers=browser)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "<b>" not in answer.text
            [back] = re.findall(r'href="([./]*)"', answer.text)
            root = answer.url.join(back)
            assert root.path == f"{prefix}/"
            assert client.get(prefix + path).json()["code"] == "not_found"
