import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.server.hub_server import HubServer, Stream, progress, update
from tests.server.raw_client import RawClient

from tidings.exceptions import LogUnavailable
from tidings.hub.hub import Hub
from tidings.log.base import Query, Retention
from tidings.protocol.timestamps import from_nanoseconds
from tidings.server.http.events import READS_AT_A_TIME

POSITION = re.compile(r"[0-9a-f]{8}:\d+")


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


def history(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/events", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def versions(page: dict[str, Any]) -> list[int]:
    return [event["data"]["version"] for event in page["events"]]


# History.


def test_history_has_v1_envelopes_in_log_order(server: HubServer, client: httpx.Client) -> None:
    positions = server.publish(update("a", 1), {**update("b", 2), "event_id": "an-event-id-0001"})
    page = history(client)
    assert [event["position"] for event in page["events"]] == positions
    assert list(page["events"][1]) == ["type", "timestamp", "trace_id", "data", "channel", "position", "event_id"]
    assert page["next"] == page["position"] == positions[-1]


@pytest.mark.parametrize("query", [{"channels": "none"}, {"channels": "none", "key": "a"}])
def test_history_of_nothing_is_at_its_end(server: HubServer, client: httpx.Client, query: dict[str, str]) -> None:
    server.publish(update("a", 1))
    page = history(client, **query)
    assert page["events"] == []
    assert page["next"] == page["position"]


@pytest.mark.parametrize("written", ["nightly+import", "nightly%20import", "nightly\u0020import"])
def test_space_in_a_key_may_be_a_plus_sign(server: HubServer, client: httpx.Client, written: str) -> None:
    [position] = server.publish(update("nightly import"))
    server.publish(update("nightly+import"))
    for query in (f"key={written}", f"channel=data/{written}", f"channels=data/{written}"):
        page = client.get(f"/v1/events?{query}").json()
        assert [event["position"] for event in page["events"]] == [position]
    page = client.get("/v1/events?key=nightly%2Bimport").json()
    assert [event["data"]["dataset"] for event in page["events"]] == ["nightly+import"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?limt=1",
        "/v1/snapshot?since=first",
        "/v1/stream?channl=data",
        "/v1/operations?stat=failed",
        "/v1/operations/op?waits=1",
        "/v1/operation-names?prefix=a",
    ],
)
def test_unknown_parameter_is_refused(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert "unknown parameter" in answer.json()["message"]
    assert "parameters are" in answer.json()["hint"]


def test_history_is_not_conflated(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(progress("o", n) for n in range(5)))
    assert [event["data"]["progress"] for event in history(client)["events"]] == [0, 1, 2, 3, 4]


def test_next_pages_through_all_events_once(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(update("d", n) for n in range(25)))
    page = history(client, limit=10)
    seen = versions(page)
    while page["events"]:
        page = history(client, limit=10, since=page["next"])
        seen += versions(page)
    assert seen == list(range(25))
    server.publish(update("d", 25))
    assert versions(history(client, since=page["next"])) == [25]


def test_limit_defaults_to_100(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(update("d", n) for n in range(150)))
    assert len(history(client)["events"]) == 100
    assert len(history(client, limit=1000)["events"]) == 150


def test_history_filters_by_channel_key_type_and_trace(server: HubServer, client: httpx.Client) -> None:
    processed = {"type": "data:processed", "data": {"dataset": "a", "records": 3}, "trace_id": "t1"}
    server.publish(update("a", 1), update("b", 2), progress("a", 3), processed)

    def found(**query: Any) -> list[str]:
        return [f"{event['type']} {event['data'].get('dataset', '')}" for event in history(client, **query)["events"]]

    assert found(channel="data") == ["data:update a", "data:update b", "data:processed a"]
    assert found(channel=["data", "operations"], key="a") == [
        "data:update a",
        "operation:progress ",
        "data:processed a",
    ]
    assert found(channel="data/a") == found(channel="data", key="a") == ["data:update a", "data:processed a"]
    assert found(key=["a", "b"], type="data:update") == ["data:update a", "data:update b"]
    assert found(type=["data:processed", "operation:progress"]) == ["operation:progress ", "data:processed a"]
    assert found(trace_id="t1") == ["data:processed a"]
    assert found(channel="data/a*", key=["a", "b"]) == found(channel="data/a")
    assert found(channel="data/a", key="b") == []
    assert found(channels="none") == []


def test_old_type_name_finds_the_new_one(server: HubServer, client: httpx.Client) -> None:
    failed = {"operation_id": "o", "code": "c", "message": "m", "recoverable": False}
    server.publish({"type": "operation:error", "data": failed})
    assert [event["type"] for event in history(client, type="operation:error")["events"]] == ["operation:failed"]


def test_since_now_returns_the_head(server: HubServer, client: httpx.Client) -> None:
    positions = server.publish(update("d", 1))
    page = history(client, since="now")
    assert (page["events"], page["next"]) == ([], positions[-1])


def test_foreign_position_is_a_gap_and_reads_from_the_beginning(server: HubServer, client: httpx.Client) -> None:
    epoch = server.publish(update("d", 1))[0].partition(":")[0]
    for since, reason in ((f"{epoch}:999", "future"), ("0badc0de:1", "epoch")):
        page = history(client, since=since)
        assert versions(page) == [1]
        assert page["gap"] == {"after": since, "until": page["position"], "reason": reason}


def test_trimmed_range_is_a_gap() -> None:
    with HubServer(retention=Retention(events=3)) as server, httpx.Client(base_url=server.http) as reader:
        positions = server.publish(*(update("d", n) for n in range(10)))
        server.wait(lambda: server.log.statistics().trimmed_events == 7)
        page = history(reader, since=positions[0])
        assert versions(page) == [7, 8, 9]
        assert page["gap"]["reason"] == "trimmed"
        assert page["gap"]["after"] == positions[0]
        first = history(reader)["gap"]
        assert (first["until"], first["reason"]) == (page["gap"]["until"], "trimmed"), "as on a WebSocket"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 400, "invalid_parameter"),
        ("limit=1001", 400, "invalid_parameter"),
        ("limit=ten", 400, "invalid_parameter"),
        ("limit=%D9%A3", 400, "invalid_parameter"),
        ("last=0", 400, "invalid_parameter"),
        ("last=1001", 400, "invalid_parameter"),
        ("last=5&until=first", 422, "invalid_position"),
        ("last=5&until=0badc0de:1", 404, "not_found"),
        ("since=snapshot", 400, "invalid_parameter"),
        ("since=yesterday", 422, "invalid_position"),
        ("channel=nope", 422, "unknown_channel"),
        ("&".join(f"channel=data/{n}" for n in range(101)), 400, "invalid_parameter"),
        ("&".join(f"key={n}" for n in range(101)), 400, "invalid_parameter"),
        ("channels=" + ",".join(["data"] * 101), 400, "invalid_parameter"),
        ("channel=data/%FF", 422, "invalid_path"),
        ("key=", 400, "invalid_parameter"),
        ("key=%00", 400, "invalid_parameter"),
        ("type=no:such", 422, "unknown_type"),
        ("trace_id=", 422, "invalid_trace_id"),
    ],
)
def test_invalid_query_is_refused(client: httpx.Client, query: str, status: int, code: str) -> None:
    answer = client.get(f"/v1/events?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["hint"]


def test_unreadable_log_is_503(server: HubServer, client: httpx.Client) -> None:
    server.publish(update("d"))
    for path in ("/v1/events", "/v1/snapshot"):
        server.call(lambda: server.log.fail_read(LogUnavailable("the disk is gone")))
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
        assert "retry-after" in answer.headers


def test_history_request_does_bounded_work(
    server: HubServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.server.http.events._BUDGET_S", 0.0)
    monkeypatch.setattr("tidings.server.http.events._PAGE_BYTES", 100)
    server.publish(*(update("d", n, padding=100) for n in range(5)))
    page = history(client)
    assert versions(page) == [0]
    assert versions(history(client, since=page["next"])) == [1]


def test_history_answer_has_a_bounded_size(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(update("d", n, padding=50_000) for n in range(80)))
    server.publish(*(update("d", n, padding=50_000) for n in range(80, 100)))
    page = history(client, limit=1000)
    assert 80 <= len(page["events"]) < 95
    assert versions(history(client, since=page["next"], limit=1000)) == list(range(len(page["events"]), 100))


def test_answers_become_smaller_while_many_are_not_read(server: HubServer, client: httpx.Client) -> None:
    server.publish(*(update("d", n, padding=50_000) for n in range(80)))
    request = b"GET /v1/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    whole = len(history(client, limit=1000)["events"])
    with ExitStack() as opened:
        unread = [opened.enter_context(RawClient(server.port, receive_buffer=4_096)) for _ in range(60)]
        for each in unread:
            each.send(request)
            each.socket.recv(1)
        fewer = len(history(client, limit=1000)["events"])
        assert 0 < fewer <= whole / 8
    server.wait(lambda: not server.server.server_state.tasks)
    assert len(history(client, limit=1000)["events"]) == whole


async def test_few_reads_happen_between_two_turns_of_the_loop(server: HubServer) -> None:
    server.publish(*(update("d", n) for n in range(50)))
    app = server.app

    async def most_at_a_time() -> int:
        hub, reads, most = app.running().hub, 0, 0
        read = hub.log.read

        def count(query: Query, done: Callable[[Any], None]) -> None:
            nonlocal reads
            reads += 1
            read(query, done)

        hub.log.read = count  # type: ignore[method-assign]
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
            tasks = [asyncio.create_task(asking.get("/v1/events")) for _ in range(100)]
            while not all(task.done() for task in tasks):
                reads = 0
                await asyncio.sleep(0)
                most = max(most, reads)
        return most

    counting = server.call(lambda: asyncio.create_task(most_at_a_time()))
    await asyncio.to_thread(server.wait, counting.done)
    assert 1 <= counting.result() <= READS_AT_A_TIME


# The newest events.


def read_backwards(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    """Return the answers from the head down to the beginning, in the order in which they came."""
    pages = [history(client, **query)]
    while "earlier" in pages[-1]:
        pages.append(history(client, **{**query, "until": pages[-1]["earlier"]}))
    return pages


@pytest.mark.parametrize("last", [1, 7, 300, 1000])
@pytest.mark.parametrize("noise", [0, 40])
def test_last_events_are_paged_once_down_to_the_beginning(server: HubServer, last: int, noise: int) -> None:
    for start in range(0, 20, 5):
        server.publish(*(update("d", n) for n in range(start, start + 5)))
        server.publish(*(progress("o", n % 100) for n in range(noise)))
    with httpx.Client(base_url=server.http) as client:
        pages = read_backwards(client, channel="data", last=last)
        assert [n for page in reversed(pages) for n in versions(page)] == list(range(20))
        assert all(len(page["events"]) <= last for page in pages)
        head = pages[0]["position"]
        assert pages[0]["next"] == head, "what follows is read from here"
        server.publish(update("d", 20))
        assert versions(history(client, since=head)) == [20]


def test_last_events_of_a_range_end_at_both_its_ends(server: HubServer, client: httpx.Client) -> None:
    positions = server.publish(*(update("d", n) for n in range(10)))
    page = history(client, last=3, until=positions[6])
    assert (versions(page), page["next"], page["earlier"]) == ([4, 5, 6], positions[6], positions[3])
    page = history(client, last=100, since=positions[3], until=positions[6])
    assert (versions(page), page["next"], "earlier" in page) == ([4, 5, 6], positions[6], False)
    assert versions(history(client, since=positions[3], until=positions[6])) == [4, 5, 6], "forward, too"
    assert versions(history(client, last=5, limit=2)) == [8, 9]
    for nothing in ({"since": "now"}, {"channels": "none"}, {"since": positions[6], "until": positions[3]}):
        page = history(client, last=5, **nothing)
        assert (page["events"], "earlier" in page) == ([], False), nothing


def test_last_events_of_a_long_log_look_at_few_of_them(server: HubServer, client: httpx.Client) -> None:
    for _ in range(20):
        server.publish(*(update("d", n) for n in range(500)))
    read, ranges = server.log.read, list[tuple[int, int]]()

    def note(query: Query, done: Callable[[Any], None]) -> None:
        ranges.append((query.after, query.until))
        read(query, done)

    server.log.read = note  # type: ignore[method-assign]
    assert versions(history(client, last=10)) == list(range(490, 500))
    assert sum(until - after for after, until in ranges) <= 256


def test_last_events_say_where_a_trimmed_log_begins() -> None:
    with HubServer(retention=Retention(events=3)) as server, httpx.Client(base_url=server.http) as reader:
        server.publish(*(update("d", n) for n in range(10)))
        server.wait(lambda: server.log.statistics().trimmed_events == 7)
        page = history(reader, last=2)
        assert (versions(page), "gap" in page) == ([8, 9], False)
        page = history(reader, last=2, until=page["earlier"])
        assert (versions(page), page["gap"]["reason"]) == ([7], "trimmed")


def test_request_for_last_events_does_bounded_work(
    server: HubServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.server.http.events._BUDGET_S", 0.0)
    server.publish(update("d", 1), *(progress("o", n % 100) for n in range(700)))
    page = history(client, channel="data", last=10)
    assert page["events"] == []
    pages = read_backwards(client, channel="data", last=10)
    assert [versions(page) for page in pages if page["events"]] == [[1]]
    assert len(pages) > 1


def test_large_last_events_end_an_answer(server: HubServer, client: httpx.Client) -> None:
    for start in range(0, 100, 50):
        server.publish(*(update("d", n, padding=50_000) for n in range(start, start + 50)))
    pages = read_backwards(client, last=1000)
    assert 75 <= len(pages[0]["events"]) < 95
    assert [n for page in reversed(pages) for n in versions(page)] == list(range(100))


# Snapshot.


def test_snapshot_has_the_newest_event_of_each_key(server: HubServer, client: httpx.Client) -> None:
    positions = server.publish(update("a", 1), update("b", 2), progress("o", 3), update("a", 4), progress("o", 5))
    snapshot = client.get("/v1/snapshot").json()
    assert [event["position"] for event in snapshot["events"]] == [positions[1], positions[3], positions[4]]
    assert snapshot["position"] == positions[-1]
    only = client.get("/v1/snapshot", params={"channel": "data/a"}).json()
    assert versions(only) == [4]


def test_empty_snapshot_has_a_position(client: httpx.Client) -> None:
    snapshot = client.get("/v1/snapshot").json()
    assert snapshot["events"] == []
    assert POSITION.fullmatch(snapshot["position"])


def test_snapshot_of_many_pages_is_one_json_document(server: HubServer, client: httpx.Client) -> None:
    for start in range(0, 60, 20):
        server.publish(*(update(f"d{n}", n, padding=60_000) for n in range(start, start + 20)))
    assert versions(client.get("/v1/snapshot").json()) == list(range(60))


def test_snapshot_without_channels_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/snapshot?channels=none")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


def test_reading_changes_nothing_in_the_hub(server: HubServer, client: httpx.Client) -> None:
    server.publish(update("d"))

    def subscribers(hub: Hub) -> int:
        return hub.delivery.subscribers

    history(client)
    client.get("/v1/snapshot")
    assert server.call(lambda: subscribers(server.app.hub)) == 0


def test_since_a_time_is_the_same_for_history_and_stream(server: HubServer, client: httpx.Client) -> None:
    server.publish(update("d", 1), update("d", 2))
    between = from_nanoseconds(server.call(server.app.hub.now_ns))
    positions = server.publish(update("e", 3), update("f", 4))
    for since, expected in (
        (between, [3, 4]),
        (between.replace("Z", "+00:00"), [3, 4]),
        ("1700-01-01T00:00:00Z", [1, 2, 3, 4]),
        ("2200-01-01T00:00:00Z", []),
    ):
        page = client.get(f"/v1/events?since={since}").json()  # a plus sign that is not encoded
        assert (versions(page), page["next"], "gap" in page) == (expected, positions[-1], False)
        with Stream(server.port, f"?channel=data&since={since}") as stream:
            messages = stream.until("channel:live")
        assert messages[0]["data"]["outcome"] == "complete"
        assert [each["data"]["version"] for each in messages if each["type"] == "data:update"] == expected
