"""What the pages of the dashboard ask of lists: searches, orders, totals, and figures about names."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import HubServer, leave_running
from tests.server.operation_events import cancelled, complete, failed, line, progress, start

from tidings.hub.clock import SystemClock
from tidings.operations.views import NamesPage, NameView, OperationDetail, OperationPage, OperationSummary
from tidings.testing.clock import ManualClock


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


def paged(client: httpx.Client, **query: Any) -> list[str]:
    """Return the ids on all pages."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        part = page(client, **query, **after)
        found += [each.operation_id for each in part.operations]
        if part.next is None:
            return found
        after = {"after": part.next}


def one(client: httpx.Client, operation_id: str) -> OperationDetail:
    return msgspec.json.decode(client.get(f"/v1/operations/{operation_id}").content, type=OperationDetail)


def names(client: httpx.Client, **query: Any) -> dict[str, NameView]:
    answer = client.get("/v1/operation-names", params=query)
    return {each.name: each for each in msgspec.json.decode(answer.content, type=NamesPage).names}


def lasting(operation_id: str, name: str, duration_s: float) -> list[dict[str, Any]]:
    """Return the events of a run that took a while."""
    return [start(operation_id, name=name), complete(operation_id, duration_ms=duration_s * 1000)]


def post_as(server: HubServer, producer: str, *events: dict[str, Any]) -> None:
    headers = {"Tidings-Producer": producer, "Tidings-Lease": "60"}
    httpx.post(f"{server.http}/v1/events", json=events, headers=headers).raise_for_status()


# Filters.


def test_search_finds_words_in_every_text_in_any_case(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        start("import/1", name="Import Straße"),
        progress("import/1", 5, current_step="Parse", message="12 of 90 files"),
        start("other", name="Export"),
        failed("broken", code="DiskFull", message="no space left on /var"),
        cancelled("stopped", reason="wrong file"),
    )
    for search, found in (
        ("IMPORT", ["import/1"]),
        ("strasse", ["import/1"]),
        ("parse files", ["import/1"]),
        ("port", ["other", "import/1"]),
        ("diskfull", ["broken"]),
        ("space  /VAR", ["broken"]),
        ("file", ["stopped", "import/1"]),
        ("import export", []),
        (" ", ["stopped", "broken", "other", "import/1"]),
    ):
        assert ids(client, q=search) == found, search
    assert client.get("/v1/operations", params={"q": "x" * 201}).json()["code"] == "invalid_parameter"


def test_filters_by_several_names_paths_and_a_producer(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("a/1", name="A"), start("a/2", name="B"), start("b/1", name="Cut"))
    post_as(server, "worker-1", start("b/2", name="Cot"))
    assert ids(client, name=["A", "C*"]) == ["b/2", "b/1", "a/1"]
    assert ids(client, path="operations/a*") == ["a/2", "a/1"]
    assert ids(client, path=["operations/a/1", "operations/b*"]) == ["b/2", "b/1", "a/1"]
    assert ids(client, path="data") == []
    assert ids(client, path="*") == ["b/2", "b/1", "a/2", "a/1"]
    assert ids(client, producer="worker-1") == ["b/2"]
    assert client.get("/v1/operations?path=odd").json()["code"] == "unknown_channel"
    assert client.get("/v1/operations?path=operations/").status_code == 422


def test_conditions_of_running_operations_are_filters(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("alone"), start("waiting", queued=True))
    leave_running(server, "worker-1", "left")
    assert ids(client, state="away") == ["left"]
    assert ids(client, state=["away", "queued"]) == ["left", "waiting"]
    assert ids(client, state="running") == ["left", "alone"]
    assert ids(client, state="stalled") == []
    counted = page(client, state="away", totals="true").totals
    assert counted is not None
    assert (counted.matching, counted.running, counted.away, counted.queued) == (1, 2, 1, 1)


def test_newest_run_of_each_name_is_chosen_before_other_filters(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        *(start("n/1", name="night"), failed("n/1"), start("m/1", name="morning"), start("none/1"), start("none/2")),
        *lasting("n/2", "night", 1),
    )
    assert ids(client, newest="true") == ["n/2", "none/2", "none/1", "m/1"]
    assert ids(client, newest="true", state="failed") == []


def test_failure_needs_attention_until_a_later_run_completes(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("n/1", name="night"), failed("n/1"), start("m/1", name="morning"), failed("m/1"))
    server.publish(start("alone"), failed("alone"), start("n/2", name="night"))
    assert ids(client, attention="true") == ["alone", "m/1", "n/1"], "it runs again, and may fail again"
    server.publish(complete("n/2"), start("m/2", name="morning"), cancelled("m/2"))
    assert ids(client, attention="true") == ["alone", "m/1"]
    server.publish(start("alone"), complete("alone"))
    assert ids(client, attention="true") == ["m/1"]


# Totals.


def test_totals_count_what_matches_and_not_the_page(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(start(f"r/{number}", name="run") for number in range(30)))
    server.publish(*(event for number in range(20) for event in lasting(f"c/{number}", "done", 1)))
    server.publish(start("q", queued=True), start("f"), failed("f"))
    found = page(client, limit=3, totals="true")
    assert len(found.operations) == 3
    assert found.totals is not None
    assert msgspec.structs.asdict(found.totals) == {
        **{"matching": 52, "queued": 1, "running": 30, "complete": 20, "failed": 1, "cancelled": 0},
        **{"stalled": 0, "away": 0},
    }
    found = page(client, limit=3, totals="true", state="complete", q="done")
    assert found.totals is not None
    assert (found.totals.matching, found.totals.complete, found.totals.running) == (20, 20, 0)
    assert page(client).totals is None
    for query in ({"find": "f"}, {"find": "f", "state": "queued"}, {"find": "run"}):
        found = page(client, totals="true", **query)
        assert found.totals is not None
        assert (found.totals.matching, found.totals.failed) == (len(found.operations), query["find"] == "f")


@pytest.mark.parametrize("query", [{"totals": "true"}, {"order": "asc"}, {"sort": "name"}, {"newest": "true"}])
def test_pages_of_a_scan_have_each_operation_once(
    server: HubServer, client: httpx.Client, query: dict[str, str]
) -> None:
    server.publish(*(start(f"op/{number:03}", name=f"name {number * 7 % 10}") for number in range(450)))
    found = paged(client, limit=97, **query)
    assert len(found) == len(set(found)) == (10 if "newest" in query else 450)
    if query == {"totals": "true"}:
        assert found == sorted(found, reverse=True)
    if query == {"order": "asc"}:
        assert found == sorted(found)


# Orders.


def test_orders_by_value_with_unknown_values_last(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        *(start("b", name="Beta"), progress("b", 70), start("a", name="alpha"), progress("a", 20)),
        *(start("none", queued=True), start("c", name="Alpha"), progress("c", 90)),
    )
    for sort, ascending in (("name", ["c", "a", "b", "none"]), ("progress", ["a", "b", "c", "none"])):
        assert paged(client, sort=sort, order="asc", limit=1) == ascending
        by_name = ["b", "c", "a", "none"] if sort == "name" else ["c", "b", "a", "none"]
        assert paged(client, sort=sort, order="desc", limit=1) == by_name
    assert ids(client, sort="name") == ["c", "a", "b", "none"], "names are ascending by default"
    assert ids(client, sort="progress") == ["c", "b", "a", "none"]
    server.publish(complete("b"), complete("c"))
    assert ids(client, sort="ended") == ["c", "b", "none", "a"]
    assert ids(client, sort="heard", order="asc") == ["a", "none", "b", "c"]
    assert ids(client, sort="started") == ["c", "none", "a", "b"]
    assert set(ids(client, sort="remaining")) == {"a", "b", "c", "none"}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_by_heard_end_while_operations_are_heard_again_and_again(
    server: HubServer, client: httpx.Client, order: str
) -> None:
    everything = ["a", "b", "c"]
    server.publish(*(start(each) for each in everything))
    seen: list[str] = []
    after: dict[str, str] = {}
    for _ in range(3 * len(everything)):
        found = page(client, sort="heard", order=order, limit=1, **after)
        seen += [each.operation_id for each in found.operations]
        if found.next is None:
            break
        after = {"after": found.next}
        server.publish(*(progress(each, len(seen)) for each in everything))
    else:
        pytest.fail(f"pages without end: {seen}")
    assert order == "desc" or set(seen) == set(everything)


def test_duration_orders_ended_and_running_operations(server: HubServer, client: httpx.Client) -> None:
    server.publish(*lasting("long", "x", 100_000), *lasting("short", "x", 1e-4))
    server.publish({**start("running"), "timestamp": "2020-01-01T00:00:00Z"}, progress("running", 5))
    assert ids(client, sort="duration", order="asc") == ["short", "long", "running"]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_by_duration_have_each_running_operation_once_while_time_passes(order: str) -> None:
    clock = ManualClock()
    with HubServer(clock=clock) as server, httpx.Client(base_url=server.http) as client:
        for key in "abcdef":
            server.publish(start(key))
            clock.advance(1)
        found: list[str] = []
        after: dict[str, str] = {}
        while len(found) <= 6:
            part = page(client, sort="duration", order=order, limit=2, **after)
            found += [each.operation_id for each in part.operations]
            if part.next is None:
                break
            after = {"after": part.next}
            clock.advance(10)
    assert found == sorted("abcdef", reverse=order == "asc")


CURSORS = ["x", "!", "WzEsMiwzXQ", "W10", "e30", "bnVsbA", "WzEs", "a" * 600]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("sort", ["name", "progress"])
def test_cursor_that_is_not_one_is_refused(client: httpx.Client, sort: str, cursor: str) -> None:
    answer = client.get("/v1/operations", params={"sort": sort, "after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


FORGED = [
    ("progress", "desc", [False, "a text, where operations without progress have a 0", 1]),
    ("progress", "desc", [True, "a text", 1]),
    ("name", "asc", [True, "a text, where operations without a name have a 0", 1]),
    ("name", "desc", [True, 5, 1]),
]


@pytest.mark.parametrize(("sort", "order", "key"), FORGED)
def test_forged_cursor_is_refused(
    server: HubServer, client: httpx.Client, sort: str, order: str, key: list[Any]
) -> None:
    server.publish(start("bare"), start("full", name="Full"), progress("full", 5))
    cursor = base64.urlsafe_b64encode(msgspec.json.encode((sort, order == "desc", key, 0))).rstrip(b"=").decode()
    answer = client.get("/v1/operations", params={"sort": sort, "order": order, "after": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


def test_cursor_of_another_order_is_refused(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(event for key in "ab" for event in (start(key, name=key), progress(key, 5))))
    after = page(client, sort="name", limit=1).next
    for other in ({"sort": "progress"}, {}, {"totals": "true"}):
        answer = client.get("/v1/operations", params={**other, "after": after})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("query", ["sort=odd", "order=up", "totals=yes", "newest=1", "attention="])
def test_odd_value_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/operations?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert "Use one of" in answer.json()["hint"]


def test_reader_sees_and_counts_only_what_the_grants_cover() -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("ada", "read operations/acme.*", "publish operations/acme.*", name="ada")
    tokens.add("root", "admin", name="root")
    with HubServer(access=tokens.options) as server:

        def ask(who: str, path: str, **query: Any) -> Any:
            headers = {"Authorization": f"Bearer {who}"}
            return httpx.get(f"{server.http}{path}", params=query, headers=headers).json()

        def post(who: str, *events: dict[str, Any], **fields: str) -> None:
            headers = {"Authorization": f"Bearer {who}", **fields}
            httpx.post(f"{server.http}/v1/events", json=events, headers=headers).raise_for_status()

        post(
            "root",
            start("zeta.1", name="night"),
            failed("zeta.1"),
            *lasting("zeta.2", "night", 9),
            start("zeta.3", name="night"),
        )
        post("ada", start("acme.1", name="night"), failed("acme.1"), start("acme.2", name="night"))
        post("ada", start("acme.3", name="dawn"), **{"Tidings-Producer": "worker-1"})
        post("root", *lasting("zeta.4", "night", 9))
        shown = ask("ada", "/v1/operations", totals="true", sort="name")
        assert [each["operation_id"] for each in shown["operations"]] == ["acme.3", "acme.2", "acme.1"]
        assert (shown["totals"]["matching"], shown["totals"]["complete"]) == (3, 0)
        assert ask("root", "/v1/operations", totals="true")["totals"]["matching"] == 7
        # A run that the reader may not read has not repaired anything, as far as the reader knows.
        attention = {who: ask(who, "/v1/operations", attention="true")["operations"] for who in ("ada", "root")}
        assert [each["operation_id"] for each in attention["ada"]] == ["acme.1"]
        assert attention["root"] == []
        assert len(ask("ada", "/v1/operations", producer="worker-1")["operations"]) == 1
        assert ask("root", "/v1/operations", producer="worker-1")["operations"] == [], "another subject's producer"
        run = ask("ada", "/v1/operations/acme.2")
        assert (run["previous"]["operation_id"], "next" in run) == ("acme.1", False)
        found = {each["name"]: each for each in ask("ada", "/v1/operation-names")["names"]}
        assert (found["night"]["running"], found["night"]["runs"], found["dawn"]["runs"]) == (1, 1, 0)
        assert [each["operation_id"] for each in found["night"]["recent"]] == ["acme.1"]


# Rows, details and names.


def test_row_has_its_step_the_ends_of_steps_and_counts_of_lines(server: HubServer, client: httpx.Client) -> None:
    server.publish(
        start("op", steps=["read", "parse", "write"]),
        progress("op", 10, current_step="read"),
        progress("op", 30),
        progress("op", 35, current_step="parse"),
        *(line("op", f'"{level}" in a text', level=level) for level in ("debug", "info", "warning", "warning")),
        line("op", "bad", level="error"),
        line("op", "worse", level="critical"),
        progress("op", 80, current_step="write"),
    )
    [row] = page(client).operations
    assert (row.step, row.step_ends, row.warnings, row.errors) == (3, [35.0, 80.0], 2, 2)
    assert [(step.name, step.ended_progress) for step in one(client, "op").steps] == [
        *[("read", 35.0), ("parse", 80.0)],
        ("write", None),
    ]
    server.publish(failed("op"), start("op"))
    [row] = page(client).operations
    assert (row.step, row.step_ends, row.warnings, row.errors) == (None, None, 0, 0), "those of another attempt"


def test_many_ends_of_steps_are_left_out_of_rows(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("op"), *(progress("op", number, current_step=f"step {number}") for number in range(20)))
    [row] = page(client).operations
    assert (row.step, row.step_ends) == (20, None)
    assert len(one(client, "op").steps) == 20


def test_attempts_are_listed_with_their_ends(server: HubServer, client: httpx.Client) -> None:
    positions = server.publish(
        start("op", queued=True),
        start("op"),
        failed("op", code="DiskFull", message="x" * 300),
        start("op"),
        cancelled("op", reason="wrong file"),
        start("op"),
    )
    shown = one(client, "op")
    assert [(each.attempt, each.state, each.code, each.position) for each in shown.attempts] == [
        (1, "failed", "DiskFull", positions[0]),
        (2, "cancelled", None, positions[3]),
        (3, "running", None, positions[5]),
    ]
    first, second, third = shown.attempts
    assert (first.message, second.message, third.message) == ("x" * 197 + "...", "wrong file", None)
    assert first.queued_at is not None
    assert first.duration_s is not None
    assert (third.ended_at, third.duration_s) == (None, None)
    assert [each.position for each in shown.timeline] == positions


def test_runs_of_a_name_lead_to_each_other(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("n/1", name="night"), start("other", name="day"), start("none"))
    server.publish(*lasting("n/2", "night", 3), start("n/3", name="night"))
    before, after = one(client, "n/2").previous, one(client, "n/2").next
    assert before is not None
    assert after is not None
    assert (before.operation_id, before.state, after.operation_id) == ("n/1", "running", "n/3")
    assert (one(client, "n/1").previous, one(client, "n/3").next) == (None, None)
    assert (one(client, "none").previous, one(client, "none").next) == (None, None)
    server.publish(start("n/1", name="day"))  # it has another name from now on
    assert one(client, "n/2").previous is None
    renamed = one(client, "other").previous
    assert renamed is not None
    assert renamed.operation_id == "n/1"


def test_names_have_recent_runs_a_trend_and_live_ones(server: HubServer, client: httpx.Client) -> None:
    for number in range(25):
        server.publish(*lasting(f"n/{number}", "night", 10 if number < 20 else 20))
    server.publish(
        start("n/25", name="night"),
        failed("n/25"),
        start("n/26", name="night"),
        start("n/27", name="night", queued=True),
    )
    server.publish(start("new/1", name="new"))
    found = names(client)
    assert list(found) == ["new", "night"]
    night = found["night"]
    assert (night.running, night.queued, night.trend, night.p95_duration_s) == (1, 1, 2.0, 20.0)
    assert [run.operation_id for run in night.recent] == [f"n/{number}" for number in range(6, 26)]
    assert (night.recent[0].duration_s, night.recent[-1].state) == (10.0, "failed")
    assert (found["new"].runs, found["new"].newest, found["new"].trend) == (0, None, None)
    assert list(names(client, name=["ne*", "x"])) == ["new"]


def test_usual_course_of_a_name_comes_from_its_runs(server: HubServer, client: httpx.Client) -> None:
    for number in range(1, 4):
        at = [f"2026-01-01T00:00:{second:02}Z" for second in range(60)]
        events: list[dict[str, Any]] = [{**start(f"n/{number}", name="night"), "timestamp": at[0]}]
        events += [{**progress(f"n/{number}", 10 * k), "timestamp": at[number * k]} for k in range(1, 10)]
        events += [{**complete(f"n/{number}"), "timestamp": at[10 * number]}]
        server.publish(*events)
    server.publish(*lasting("n/4", "night", 5))  # it reported no progress
    shown = one(client, "n/3")
    assert shown.milestones_s == [3.0 * k for k in range(1, 10)]
    assert shown.usual is not None
    band = shown.usual.band
    assert band is not None
    assert [(each.progress, each.low_s, each.likely_s, each.high_s) for each in band[:9]] == [
        (10.0 * k, 1.0 * k, 2.0 * k, 3.0 * k) for k in range(1, 10)
    ]
    assert band[9].progress == 100


def test_views_decode_as_their_structs(server: HubServer, client: httpx.Client) -> None:
    server.publish(start("op", name="n"))
    [row] = page(client).operations
    assert isinstance(row, OperationSummary)
    assert set(client.get("/v1/operations").json()) == {"operations", "position"}
