"""What the audit trail records of requests and connections, with real sockets."""

from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import HubServer, Stream, update
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tidings.access.audit import AuditRecord
from tidings.hub.clock import SystemClock


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
