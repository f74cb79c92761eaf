"""Who may do what over HTTP: with real sockets, behind our own server and behind another ASGI server."""

import http.client
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs
from tests.access.token_table import TokenTable
from tests.log.sqlite_harness import wait_until
from tests.server.hub_server import HubServer, Stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tidings.exceptions import LogReadOnly
from tidings.hub.clock import SystemClock
from tidings.protocol.timestamps import to_nanoseconds

ALL = ("read *", "publish *", "publish global", "cancel operations", "details")


class Secured:
    """A hub that knows a few tokens, and requests to it."""

    def __init__(
        self,
        edge: Any,
        allow_origins: Iterable[str] = (),
        clock: SystemClock | None = None,
        config: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.tokens = TokenTable(SystemClock().wall_ns)
        add = self.tokens.add
        add("ada-token", "read operations/acme.*", "read data/daily-*", "publish operations/acme.*", name="ada")
        add("bob-token", "read operations/zeta.*", "publish operations/zeta.*", name="bob")
        add("writer-token", *ALL, name="writer")
        add("canceller-token", "read operations", "cancel operations/acme.*", name="canceller")
        add("root-token", "admin", name="root")
        add("nobody-token", name="nobody")
        access = msgspec.structs.replace(self.tokens.options, **options)
        self.server = HubServer(edge, access=access, allow_origins=allow_origins, clock=clock, config=config)

    def __enter__(self) -> "Secured":
        self.server.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.__exit__(*args)

    def request(self, method: str, path: str, who: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}-token"} if who else {}
        headers.update(options.pop("headers", {}))
        return httpx.request(method, self.server.http + path, headers=headers, timeout=60, **options)

    def get(self, path: str, who: str = "", **options: Any) -> httpx.Response:
        return self.request("GET", path, who, **options)

    def post(self, *events: dict[str, Any], who: str = "writer", **options: Any) -> Any:
        answer = self.request("POST", "/v1/events", who, json=list(events), **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def stream(self, query: str, who: str, **headers: str) -> Stream:
        return Stream(self.server.port, query, headers={"Authorization": f"Bearer {who}-token", **headers})


@pytest.fixture(params=["native", "asgi"])
def hub(request: pytest.FixtureRequest) -> Iterator[Secured]:
    with Secured(request.param) as running:
        yield running


def start(operation_id: str, **data: Any) -> dict[str, Any]:
    return {"type": "operation:start", "data": {"operation_id": operation_id, **data}}


def fail(operation_id: str) -> dict[str, Any]:
    error = {"code": "boom", "message": "it broke", "details": "Traceback: secret.py", "recoverable": False}
    return {"type": "operation:failed", "data": {"operation_id": operation_id, **error}}


def update(dataset: str) -> dict[str, Any]:
    return {"type": "data:update", "data": {"dataset": dataset}}


# Who asks.

GUARDED = [
    ("GET", "/v1/events"),
    ("POST", "/v1/events"),
    ("GET", "/v1/snapshot"),
    ("GET", "/v1/stream"),
    ("GET", "/v1/operations"),
    ("GET", "/v1/operations/acme.1"),
    ("GET", "/v1/operations/acme.1?wait=60"),
    ("POST", "/v1/operations/acme.1/cancel"),
    ("GET", "/v1/operation-names"),
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


# Reading.


def test_star_is_everything_that_may_be_read(hub: Secured) -> None:
    hub.post(start("acme.1"), start("zeta.1"), update("daily-1"), update("other"))
    for query in ("", "?channel=*"):
        for path in ("/v1/events", "/v1/snapshot"):
            keys = {
                event["data"].get("operation_id") or event["data"]["dataset"]
                for event in hub.get(path + query, "ada").json()["events"]
            }
            assert keys == {"acme.1", "daily-1"}
    assert [event["type"] for event in hub.get("/v1/events", "bob").json()["events"]] == ["operation:start"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/snapshot", "/v1/stream"])
@pytest.mark.parametrize(
    "query", ["?channel=data", "?channel=operations/zeta.1", "?channels=data/daily-*,system", "?channel=operations/a*"]
)
def test_path_beyond_the_grants_is_refused_with_those_allowed(hub: Secured, path: str, query: str) -> None:
    answer = hub.get(path + query, "ada")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["allowed"] == ["data/daily-*", "global", "operations/acme.*"]
    assert "operations/acme.*" in answer.json()["hint"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/snapshot", "/v1/stream"])
def test_subject_without_grants_reads_nothing(hub: Secured, path: str) -> None:
    for query in ("", "?channel=data", "?channel=global"):
        answer = hub.get(path + query, "nobody")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_history_of_keys_needs_grants_for_the_keys_only(hub: Secured) -> None:
    hub.post(update("daily-1"), update("other"))
    events = hub.get("/v1/events?channel=data&key=daily-1", "ada").json()["events"]
    assert [event["data"]["dataset"] for event in events] == ["daily-1"]
    assert hub.get("/v1/events?channel=data&key=other", "ada").status_code == 403
    assert hub.get("/v1/events?key=other", "ada").json()["events"] == []


# Operations.


def test_parent_that_may_not_be_read_is_an_id_and_nothing_more(hub: Secured) -> None:
    hub.post(
        start("zeta.1", name="secret plan"), start("acme.1", parent_id="zeta.1"), start("zeta.2", parent_id="zeta.1")
    )
    assert hub.get("/v1/operations/acme.1", "ada").json()["parent_id"] == "zeta.1"
    assert hub.get("/v1/operations/zeta.1", "ada").status_code == 404
    listed = hub.get("/v1/operations?parent=zeta.1", "ada")
    assert [operation["operation_id"] for operation in listed.json()["operations"]] == ["acme.1"]
    assert "secret plan" not in listed.text


def test_lists_and_names_show_only_what_may_be_read(hub: Secured) -> None:
    hub.post(
        start("acme.1", name="nightly"),
        start("zeta.1", name="nightly"),
        start("zeta.2", name="secret plan", parent_id="acme.1"),
        fail("acme.1"),
        fail("zeta.1"),
        fail("zeta.2"),
    )
    listed = hub.get("/v1/operations", "ada").json()["operations"]
    assert [operation["operation_id"] for operation in listed] == ["acme.1"]
    assert hub.get("/v1/operations?find=zeta.1", "ada").json()["operations"] == []
    assert hub.get("/v1/operations?parent=acme.1", "ada").json()["operations"] == []
    assert hub.get("/v1/operations/acme.1", "ada").json()["children"] == []
    assert len(hub.get("/v1/operations/acme.1", "writer").json()["children"]) == 1
    [name] = hub.get("/v1/operation-names", "ada").json()["names"]
    assert (name["name"], name["runs"], name["failed"]) == ("nightly", 1, 1)
    names = hub.get("/v1/operation-names", "writer").json()["names"]
    assert {name["name"]: name["runs"] for name in names} == {"nightly": 2, "secret plan": 1}
    assert hub.get("/v1/operation-names", "nobody").json() == {"names": []}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unreadable_operation_does_not_exist(hub: Secured, method: str) -> None:
    hub.post(start("zeta.real"), start("acme.real"))
    suffix = "/cancel" if method == "POST" else ""
    answers = []
    for operation_id in ("zeta.real", "zeta.none"):
        answer = hub.request(method, f"/v1/operations/{operation_id}{suffix}", "ada")
        assert answer.status_code == 404
        answers.append(answer.text.replace(operation_id, "ID"))
    assert answers[0] == answers[1]
    assert "zeta.real" not in hub.get("/v1/operations/zeta.rea", "ada").text
    assert "acme.real" in hub.get("/v1/operations/acme.rea", "ada").text


def test_wait_for_an_unreadable_operation_is_answered_immediately(hub: Secured) -> None:
    hub.post(start("zeta.live"), start("zeta.ended"), fail("zeta.ended"))
    before = hub.server.call(lambda: len(hub.server.app.running().long_polls))
    for operation_id in ("zeta.live", "zeta.ended", "zeta.none"):
        assert hub.get(f"/v1/operations/{operation_id}?wait=60", "ada").status_code == 404
    assert hub.server.call(lambda: len(hub.server.app.running().long_polls)) == before


def test_details_need_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1", command="deploy --all", host="db.example", pid=17, user="root"), fail("acme.1"))
    for path in ("/v1/operations/acme.1", "/v1/operations", "/v1/events", "/v1/snapshot"):
        text = hub.get(path, "ada").text
        assert "it broke" in text
        for secret in ("deploy --all", "db.example", "secret.py"):
            assert secret not in text, path
            assert secret in hub.get(path, "writer").text, path


def test_stream_conceals_details_without_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1"), fail("acme.1"))
    for who, shown in (("ada", False), ("writer", True)):
        with hub.stream("?channels=operations/acme.1", who) as stream:
            (failed,) = [event["data"] for event in stream.events(2) if "message" in event["data"]]
            assert ("details" in failed) is shown


def test_stream_of_everything_follows_the_grants(hub: Secured) -> None:
    hub.tokens.add("eve-token", "read operations", name="eve")
    with hub.stream("?since=now", "eve") as stream:
        stream.until("channel:live")
        hub.tokens.add("eve-token", "read operations/acme.*", "read data", name="eve")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        assert stream.until("channel:live")[0]["data"]["removed"] == ["operations"]
        hub.post(start("acme.1"), start("zeta.1"), update("daily-1"))
        assert [next(iter(event["data"].values())) for event in stream.events(2)] == ["acme.1", "daily-1"]


def test_cancelling_reaches_only_descendants_with_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1"), start("zeta.1", parent_id="acme.1", queued=True))
    answer = hub.request("POST", "/v1/operations/acme.1/cancel", "canceller", json={"timeout_s": 0})
    assert answer.json().get("children") is None
    assert hub.get("/v1/operations/zeta.1", "writer").json()["state"] == "queued"


def test_producer_is_shown_to_its_own_subject_only(hub: Secured) -> None:
    hub.post(start("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    assert hub.get("/v1/operations/acme.1", "ada").json()["producer_id"] == "worker-1"
    for who in ("writer", "root"):
        assert "worker-1" not in hub.get("/v1/operations/acme.1", who).text
        assert "worker-1" not in hub.get("/v1/operations", who).text


def test_producer_id_of_another_subject_ends_nothing(hub: Secured) -> None:
    hub.post(start("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    [result] = hub.post(fail("acme.1"), headers={"Tidings-Producer": "worker-1"})
    assert result["error"]["code"] == "operation_fenced"
    [result] = hub.post(fail("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    assert "position" in result


def test_idempotency_key_belongs_to_its_subject(hub: Secured) -> None:
    key = {"Idempotency-Key": "0197c1b2-6f0e-7c44"}
    event = {"type": "operation:log", "data": {"operation_id": "acme.1", "level": "info", "message": "a"}}
    for who in ("ada", "writer"):
        hub.post(start(f"acme.{who}"), who=who)
        event["data"] = {**event["data"], "operation_id": f"acme.{who}"}  # type: ignore[dict-item]
        answer = hub.request("POST", "/v1/events", who, json=event, headers=key)
        assert (answer.status_code, "duplicate" in answer.json()) == (200, False)


# Publishing and cancelling.


def test_each_event_of_a_batch_is_checked_by_itself(hub: Secured) -> None:
    results = hub.post(start("acme.1"), start("zeta.1"), update("daily-1"), start("acme.2"), who="ada")
    assert ["position" in result for result in results] == [True, False, False, True]
    assert {result["error"]["code"] for result in results if "error" in result} == {"forbidden"}
    answer = hub.request("POST", "/v1/events", "ada", json=start("zeta.2"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["allowed"] == ["operations/acme.*"]
    assert hub.get("/v1/operations", "writer").json()["operations"][0]["operation_id"] == "acme.2"


def test_cancelling_needs_a_grant_and_names_the_subject(hub: Secured) -> None:
    hub.post(start("acme.1", queued=True), start("zeta.1", queued=True))
    answer = hub.request("POST", "/v1/operations/zeta.1/cancel", "canceller", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    body = {"cancelled_by": "the boss", "reason": "late"}
    answer = hub.request("POST", "/v1/operations/acme.1/cancel", "canceller", json=body)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "cancelled")
    assert hub.get("/v1/operations/acme.1", "writer").json()["cancelled_by"] == "canceller"


def test_stream_follows_the_grant_for_details(hub: Secured) -> None:
    with hub.stream("?channel=operations/acme.*", "ada") as stream:
        stream.until("channel:live")
        hub.post(start("acme.1", host="db.example"))
        assert stream.events(1)[0]["data"] == {"operation_id": "acme.1"}
        hub.tokens.add("ada-token", "read operations/acme.*", "details", name="ada")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        stream.until("auth:success")
        hub.post(start("acme.2", host="db.example"))
        assert stream.events(1)[0]["data"]["host"] == "db.example"


def test_stream_of_everything_follows_new_grants(hub: Secured) -> None:
    with hub.stream("?since=now", "bob") as stream:
        stream.until("channel:live")
        hub.tokens.add("bob-token", "read data", name="bob")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        stream.until("channel:live")
        hub.post(start("zeta.9"), update("new"))
        assert stream.events(1)[0]["data"] == {"dataset": "new"}


# Operations of the hub.


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
    counted = {line for line in lines if line.startswith("tidings_authentications_total")}
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


# Rights that are lost while something is open.


class SlowPost:
    """A request whose head and first byte are sent; the rest of its body follows later."""

    def __init__(self, hub: Secured, path: str, who: str, body: object) -> None:
        self._body = msgspec.json.encode(body)
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.server.port, timeout=30)
        self._connection.putrequest("POST", path)
        for name, value in (
            ("Authorization", f"Bearer {who}-token"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(self._body))),
        ):
            self._connection.putheader(name, value)
        verified = len(hub.tokens.requests)
        self._connection.endheaders(self._body[:1])
        wait_until(lambda: len(hub.tokens.requests) > verified)

    def finish(self) -> tuple[int, Any]:
        self._connection.send(self._body[1:])
        answer = self._connection.getresponse()
        found = answer.status, msgspec.json.decode(answer.read())
        self._connection.close()
        return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/events", start("acme.9")),
        ("/v1/events", [start("acme.9")]),
        ("/v1/operations/acme.1/cancel", {"timeout_s": 0}),
        ("/v1/admin/revocations", {"subject": "ada"}),
        ("/v1/tickets", {}),
    ],
)
@pytest.mark.parametrize("loss", ["revoked", "expired", "forgotten"])
def test_right_that_is_lost_while_a_body_arrives(hub: Secured, path: str, body: object, loss: str) -> None:
    hub.post(start("acme.1"))
    life_s = 0.5 if loss == "expired" else None
    hub.tokens.add("slow-token", "admin", name="slow", expires_s=life_s)
    post = SlowPost(hub, path, "slow", body)
    if loss == "revoked":
        assert hub.request("POST", "/v1/admin/revocations", "root", json={"subject": "slow"}).status_code == 200
    elif loss == "forgotten":
        del hub.tokens.subjects["slow-token"]
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
    else:
        wait_until(lambda: hub.get("/v1/operations", "slow").status_code == 401)
    codes = {"revoked": "credential_revoked", "expired": "token_expired", "forgotten": "invalid_token"}
    status, answer = post.finish()
    assert (status, answer.get("code")) == (401, codes[loss])
    assert hub.get("/v1/operations/acme.9", "root").status_code == 404
    assert hub.get("/v1/operations/acme.1", "root").json()["state"] == "running"
    assert hub.get("/v1/admin/revocations?name=ada", "root").json()["revocations"] == []


def test_right_that_is_lost_while_a_batch_waits_for_room() -> None:
    with Secured("native", config={"staged_events": 2}) as hub, ThreadPoolExecutor(1) as pool:
        hub.tokens.add("slow-token", "publish data", name="slow")
        hub.server.call(hub.server.log.hold_appends)
        batch = pool.submit(hub.post, *(update(f"d{number}") for number in range(9)), who="slow")
        hub.server.wait(lambda: hub.server.app.hub.room.waiting == 1)
        staged = hub.server.app.hub.staged
        assert 0 < staged < 9
        hub.server.call(lambda: hub.tokens.subjects.pop("slow-token"))
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        hub.server.call(hub.server.log.release_appends)
        results = batch.result()
        assert [result.get("error", {}).get("code") for result in results] == [
            *[None] * staged,
            *["invalid_token"] * (9 - staged),
        ]
        assert len(hub.get("/v1/events?channel=data", "root").json()["events"]) == staged


def test_grant_that_is_lost_while_a_body_arrives(hub: Secured) -> None:
    hub.tokens.add("slow-token", "publish operations/acme.*", name="slow")
    post = SlowPost(hub, "/v1/events", "slow", [start("acme.9"), start("other.9")])
    hub.tokens.add("slow-token", "publish operations/other.*", name="slow")
    control = hub.server.call(lambda: hub.server.app.hub.access)
    assert control is not None
    hub.server.call(control.reevaluate)
    _, answer = post.finish()
    assert answer["results"][0]["error"]["code"] == "forbidden"
    assert "position" in answer["results"][1]


def test_stream_loses_only_the_paths_that_are_no_longer_granted(hub: Secured) -> None:
    with hub.stream("?channels=operations/acme.*,data/daily-*", "ada") as stream:
        stream.until("channel:live")
        hub.tokens.add("ada-token", "read data/daily-*", name="ada")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        success = stream.until("auth:success")[-1]
        assert success["data"]["removed"] == ["operations/acme.*"]
        hub.post(start("acme.1"), update("daily-1"))
        assert stream.events(1)[0]["data"] == {"dataset": "daily-1"}
        hub.tokens.add("ada-token", name="ada")
        hub.server.call(control.reevaluate)
        failed, closed = stream.until("connection:closed")[-2:]
        assert failed["data"]["code"] == "forbidden"
        assert closed["data"]["reconnect"] is False


def test_expiry_ends_a_stream_with_a_warning_before(hub: Secured) -> None:
    hub.tokens.add("short-token", "read data", name="short", expires_s=1.5)
    with hub.stream("?channel=data", "short") as stream:
        messages = stream.until("channel:live")
        required = stream.until("auth:required")[-1]
        assert required["data"]["reason"] == "expiring"
        assert 0 < required["data"]["deadline_s"] <= 1.5
        failed, closed = stream.until("connection:closed")[-2:]
        assert (failed["type"], failed["data"]["code"]) == ("auth:failed", "token_expired")
        assert closed["data"]["code"] == 4001
        with pytest.raises(EOFError):
            stream.block()
    assert messages


def test_event_source_is_told_not_to_come_back_soon(hub: Secured) -> None:
    with Stream(hub.server.port, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.response.status == 200
        first = stream.block()
        assert first["retry"] == "60000"
        assert msgspec.json.decode(first["data"])["type"] == "auth:failed"
        closed = stream.message()
        assert (closed["type"], closed["data"]["reconnect"]) == ("connection:closed", False)


def test_last_block_of_a_stream_that_lost_its_right_delays_reconnects(hub: Secured) -> None:
    with hub.stream("?channel=data/daily-*", "ada") as stream:
        stream.until("channel:live")
        hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
        fields = [stream.block() for _ in range(2)]
        assert fields[-1]["retry"] == "60000"


def test_right_that_is_lost_ends_a_wait(hub: Secured) -> None:
    hub.post(start("acme.1"))
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(hub.get("/v1/operations/acme.1?wait=60", "ada")))
    waiting.start()
    hub.server.wait(lambda: len(hub.server.app.running().long_polls) == 1)
    hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
    waiting.join(60)
    assert (answers[0].status_code, answers[0].json()["code"]) == (401, "credential_revoked")


# Tickets.


def test_ticket_opens_one_stream_with_the_rights_of_its_credential(hub: Secured) -> None:
    answer = hub.request("POST", "/v1/tickets", "ada")
    assert answer.headers["cache-control"] == "no-store"
    ticket = answer.json()["ticket"]
    with capture_logs() as logged, Stream(hub.server.port, f"?ticket={ticket}") as stream:
        live = stream.until("channel:live")[-1]
        assert live["data"]["channels"] == ["data/daily-*", "global", "operations/acme.*"]
        again = hub.get(f"/v1/stream?ticket={ticket}")
        assert (again.status_code, again.json()["code"]) == (401, "invalid_ticket")
        hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
        assert stream.until("auth:failed")[-1]["data"]["code"] == "credential_revoked"
    assert ticket not in str(logged)


@pytest.mark.parametrize("subprotocols", [None, ["tidings.v1"]], ids=["plain", "v1"])
def test_ticket_opens_one_websocket_with_the_rights_of_its_credential(hub: Secured, subprotocols: Any) -> None:
    ticket = hub.request("POST", "/v1/tickets", "ada").json()["ticket"]
    url = f"{hub.server.ws}?ticket={ticket}"
    with capture_logs() as logged:
        with connect(url, subprotocols=subprotocols, proxy=None) as socket:
            established = msgspec.json.decode(socket.recv(60))
            assert (established["data"]["auth"], established["data"]["channels"]) == (
                "ada",
                ["global", "operations", "data"],
            )
            hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
            with pytest.raises(ConnectionClosed, match="revoked"):
                read_to_the_end(socket)
        with (
            connect(url, subprotocols=subprotocols, proxy=None) as socket,
            pytest.raises(ConnectionClosed, match="ticket is not valid"),
        ):
            read_to_the_end(socket)
    assert ticket not in str(logged)


def read_to_the_end(socket: ClientConnection) -> None:
    """Read until the server closes, and raise why."""
    while True:
        socket.recv(60)


def test_ticket_opens_nothing_but_streams(hub: Secured) -> None:
    ticket = hub.request("POST", "/v1/tickets", "writer").json()["ticket"]
    for method, path in (("GET", "/v1/events"), ("POST", "/v1/tickets"), ("GET", "/v1/operations")):
        assert hub.request(method, f"{path}?ticket={ticket}").status_code == 401
    assert hub.get("/v1/stream?channel=data&ticket=wrong").json()["code"] == "invalid_ticket"


# Cookies.


@pytest.fixture(params=["native", "asgi"])
def cookie_hub(request: pytest.FixtureRequest) -> Iterator[Secured]:
    with Secured(request.param, cookie="__Host-sid") as running:
        yield running


def test_cookie_reads_and_changes_from_the_own_origin_only(cookie_hub: Secured) -> None:
    cookie = {"Cookie": "__Host-sid=writer-token"}
    own = {"Origin": cookie_hub.server.http}
    assert cookie_hub.get("/v1/operations", headers=cookie).status_code == 200
    for headers, status in (
        ({}, 403),
        (own, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 403),
        ({"Authorization": "Bearer writer-token"}, 200),
    ):
        answer = cookie_hub.request("POST", "/v1/events", json=update("a"), headers={**cookie, **headers})
        assert answer.status_code == status, headers
        if status == 403:
            assert answer.json()["code"] in ("forbidden", "origin_refused")


def test_cookie_changes_nothing_for_a_page_of_an_allowed_origin() -> None:
    allowed = "http://localhost:1"
    with Secured("native", cookie="sid", allow_origins=[allowed]) as secured:
        cookie = {"Cookie": "sid=writer-token", "Origin": allowed}
        assert secured.get("/v1/operations", headers=cookie).status_code == 200
        answer = secured.request("POST", "/v1/events", json=update("a"), headers=cookie)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_cookie_counts_only_where_it_is_configured(hub: Secured) -> None:
    assert hub.get("/v1/operations", headers={"Cookie": "__Host-sid=writer-token"}).status_code == 401


# Failures.


class StoppedClock(SystemClock):
    """A clock whose wall time stands still, so that no failure is forgiven meanwhile."""

    def wall_ns(self) -> int:
        return 1_753_876_800_000_000_000


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
