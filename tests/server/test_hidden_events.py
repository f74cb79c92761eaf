"""Two hubs, one of which has more events and operations that a reader may not read: both must give it equal answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import TIMEOUT_S, HubServer, update

READER = ("read operations/acme.*", "read data/acme.*", "publish operations/acme.*", "cancel operations/acme.*")
GET = (
    "operations",
    "operations?limit=1",
    "operations?find=zeta.1",
    "operations?find=acme",
    "operations?name=secret",
    "operations?parent=zeta.1",
    "operations?parent=acme.1",
    "operations/zeta.1",
    "operations/zeta.1?wait=0.1",
    "operations/acme.1",
    "operations/acme.2",
    "operation-names",
    "operation-names?name=sec*",
    "operation-log?operation_id=zeta.1",
    "operation-log?operation_id=acme.1",
    "snapshot",
    "snapshot?channel=data/acme.*",
    "snapshot?channel=data/zeta.1",
    "events?since=first&limit=1",
    "events?since=first&channel=*",
    "events?since=first&channel=operations/acme.*&limit=2",
    "events?since=first&channel=data/zeta.*",
    "system",
    "admin/revocations",
)
POST: tuple[tuple[str, dict[str, Any]], ...] = (
    ("operations/zeta.1/cancel", {}),
    ("operations/acme.1/cancel", {"timeout_s": 0.1}),
    ("events", {"type": "operation:complete", "data": {"operation_id": "zeta.1"}}),
    ("events", {"type": "operation:start", "data": {"operation_id": "zeta.2", "name": "job"}}),
    ("events", {"type": "operation:start", "data": {"operation_id": "acme.8", "name": "job", "parent_id": "zeta.3"}}),
    ("events", {"type": "operation:start", "data": {"operation_id": "acme.9", "name": "job", "resumes": "zeta.2"}}),
)
PLACES = {"position", "next", "trace_id", "timestamp", "event_id"}
"""Members that differ between two hubs: positions, times and random ids. Positions count all events."""


def start(id: str, name: str = "job", **more: str) -> dict[str, Any]:
    return {"type": "operation:start", "data": {"operation_id": id, "name": name, **more}}


def complete(id: str) -> dict[str, Any]:
    return {"type": "operation:complete", "data": {"operation_id": id}}


SHOWN = (start("acme.1"), start("acme.2", parent_id="zeta.1"), complete("acme.2"), update("acme.1"))
HIDDEN = (
    *(start("zeta.1"), start("zeta.2", parent_id="acme.1"), complete("zeta.2")),
    *(start("zeta.3", "secret"), complete("zeta.3"), *(update("zeta.1", version) for version in range(30))),
)


def without_places(value: Any) -> Any:
    if isinstance(value, list):
        return [without_places(each) for each in value]
    if isinstance(value, dict):
        return {
            name: without_places(each)
            for name, each in value.items()
            if name not in PLACES and not re.search("(^|_)at$|duration", name)
        }
    return value


@pytest.fixture(scope="module")
def hubs() -> Iterator[tuple[HubServer, HubServer]]:
    def hub() -> HubServer:
        tokens = TokenTable()
        tokens.add("writer", "publish operations", "publish data")
        tokens.add("reader", *READER)
        return HubServer(access=tokens.options)

    with hub() as plain, hub() as full:
        for server, events in ((plain, SHOWN), (full, (*HIDDEN, *SHOWN, *HIDDEN[-20:]))):
            for event in events:
                assert ask(server, "events", "writer", event)[0] == 200
        yield plain, full


def ask(hub: HubServer, path: str, token: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    answer = httpx.request(
        "GET" if body is None else "POST",
        f"{hub.http}/v1/{path}",
        headers={"Authorization": f"Bearer {token}"},
        json=body,
        timeout=TIMEOUT_S,
    )
    return answer.status_code, without_places(json.loads(answer.text))


def test_hidden_events_change_no_answer(hubs: tuple[HubServer, HubServer]) -> None:
    plain, full = hubs
    for path in GET:
        assert ask(full, path, "reader") == ask(plain, path, "reader"), path
    for path, body in POST:
        assert ask(full, path, "reader", body) == ask(plain, path, "reader", body), (path, body)
    assert ask(full, "operations/acme.1", "reader")[0] == 200
    assert ask(full, "operations/zeta.1", "reader")[0] == 404
