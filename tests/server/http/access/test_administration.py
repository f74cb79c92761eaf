"""The routes for administrators."""

import httpx
import pytest
from tests.server.http.access.secured import Secured, update
from tests.server.hub_server import HubServer, Stream

from tidings.exceptions import LogReadOnly
from tidings.protocol.timestamps import to_nanoseconds


def test_metrics_and_admin_routes_need_admin(hub: Secured) -> None:
    for path in ("/metrics", "/v1/admin/revocations", "/v1/admin/sessions"):
        answer = hub.get(path, "writer")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert hub.get(path, "root").status_code == 200


def test_readiness_gives_its_reason_to_administrators_only(hub: Secured) -> None:
    hub.server.log.fail_append(LogReadOnly("the folder /var/lib/secret is not writable"))
    hub.request("POST", "/v1/events", "writer", json=update("daily-1"))
    reason = hub.get("/readyz", "root")
    for who in ("", "writer", "unknown"):
        terse = hub.get("/readyz", who)
        assert terse.status_code == reason.status_code == 503
        assert (terse.json()["code"], terse.json()["message"]) == ("hub_error", "the hub is not ready")
        assert "secret" not in terse.text
    assert (reason.json()["code"], "secret" in reason.text) == ("log_read_only", True)


def test_revocation_ends_what_is_open_and_refuses_what_comes(hub: Secured) -> None:
    with hub.stream("?channel=data/daily-*", "ada") as stream:
        stream.until("channel:live")
        [session] = hub.get("/v1/admin/sessions", "root").json()["sessions"]
        assert (session["subject"], session["path"]) == ("ada", "/v1/stream")
        answer = hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
        assert answer.json() == {"kind": "credential", "name": "ada-token", "stored": True}
        failed, closed = stream.until("connection:closed")[-2:]
        assert (failed["type"], failed["data"]["code"]) == ("auth:failed", "credential_revoked")
        assert (closed["data"]["code"], closed["data"]["reconnect"]) == (4001, False)
    assert hub.get("/v1/events", "ada").json()["code"] == "credential_revoked"
    listed = hub.get("/v1/admin/revocations", "root").json()
    assert listed == {"revocations": [{"kind": "credential", "name": "ada-token"}]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"credential_id": "a", "subject": "b"}, 400),
        ({"credential_id": ""}, 400),
        ({"subject": "a", "issued_before": "yesterday"}, 422),
        ({"credential_id": "a", "issued_before": "2025-07-30T12:00:00Z"}, 400),
        ({"credential_id": "a", "expires_at": "2025-07-30T12:00:00Z"}, 400),
        ({"token": "a"}, 400),
    ],
)
def test_invalid_revocation_is_refused(hub: Secured, body: dict[str, str], status: int) -> None:
    answer = hub.request("POST", "/v1/admin/revocations", "root", json=body)
    assert answer.status_code == status
    assert answer.json()["hint"]


def test_revocation_is_kept_for_the_longest_life_of_a_token() -> None:
    with Secured("native", max_life_s=86_400.0) as hub:
        began_ns = hub.server.call(hub.server.app.hub.now_ns)
        hub.request("POST", "/v1/admin/revocations", "root", json={"subject": "ada"}).raise_for_status()
        body = {"subject": "bob", "expires_at": "2999-01-01T00:00:00Z"}
        hub.request("POST", "/v1/admin/revocations", "root", json=body).raise_for_status()
        ada, bob = hub.get("/v1/admin/revocations", "root").json()["revocations"]
    assert bob["expires_at"].startswith("2999-01-01T00:00:00")
    assert 0 <= to_nanoseconds(ada["expires_at"]) - began_ns - 86_400 * 10**9 < 60 * 10**9


def test_metrics_count_credentials_by_outcome(hub: Secured) -> None:
    for who, status in (("root", 200), ("eve", 401), ("eve", 401), ("", 401)):
        assert hub.get("/metrics", who).status_code == status
    lines = hub.get("/metrics", "root").text.splitlines()
    series = {line for line in lines if line.startswith("tidings_authentications_total")}
    counted = {line for line in series if not line.endswith(" 0.0")}
    assert 'tidings_authentications_total{outcome="token_truncated"} 0.0' in series - counted
    assert counted == {
        'tidings_authentications_total{outcome="accepted"} 2.0',
        'tidings_authentications_total{outcome="invalid_token"} 2.0',
        'tidings_authentications_total{outcome="unauthenticated"} 1.0',
    }


def test_revocations_are_listed_in_pages(hub: Secured) -> None:
    for name in ("a", "b", "c"):
        hub.request("POST", "/v1/admin/revocations", "root", json={"subject": name})
    first = hub.get("/v1/admin/revocations?limit=2", "root").json()
    rest = hub.get(f"/v1/admin/revocations?limit=2&after={first['next']}", "root").json()
    assert [row["name"] for row in first["revocations"] + rest["revocations"]] == ["a", "b", "c"]
    assert "next" not in rest
    assert [row["name"] for row in hub.get("/v1/admin/revocations?name=b", "root").json()["revocations"]] == ["b"]


def test_hub_without_authentication_has_nothing_to_administer() -> None:
    with HubServer() as server:
        answer = httpx.get(f"{server.http}/v1/admin/sessions")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert httpx.get(f"{server.http}/metrics").status_code == 200
        ticket = httpx.post(f"{server.http}/v1/tickets").json()["ticket"]
        with Stream(server.port, f"?ticket={ticket}") as stream:
            stream.until("channel:live")
