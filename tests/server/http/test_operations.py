import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from tests.server.hub_server import Edge, HubServer
from tests.server.operation_events import cancelled, complete, failed, line, progress, start

from tidings.log.base import Retention
from tidings.operations.run_history import RunHistory
from tidings.operations.views import NamesPage, OperationDetail, OperationPage, OperationSummary
from tidings.server.http.events import READS_AT_A_TIME
from tidings.server.http.operation_views import OperationViewBuilder


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


def page(client: httpx.Client, **query: Any) -> OperationPage:
    answer = client.get("/v1/operations", params=query)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=OperationPage)


def ids(client: httpx.Client, **query: Any) -> list[str]:
    return [summary.operation_id for summary in page(client, **query).operations]


def detail(client: httpx.Client, operation_id: str) -> OperationDetail:
    answer = client.get(f"/v1/operations/{operation_id}")
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=OperationDetail)


# Lists.


def test_position_of_a_list_leads_to_the_events_after_it(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("a", name="n"))
    position = page(client).position
    assert position is not None
    server.publish(progress("a", 5))
    later = client.get("/v1/events", params={"channel": "operations", "since": position}).json()
    assert [event["type"] for event in later["events"]] == ["operation:progress"]


def test_list_has_the_newest_operations_first(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("a", name="n"), start("b"), complete("a"), progress("c", 5), start("a"))
    found = page(client)
    assert [(one.operation_id, one.state, one.attempt) for one in found.operations] == [
        ("c", "running", 1),
        ("b", "running", 1),
        ("a", "running", 2),
    ]
    assert found.next is None


def test_list_filters_by_state_name_parent_and_age(server: HubServer, client: httpx.Client) -> None:
    old = {**start("old", name="import prices"), "timestamp": "2020-01-01T00:00:00Z"}
    server.publish(old, start("new", name="import rates", parent_id="old"), start("q", queued=True), failed("f"))
    server.publish(progress("old", 1))  # its producer's clock is right
    assert ids(client) == ["f", "q", "new", "old"]
    assert ids(client, state="failed") == ["f"]
    assert ids(client, state=["queued", "failed"]) == ["f", "q"]
    assert ids(client, name="import*") == ["new", "old"]
    assert ids(client, name="import prices") == ["old"]
    assert ids(client, parent="old") == ["new"]
    assert ids(client, since="6h") == ["f", "q", "new"]
    assert ids(client, since="2019-12-31T00:00:00Z") == ["f", "q", "new", "old"]
    server.publish(complete("old"))
    assert ids(client, since="6h", name="import prices") == ["old"]


@pytest.mark.parametrize("query", ["state=odd", "since=odd", "limit=0", "after=odd"])
def test_invalid_query_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/operations?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["hint"]


async def test_5000_operations_are_paged_once_while_others_change() -> None:
    with HubServer() as server:
        async with httpx.AsyncClient(base_url=server.http) as client:

            async def publish(events: list[dict[str, Any]]) -> None:
                answer = await client.post("/v1/events", json=events)
                assert all("position" in result for result in answer.json()["results"]), answer.text

            names = [f"op-{number:04}" for number in range(5_000)]
            for first in range(0, 5_000, 1_000):
                await publish([start(name, name="n") for name in names[first : first + 1_000]])

            async def disturb(round: int) -> None:
                some = names[round * 97 % 5_000 :][:20]
                await publish([event for name in some for event in (complete(name), start(name))])
                await publish([start(f"new-{round}"), cancelled(f"brief-{round}")])

            seen: list[str] = []
            after: dict[str, str] = {}
            for round in range(100):
                query = {"limit": "170", **after}
                answer, _ = await asyncio.gather(client.get("/v1/operations", params=query), disturb(round))
                found = msgspec.json.decode(answer.content, type=OperationPage)
                seen += [summary.operation_id for summary in found.operations]
                if found.next is None:
                    break
                after = {"after": found.next}
    assert [name for name in seen if name.startswith("op-")] == names[::-1]
    assert len(set(seen)) == len(seen)


def test_large_page_ends_early_with_a_cursor(client: httpx.Client, server: HubServer) -> None:
    text = "😀" * 2_000  # the most characters that are kept, of four bytes each
    for first_number in range(0, 300, 20):
        numbers = range(first_number, first_number + 20)
        server.publish(*(start(f"op-{n}", command=text) for n in numbers))
        server.publish(*(progress(f"op-{n}", 1, message=text) for n in numbers))
    first = page(client, limit=1_000)
    assert len(first.operations) < 300
    assert first.next is not None
    rest = page(client, limit=1_000, after=first.next)
    assert [one.operation_id for one in (*first.operations, *rest.operations)] == [
        f"op-{n}" for n in reversed(range(300))
    ]


def test_progress_is_rolled_up_by_weight_over_generations(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        start("top"),
        start("a", parent_id="top", metadata={"weight": 3}),
        start("b", parent_id="top"),
        start("a1", parent_id="a"),
        start("a2", parent_id="a"),
        complete("a1"),
        progress("b", 20),
    )
    found = {one.operation_id: (one.progress, one.progress_of) for one in page(client).operations}
    assert found == {
        "top": (42.5, "children"),
        "a": (50.0, "children"),
        "b": (20.0, None),
        "a1": (100.0, None),
        "a2": (None, None),
    }
    assert detail(client, "top").progress == 42.5


def test_cycles_of_parents_are_bounded(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("a", parent_id="c"), start("b", parent_id="a"), start("c", parent_id="b"), start("s"))
    server.publish(start("s", parent_id="s"))
    assert ids(client) == ["s", "c", "b", "a"]
    assert detail(client, "a").progress is None


# One operation.


def test_detail_has_all_fields_of_an_operation(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        start("earlier", name="import"),
        complete("earlier", duration_ms=4_000),
        start("night/1 ä", name="import", steps=["read", "write"], host="h", pid=7, user="u", metadata={"k": [1]}),
        line("night/1 ä", "hello", level="warning"),
        start("child", parent_id="night/1 ä"),
        progress("night/1 ä", 30, current_step="read", message="reading"),
    )
    shown = detail(client, "night%2F1%20%C3%A4")
    assert shown == detail(client, "night/1%20ä")
    assert (shown.operation_id, shown.state, shown.progress, shown.message) == (
        "night/1 ä",
        "running",
        30.0,
        "reading",
    )
    assert (shown.host, shown.pid, shown.user, shown.metadata) == ("h", 7, "u", {"k": [1]})
    assert [(step.name, step.state) for step in shown.steps] == [("read", "running"), ("write", "waiting")]
    assert [(line.level, line.message) for line in shown.log] == [("warning", "hello")]
    assert [child.operation_id for child in shown.children] == ["child"]
    assert shown.usual is not None
    assert (shown.usual.runs, shown.usual.failed, shown.usual.median_duration_s) == (1, 0, 4.0)
    assert shown.presence == "unknown"


def test_detail_has_the_end_of_an_operation(server: HubServer, client: httpx.Client) -> None:
    server.publish(complete("c", result={"rows": 3}, message="well"), cancelled("x", reason="r", cancelled_by="me"))
    server.publish(failed("f", hint="look", details="stack"), start("f"), failed("f", code="again"))
    assert (detail(client, "c").result, detail(client, "c").message) == ({"rows": 3}, "well")
    assert (detail(client, "x").reason, detail(client, "x").cancelled_by) == ("r", "me")
    shown = detail(client, "f")
    assert shown.error is not None
    assert (shown.error.code, shown.attempt) == ("again", 2)
    assert [(moment.attempt, moment.state) for moment in shown.timeline] == [
        (1, "failed"),
        (2, "running"),
        (2, "failed"),
    ]


def test_detail_has_the_newest_hundred_children(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("p"), *(start(f"c{n}", parent_id="p") for n in range(150)))
    assert [child.operation_id for child in detail(client, "p").children] == [f"c{n}" for n in range(50, 150)]
    assert len(ids(client, parent="p", limit=1_000)) == 150


@pytest.mark.parametrize(
    ("requested", "hint"),
    [
        ("nightly-2025-07-30", "Did you mean 'nightly-2025-07-31'? "),
        ("0197c1b2", "Did you mean '0197c1b2-6f0e-7c44'? "),
        ("something%20else", ""),
        ("x" * 5_000, ""),
    ],
)
def test_unknown_operation_is_refused_with_similar_ids(
    server: HubServer, client: httpx.Client, requested: str, hint: str
) -> None:
    server.publish(start("nightly-2025-07-31"), start("0197c1b2-6f0e-7c44"))
    for answer in (client.get(f"/v1/operations/{requested}"), client.post(f"/v1/operations/{requested}/cancel")):
        assert (answer.status_code, answer.json()["code"]) == (404, "operation_unknown")
        assert answer.json()["hint"] == f"{hint}`GET /v1/operations` lists all operations."
        assert len(answer.json()["message"]) < 150


def test_operation_path_refuses_other_methods(client: httpx.Client) -> None:
    for path, allowed in (
        ("/v1/operations/x", "GET, HEAD, OPTIONS"),
        ("/v1/operations/x/cancel", "OPTIONS, POST"),
        ("/v1/operations/x%2Fcancel", "GET, HEAD, OPTIONS"),
    ):
        assert client.options(path).headers["allow"] == allowed
        for method in {"GET", "POST", "PUT", "DELETE"} - set(allowed.split(", ")):
            refused = client.request(method, path)
            assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed"), (method, path)
            assert refused.headers["allow"] == allowed


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_listed_origin_may_read_and_cancel(edge: Edge) -> None:
    page_of = "https://app.example.com"
    with HubServer(edge, allow_origins=[page_of]) as server, httpx.Client(base_url=server.http) as client:
        preflight = client.options(
            "/v1/operations/a%2Fb/cancel", headers={"Origin": page_of, "Access-Control-Request-Method": "POST"}
        )
        assert "POST" in preflight.headers["access-control-allow-methods"]
        answer = client.get("/v1/operations/a%2Fb", headers={"Origin": page_of})
        assert answer.headers["access-control-allow-origin"] == page_of
        assert "Tidings-Cancel" in answer.headers["access-control-expose-headers"]
        refused = client.post("/v1/operations/a/cancel", headers={"Origin": "https://evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_refused")


def test_detail_has_the_estimate(client: httpx.Client) -> None:
    with HubServer(config={"estimate_s": 0.02}) as server, httpx.Client(base_url=server.http) as client:
        for percent in (10, 20, 30):
            server.publish(progress("op", percent))
        server.wait(lambda: server.app.hub.estimates.get("op") is not None)
        shown = detail(client, "op")
        assert shown.estimate is not None
        assert shown.stalled is shown.estimate.stalled is False
        server.publish(complete("op"))
        assert (detail(client, "op").estimate, detail(client, "op").stalled) == (None, None)


# Cancelling.


def test_queued_operation_is_cancelled(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("op", queued=True))
    answer = client.post("/v1/operations/op/cancel", json={"reason": "not needed"})
    assert answer.status_code == 200
    assert answer.json() == {"operation_id": "op", "attempt": 1, "outcome": "cancelled", "state": "cancelled"}
    assert detail(client, "op").reason == "not needed"
    again = client.post("/v1/operations/op/cancel")
    assert again.json()["outcome"] == "cancelled"


@pytest.mark.parametrize("operation_id", [".", "..", "a/../b", "cancel", "50 %/&+ä"])
def test_operation_named_in_the_query_may_have_any_id(
    server: HubServer, client: httpx.Client, operation_id: str
) -> None:
    server.publish(start("b", queued=True), start(operation_id, queued=True))
    named = {"operation_id": operation_id}
    assert client.get("/v1/operation", params=named).json()["operation_id"] == operation_id
    answer = client.post("/v1/operation/cancel", params=named, json={"reason": "not needed"})
    assert answer.json() == {**named, "attempt": 1, "outcome": "cancelled", "state": "cancelled"}
    shown = client.get("/v1/operation", params={**named, "wait": 60}).json()
    assert (shown["state"], shown["reason"]) == ("cancelled", "not needed")
    assert detail(client, "b").state == "queued"


@pytest.mark.parametrize("path", ["/v1/operation", "/v1/operation/cancel"])
def test_operation_route_needs_an_id_in_its_query(client: httpx.Client, path: str) -> None:
    method = "POST" if path.endswith("cancel") else "GET"
    for query, status in (({}, 400), ({"id": "op"}, 400), ({"operation_id": "op"}, 404), ({"operation_id": ""}, 404)):
        assert client.request(method, path, params=query).status_code == status, query
    assert client.request("PUT", path).status_code == 405


def test_cancel_of_ended_or_unheld_operation_is_answered_immediately(server: HubServer, client: httpx.Client) -> None:
    server.publish(complete("over"), start("unheld"))
    assert client.post("/v1/operations/over/cancel").json()["outcome"] == "finished_first"
    assert client.post("/v1/operations/unheld/cancel").json()["outcome"] == "unreachable"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", {"Content-Type": "application/json"}, 400, "invalid_json"),
        (b'{"timeout_s":-1}', {"Content-Type": "application/json"}, 400, "invalid_parameter"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b"", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "application/x-ndjson"}, 415, "unsupported_media_type"),
    ],
)
def test_invalid_cancel_body_is_refused(
    server: HubServer, client: httpx.Client, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    server.publish(start("op"))
    answer = client.post("/v1/operations/op/cancel", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


def test_cancel_with_a_query_is_refused(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("op", queued=True))
    answer = client.post("/v1/operations/op/cancel?reason=late")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert detail(client, "op").state == "queued"


def test_cancel_body_may_begin_with_a_byte_order_mark(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("op", queued=True))
    body = b'\xef\xbb\xbf{"reason":"late"}'
    answer = client.post("/v1/operations/op/cancel", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert detail(client, "op").reason == "late"


# Names.


def test_names_have_statistics_of_their_runs(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("a", name="import"), complete("a", duration_ms=1_000), start("b", name="import"))
    server.publish(complete("b", duration_ms=3_000), start("c", name="import"), failed("c"), start("r", name="import"))
    server.publish(start("d", name="export"), failed("d"), complete("nameless"))
    found = msgspec.json.decode(client.get("/v1/operation-names").content, type=NamesPage).names
    assert [(name.name, name.runs, name.failed, name.median_duration_s) for name in found] == [
        ("export", 1, 1, None),
        ("import", 3, 1, 2.0),
    ]
    assert found[0].last_success_at is None
    assert isinstance(found[1].newest, OperationSummary)
    assert (found[1].newest.operation_id, found[1].newest.state) == ("c", "failed")
    assert re.fullmatch(r"20\d\d-.*Z", found[1].last_success_at or "")
    for query, names in (("import", ["import"]), ("im*", ["import"]), ("*", ["export", "import"]), ("im", [])):
        answer = client.get("/v1/operation-names", params={"name": query}).json()
        assert [name["name"] for name in answer["names"]] == names


def test_name_keeps_its_newest_run_when_others_are_dropped() -> None:
    with HubServer(retention=Retention(operations=10)) as server, httpx.Client(base_url=server.http) as client:
        server.publish(start("once", name="rare"), complete("once"))
        for n in range(50):
            server.publish(start(f"op-{n}", name="often"), complete(f"op-{n}"))
        found = msgspec.json.decode(client.get("/v1/operation-names").content, type=NamesPage).names
        assert [(name.newest.operation_id if name.newest else "", name.runs) for name in found] == [
            ("op-49", 50),
            ("once", 1),
        ]
        assert ids(client, name="rare") == ["once"]
        assert len(ids(client)) <= 11


def test_many_names_are_listed_in_turns(server: HubServer, client: httpx.Client) -> None:
    for parent in range(3):
        children = [start(f"c{parent}-{n}", parent_id=f"p{parent}") for n in range(300)]
        server.publish(start(f"p{parent}"), *children, progress(f"c{parent}-0", 30))
    found = page(client, limit=1_000)
    assert len({one.operation_id for one in found.operations}) == len(found.operations) == 903
    assert [one.progress for one in found.operations if one.operation_id in ("p0", "p1", "p2")] == [0.1] * 3
    server.publish(*(event for n in range(400) for event in (start(f"n{n}", name=f"n{n}"), complete(f"n{n}"))))
    server.publish(*(event for n in range(400) for event in (start(f"m{n}", name=f"m{n}"), complete(f"m{n}"))))
    names = client.get("/v1/operation-names").json()["names"]
    assert [name["name"] for name in names] == [f"{letter}{n}" for letter in "mn" for n in reversed(range(400))]


async def test_few_requests_for_names_work_between_two_turns_of_the_loop(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.publish(*(event for n in range(300) for event in (start(f"n{n}", name=f"n{n}"), complete(f"n{n}"))))
    views = 0
    build = OperationViewBuilder.name

    def count(self: OperationViewBuilder, history: RunHistory, live: Any) -> Any:
        nonlocal views
        views += 1
        return build(self, history, live)

    monkeypatch.setattr(OperationViewBuilder, "name", count)

    async def most_at_a_time() -> int:
        nonlocal views
        most = 0
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            tasks = [asyncio.create_task(asking.get("/v1/operation-names")) for _ in range(20)]
            while not all(task.done() for task in tasks):
                views = 0
                await asyncio.sleep(0)
                most = max(most, views)
        return most

    counting = server.call(lambda: asyncio.create_task(most_at_a_time()))
    await asyncio.to_thread(server.wait, counting.done)
    assert 1 <= counting.result() <= READS_AT_A_TIME * 200
