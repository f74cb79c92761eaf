"""Who must send a credential, and where it may be."""

import pytest
from structlog.testing import capture_logs
from tests.server.http.access.secured import Secured, StoppedClock, read_to_the_end, start
from tests.server.hub_server import Stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

GUARDED = [
    ("GET", "/v1/events"),
    ("POST", "/v1/events"),
    ("GET", "/v1/snapshot"),
    ("GET", "/v1/stream"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/operations/acme.1"),
    ("GET", "/v1/operations/acme.1?wait=60"),
    ("POST", "/v1/operations/acme.1/cancel"),
    ("GET", "/v1/operation"),
    ("POST", "/v1/operation/cancel"),
    ("GET", "/v1/operation-log"),
    ("GET", "/v1/operation-names"),
    ("GET", "/v1/system"),
    ("GET", "/metrics"),
    ("POST", "/v1/tickets"),
    ("GET", "/v1/admin/revocations"),
    ("POST", "/v1/admin/revocations"),
    ("GET", "/v1/admin/sessions"),
    ("GET", "/v1/admin/audit"),
]
OPEN = ["/", "/healthz", "/readyz", "/openapi.json", "/docs", "/v1/contract.json", "/v1/contract.ts", "/asyncapi.json"]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_route_asks_for_a_credential(hub: Secured, method: str, path: str) -> None:
    answer = hub.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == 'Bearer realm="tidings"'
    answer = hub.request(method, path, "unknown")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == 'Bearer realm="tidings", error="invalid_token"'


def test_every_guarded_route_is_listed_here(hub: Secured) -> None:
    paths = hub.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item}
    named = {(method, path.partition("?")[0].replace("acme.1", "{operation_id}")) for method, path in GUARDED}
    assert described - {("GET", path) for path in paths if hub.get(path).status_code == 200} <= named


@pytest.mark.parametrize(
    ("authorization", "code", "text"),
    [
        ("tdk_k3v7ab2q_s3cret", "invalid_token", "`Authorization` with no scheme: expected `Bearer`"),
        ("Basic dXNlcjpzM2NyZXQ=", "unauthenticated", "the scheme `Basic` of `Authorization` is for others"),
    ],
)
def test_credential_in_another_form_is_refused_with_the_right_one(
    hub: Secured, authorization: str, code: str, text: str
) -> None:
    answer = hub.get("/v1/events", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert text in answer.json()["message"]
    assert "Authorization: Bearer TOKEN" in answer.json()["hint"]
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("path", OPEN)
def test_open_route_answers_without_a_credential(hub: Secured, path: str) -> None:
    assert hub.get(path).status_code == 200
    assert hub.get(path, "unknown").status_code == 200


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "api_key"])
def test_credential_in_the_url_is_refused_and_not_logged(hub: Secured, name: str) -> None:
    with capture_logs() as logged:
        for path in ("/v1/events", "/v1/stream", "/v1/operations"):
            answer = hub.get(f"{path}?{name}=s3cret", "writer")
            assert (answer.status_code, answer.json()["code"]) == (400, "credential_in_url")
            assert "Authorization: Bearer" in answer.json()["hint"]
    assert logged
    assert "s3cret" not in str(logged)


@pytest.mark.parametrize("query", ["since=s3cret", "s3cret", "channel=data/s3cret", "s3cret=1", "pace_ms=s3cret"])
def test_values_of_urls_reach_no_log(hub: Secured, query: str) -> None:
    with capture_logs() as logged:
        with hub.stream(f"?{query}", "writer", Accept="text/event-stream") as stream:
            stream.message()
        headers = {"Authorization": "Bearer writer-token"}
        with connect(f"{hub.server.ws}?{query}", additional_headers=headers, proxy=None) as socket:
            socket.recv(60)
        hub.server.wait(lambda: hub.server.connections() == 0)
    assert {"connection opened", "connection closed"} <= {line["event"] for line in logged}
    assert "s3cret" not in str(logged)


def test_address_with_too_many_failures_must_wait() -> None:
    with Secured("native", clock=StoppedClock(), max_failures=3) as secured:
        for _ in range(3):
            assert secured.get("/v1/operations", "unknown").status_code == 401
        answer = secured.get("/v1/operations", "writer")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
        assert answer.json()["retry_after_ms"] > 0
        assert answer.headers["retry-after"] == "1"
        verified = len(secured.tokens.requests)
        for _ in range(5):
            assert secured.get("/v1/stream", "unknown").status_code == 429
            with connect(
                secured.server.ws, additional_headers={"Authorization": "Bearer unknown"}, proxy=None
            ) as socket:
                with pytest.raises(ConnectionClosed, match="too many invalid credentials"):
                    read_to_the_end(socket)
                assert socket.close_code == 1013
        assert len(secured.tokens.requests) == verified, "a refused address cost a verification"
        with Stream(secured.server.port, headers={"Accept": "text/event-stream"}) as stream:
            stream.block()
            assert stream.message()["data"]["reconnect"] is True


def test_secrets_reach_no_log(hub: Secured) -> None:
    with capture_logs() as logged:
        hub.get("/v1/operations", "unknown")
        hub.get("/v1/operations", "nobody")
        hub.request("POST", "/v1/events", "ada", json=start("zeta.1"))
        hub.get("/v1/stream?channel=data/top-secret", "ada")
    assert "unknown-token" not in str(logged)
    assert "ada-token" not in str(logged)
