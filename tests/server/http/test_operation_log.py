"""The lines of one operation: in pages in both directions, filtered, as a file, and as far as they are kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import QUIET, HubServer, update
from tests.server.operation_events import complete, failed, line, start

from tidings.hub.clock import SystemClock
from tidings.hub.config import HubConfig
from tidings.log.base import Retention
from tidings.operations.views import OperationLogPage
from tidings.server.embedding import embedded_hub
from tidings.server.http.body import MAX_BATCH_EVENTS


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


def read(server: HubServer, **query: Any) -> OperationLogPage:
    answer = httpx.get(f"{server.http}/v1/operation-log", params={"operation_id": "op", **query}, timeout=60)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=OperationLogPage)


def messages(page: OperationLogPage) -> list[str]:
    return [each.message for each in page.lines]


def read_all(server: HubServer, **query: Any) -> list[str]:
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = read(server, **query, **after)
        found += messages(page)
        if page.next is None:
            return found
        after = {"after": page.next}


def publish_lines(server: HubServer, count: int, *, noise: int = 0) -> list[str]:
    """Publish lines of the operation, with other events between them."""
    texts = [f"line {number}" for number in range(count)]
    events = [start("op")]
    for text in texts:
        events += [line("op", text), *[update("noise")] * noise]
    for first in range(0, len(events), MAX_BATCH_EVENTS):
        server.publish(*events[first : first + MAX_BATCH_EVENTS])
    return texts


@pytest.mark.parametrize(("count", "noise", "limit"), [(0, 0, 5), (1, 0, 1), (10, 0, 5), (57, 3, 10), (30, 300, 7)])
def test_lines_are_paged_once_in_both_directions(server: HubServer, count: int, noise: int, limit: int) -> None:
    texts = publish_lines(server, count, noise=noise)
    assert read_all(server, limit=limit) == texts
    assert read_all(server, limit=limit, order="desc") == texts[::-1]
    assert messages(read(server, limit=limit, order="desc")) == texts[::-1][:limit], "the newest, in one answer"


def test_large_lines_end_an_answer_in_both_directions(server: HubServer) -> None:
    texts = [f"{number:03}" + "x" * 60_000 for number in range(100)]
    server.publish(start("op"))
    for first in range(0, 100, 50):
        server.publish(*(line("op", text) for text in texts[first : first + 50]))
    for order, expected in (("asc", texts), ("desc", texts[::-1])):
        first_page = read(server, limit=1_000, order=order)
        assert 60 < len(first_page.lines) < 80
        assert read_all(server, limit=1_000, order=order) == expected


def test_lines_around_a_linked_one_and_between_two(server: HubServer) -> None:
    texts = publish_lines(server, 20)
    places = [each.position for each in read(server).lines]
    assert messages(read(server, after=places[9], limit=3)) == texts[10:13]
    assert messages(read(server, after=places[9], limit=3, order="desc")) == texts[8:5:-1]
    assert messages(read(server, after=places[3], until=places[5])) == texts[4:6]
    assert messages(read(server, after=places[5], until=places[3], order="desc")) == texts[4:2:-1]
    assert (messages(read(server, after=places[-1])), read(server, after=places[-1]).next) == ([], None)
    assert read(server).position == places[-1]


def test_lines_are_filtered_by_attempt_level_and_text(server: HubServer) -> None:
    server.publish(start("op"), line("op", "Straße A", level="warning"), line("op", "two"), failed("op"))
    server.publish(start("op"), line("op", "three", level="error"), line("op", "[x] four"), start("other"))
    server.publish(line("other", "another operation's"))
    for order in ("asc", "desc"):
        step = 1 if order == "asc" else -1
        for query, found in (
            ({"attempt": 1}, ["Straße A", "two"]),
            ({"attempt": 2}, ["three", "[x] four"]),
            ({"attempt": 3}, []),
            ({"level": ["warning", "error"]}, ["Straße A", "three"]),
            ({"q": "STRASSE a"}, ["Straße A"]),
            ({"q": "[X]"}, ["[x] four"]),
            ({"q": "t", "level": "info"}, ["two"]),
        ):
            assert read_all(server, order=order, limit=1, **query) == found[::step], query
    assert [each.attempt for each in read(server).lines] == [1, 1, 2, 2]


def test_file_has_all_lines(server: HubServer) -> None:
    texts = publish_lines(server, 900)
    url = f"{server.http}/v1/operation-log?operation_id=op"
    raw = httpx.get(f"{url}&format=raw")
    assert raw.text.splitlines() == texts
    assert raw.headers["content-type"] == "text/plain; charset=utf-8"
    assert raw.headers["content-disposition"].startswith('attachment; filename="op.log"')
    assert raw.headers["x-content-type-options"] == "nosniff"
    shown = httpx.get(f"{url}&format=text&q=line 7&limit=1").text.splitlines()
    assert len(shown) == 1 + 10 + 100, "a file has no limit"
    assert shown[0].endswith("Z info     line 7")


def test_name_of_a_file_comes_from_a_hostile_id(server: HubServer) -> None:
    hostile = '../a"b\\c;é/..'
    server.publish(start(hostile), line(hostile, "x"))
    answer = httpx.get(f"{server.http}/v1/operation-log", params={"operation_id": hostile, "format": "text"})
    assert 'filename="a-b-c.log"' in answer.headers["content-disposition"]
    assert answer.text.endswith("x\n")


def test_lines_that_are_no_longer_kept_are_mentioned() -> None:
    with HubServer(retention=Retention(events=10)) as server:
        publish_lines(server, 5)
        assert not read(server).trimmed
        publish_lines_again = [line("op", f"later {number}") for number in range(50)]
        server.publish(*publish_lines_again)
        server.call(lambda: server.app.hub.log.maintain(server.app.hub.now_ns()))
        page = read(server)
        assert page.trimmed
        assert 0 < len(page.lines) <= 11
        assert read_all(server, order="desc")[0] == "later 49"


def test_lines_beyond_those_that_an_operation_keeps_are_mentioned(server: HubServer) -> None:
    publish_lines(server, 1_000)
    assert not read(server).trimmed
    server.publish(*(line("op", f"later {number}") for number in range(1_000)))
    assert read(server).trimmed, "as soon as there are more, although the next step of retention deletes them"
    server.call(lambda: server.app.hub.log.maintain(server.app.hub.now_ns()))
    assert len(read_all(server, limit=1_000)) < 2_000


async def test_log_of_an_earlier_start_is_read_from_a_file(tmp_path: Path) -> None:
    for round in range(2):
        hub = embedded_hub(tmp_path, config=HubConfig(**QUIET))
        transport = httpx.ASGITransport(hub)
        async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://h") as client:
            events = [start("op"), line("op", f"round {round}"), complete("op")]
            (await client.post("/v1/events", json=events)).raise_for_status()
            found = (await client.get("/v1/operation-log?operation_id=op&order=desc")).json()["lines"]
            assert [(each["message"], each["attempt"]) for each in found] == [
                (f"round {earlier}", earlier + 1) for earlier in range(round, -1, -1)
            ]
            if round == 0:
                kept = found[0]["position"]
            after = (await client.get(f"/v1/operation-log?operation_id=op&after={kept}")).json()["lines"]
            assert len(after) == round


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("operation_id=op&order=up", 400),
        ("operation_id=op&level=loud", 400),
        ("operation_id=op&attempt=0", 400),
        ("operation_id=op&format=xml", 400),
        ("operation_id=op&limit=0", 400),
        ("operation_id=op&after=x", 422),
        ("operation_id=op&after=0badc0de:1", 404),
        ("operation_id=op&q=" + "x" * 201, 400),
        ("operation_id=nowhere", 404),
        ("operation_id=", 404),
    ],
)
def test_odd_query_is_refused(server: HubServer, query: str, status: int) -> None:
    server.publish(start("op"))
    answer = httpx.get(f"{server.http}/v1/operation-log?{query}")
    assert (answer.status_code, bool(answer.json()["hint"])) == (status, True), answer.text


def test_lines_need_a_grant_for_their_channel() -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("ada", "read operations/acme.*", name="ada")
    tokens.add("root", "admin", name="root")
    with HubServer(access=tokens.options) as server:

        def ask(who: str, operation_id: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {who}"}
            return httpx.get(f"{server.http}/v1/operation-log?operation_id={operation_id}", headers=headers)

        events = [event for key in ("acme.1", "zeta.1") for event in (start(key), line(key, key))]
        root = {"Authorization": "Bearer root"}
        httpx.post(f"{server.http}/v1/events", json=events, headers=root).raise_for_status()
        assert [each["message"] for each in ask("ada", "acme.1").json()["lines"]] == ["acme.1"]
        hidden, missing = ask("ada", "zeta.1"), ask("ada", "zeta.2")
        assert hidden.status_code == missing.status_code == 404
        assert hidden.json()["hint"] == missing.json()["hint"]
        assert ask("root", "zeta.1").status_code == 200
        assert httpx.get(f"{server.http}/v1/operation-log?operation_id=acme.1").status_code == 401
