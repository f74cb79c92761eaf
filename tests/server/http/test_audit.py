"""What the audit trail records of requests and connections, with real sockets."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import HubServer, Stream, update
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tidings.access.audit import AuditRecord
from tidings.hub.clock import SystemClock

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
V1 = Subprotocol("tidings.v1")


def read_to_the_end(socket: ClientConnection) -> None:
    """Read until the server closes, and raise why."""
    while True:
        socket.recv(60)


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_trail_records_who_did_what_from_where(edge: Any) -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("s3cret-ada", "read *", "cancel operations/a*", "publish operations", name="ada")
    tokens.add("s3cret-root", "admin", name="root")
    records: list[AuditRecord] = []
    with HubServer(edge, access=tokens.options) as server:
        server.call(lambda: server.app.hub.audit.sinks.append(records.append))
        ada = httpx.Client(base_url=server.http, headers={"Authorization": "Bearer s3cret-ada"})
        root = httpx.Client(base_url=server.http, headers={"Authorization": "Bearer s3cret-root"})
        with ada, root:
            for operation_id in ("a1", "b1"):
                start = {"type": "operation:start", "data": {"operation_id": operation_id, "queued": True}}
                ada.post("/v1/events", json=start).raise_for_status()
            ada.post("/v1/events", json=[update("secret-name")])
            ada.post("/v1/operations/b1/cancel", json={})
            ada.post("/v1/operations/a1/cancel", json={})
            ada.get("/metrics")
            httpx.get(f"{server.http}/v1/events?channel=data/secret-name", headers={"Authorization": "Bearer s3cret-x"})
            ada.post("/v1/tickets").raise_for_status()
            headers = {"Authorization": "Bearer s3cret-ada"}
            with (
                Stream(server.port, headers=headers) as stream,
                connect(server.ws, additional_headers=headers, proxy=None) as socket,
            ):
                stream.until("channel:live")
                socket.recv(60)
                root.post("/v1/admin/revocations", json={"subject": "ada"}).raise_for_status()
                stream.until("auth:failed")
                with pytest.raises(ConnectionClosed, match="revoked"):
                    read_to_the_end(socket)
    told = {(record.action, record.outcome, record.subject, record.facts.get("code")) for record in records}
    assert told == {
        ("publish", "refused", "ada", "forbidden"),
        ("cancel", "refused", "ada", "forbidden"),
        ("cancel", "accepted", "ada", None),
        ("admin", "refused", "ada", "forbidden"),
        ("request", "refused", "", "invalid_token"),
        ("ticket", "accepted", "ada", None),
        ("connect", "accepted", "ada", None),
        ("connect", "ended", "ada", "credential_revoked"),
        ("revoke", "accepted", "root", None),
    }
    assert {record.address for record in records} == {"127.0.0.1"}
    assert sorted(r.facts["transport"] for r in records if r.action == "connect") == ["stream"] * 2 + ["websocket"] * 2
    assert "s3cret" not in str(records)
    assert "secret-name" not in str(records)


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_trail_records_what_may_not_be_read_and_waits_that_lose_their_right(edge: Any) -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("s3cret-eve", "read operations/eve.*", "publish operations/eve.*", name="eve")
    tokens.add("s3cret-bob", "read operations/bob.*", name="bob")
    records: list[AuditRecord] = []
    headers = {"Authorization": "Bearer s3cret-eve"}
    with (
        HubServer(edge, access=tokens.options) as server,
        httpx.Client(base_url=server.http, headers=headers, timeout=60) as eve,
        ThreadPoolExecutor(1) as thread,
    ):
        server.call(lambda: server.app.hub.audit.sinks.append(records.append))
        for path in ("v1/events", "ws"):  # a page of another site
            assert eve.get(f"/{path}", headers={**HANDSHAKE, "Origin": "https://evil.example"}).status_code == 403
        for path in ("events?channel=data", "snapshot?channel=data", "system", "stream?channel=data"):
            assert eve.get(f"/v1/{path}").status_code == 403
        assert eve.post("/v1/operations/bob.x/cancel", json={}).status_code == 404
        with connect(server.ws, additional_headers=headers, subprotocols=[V1], proxy=None) as socket:
            for type, data in (
                ("channel:subscribe", {"channels": ["data"]}),
                ("operation:cancel", {"operation_id": "bob.x"}),
                ("auth:token", {"token": "s3cret-bob"}),
            ):
                socket.send(json.dumps({"type": type, "id": type, "data": data}))
                while json.loads(socket.recv(60)).get("reply_to") != type:
                    pass
        with (
            connect(f"{server.ws}?channel=data", additional_headers=headers, proxy=None) as socket,
            pytest.raises(ConnectionClosed, match="no grant"),
        ):
            read_to_the_end(socket)
        start = {"type": "operation:start", "data": {"operation_id": "eve.1"}}
        eve.post("/v1/events", json=start).raise_for_status()
        waiting = thread.submit(eve.get, "/v1/operations/eve.1?wait=60")
        control = server.call(lambda: server.app.hub.access)
        assert control is not None
        while not server.call(lambda: len(control)):
            pass
        del tokens.subjects["s3cret-eve"]
        server.call(control.reevaluate)
        assert waiting.result().status_code == 401
    told = [
        (r.action, r.outcome, r.subject, r.facts["code"], r.facts.get("path", r.facts.get("type", "")))
        for r in records
        if r.outcome != "accepted"
    ]
    assert told == [
        ("request", "refused", "", "origin_refused", ""),
        ("request", "refused", "", "origin_refused", ""),
        ("request", "refused", "eve", "forbidden", "/v1/events"),
        ("request", "refused", "eve", "forbidden", "/v1/snapshot"),
        ("request", "refused", "eve", "forbidden", "/v1/system"),
        ("request", "refused", "eve", "forbidden", "/v1/stream"),
        ("cancel", "refused", "eve", "operation_unknown", ""),
        ("request", "refused", "eve", "forbidden", "channel:subscribe"),
        ("cancel", "refused", "eve", "forbidden", ""),
        ("connect", "refused", "eve", "forbidden", ""),
        ("request", "refused", "eve", "forbidden", "channel:subscribe"),
        ("request", "ended", "eve", "invalid_token", "/v1/operations/eve.1"),
    ]


def admin_of(server: HubServer, query: str = "", **headers: str) -> Stream:
    return Stream(
        server.port, query, path="/v1/admin/audit", headers={"Authorization": "Bearer s3cret-root", **headers}
    )


@pytest.fixture(params=["native", "asgi"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[HubServer, TokenTable]]:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("s3cret-root", "admin", name="root")
    tokens.add("s3cret-ada", "read *", name="ada")
    with HubServer(request.param, access=tokens.options) as running:
        yield running, tokens


def test_administrator_reads_records_as_they_come(server: tuple[HubServer, TokenTable]) -> None:
    hub, _ = server
    audit = hub.call(lambda: hub.app.hub.audit)
    hub.call(lambda: audit.record("key", "accepted", subject="root", name="before"))
    with admin_of(hub) as stream:
        assert stream.message()["data"]["name"] == "before"
        hub.call(lambda: audit.record("key", "accepted", subject="root", name="after"))
        event = stream.message()
        assert (event["type"], event["data"]["action"], event["data"]["name"]) == ("system:audit", "key", "after")
        last = stream.last_id
    hub.call(lambda: audit.record("key", "accepted", subject="root", name="missed"))
    with admin_of(hub, **{"Last-Event-ID": last}) as stream:
        assert stream.message()["data"]["name"] == "missed"
    with admin_of(hub, "?since=now") as stream:
        hub.call(lambda: audit.record("key", "accepted", subject="root", name="new"))
        assert stream.message()["data"]["name"] == "new"


def test_audit_stream_ends_with_the_right_to_read_it(server: tuple[HubServer, TokenTable]) -> None:
    hub, tokens = server
    refused = httpx.get(f"{hub.http}/v1/admin/audit", headers={"Authorization": "Bearer s3cret-ada"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    with admin_of(hub) as stream:
        stream.message()
        tokens.add("s3cret-root", "read *", name="root")
        control = hub.call(lambda: hub.app.hub.access)
        assert control is not None
        hub.call(control.reevaluate)
        fields = stream.block()
        assert (fields["retry"], "auth:failed" in fields["data"]) == ("60000", True)
        with pytest.raises(EOFError):
            stream.block()


def test_audit_stream_ends_when_the_hub_drains(server: tuple[HubServer, TokenTable]) -> None:
    hub, _ = server
    audit = hub.call(lambda: hub.app.hub.audit)
    with admin_of(hub) as stream:
        hub.call(lambda: audit.record("key", "accepted", subject="root"))
        stream.message()
        hub.call(hub.app.drain)
        assert all("audit" in line for line in stream.response.read().decode().splitlines() if "data:" in line)
