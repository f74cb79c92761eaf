import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs
from tests.server.hub_server import HubServer, progress, update

from tidings.exceptions import LogFull
from tidings.hub.rate_limits import MAX_LINES_PER_S
from tidings.protocol.envelope import Envelope, Event
from tidings.server.http import responses
from tidings.server.http.body import MAX_BATCH_EVENTS, MAX_BODY_BYTES

KEY = "0198c0de-0000-7000-8000-000000000001"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


def post(client: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        "/v1/events", content=msgspec.json.encode(body), headers={"Content-Type": "application/json", **names}
    )


def event_at(client: httpx.Client, position: str) -> dict[str, Any]:
    """Read the event at a position."""
    epoch, _, offset = position.partition(":")
    found = client.get("/v1/events", params={"since": f"{epoch}:{int(offset) - 1}", "limit": 1}).json()["events"]
    event: dict[str, Any] = found[0]
    assert event["position"] == position
    return event


def assert_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    error: dict[str, Any] = response.json()
    assert (response.status_code, error["code"]) == (status, code)
    assert error["hint"]
    assert response.headers["content-type"] == "application/json"
    return error


# One event.


def test_envelope_is_answered_with_its_position(client: httpx.Client) -> None:
    answer = post(client, update("d1", 7))
    assert answer.status_code == 200
    assert answer.json().keys() == {"position"}
    assert event_at(client, answer.json()["position"])["data"] == {"dataset": "d1", "version": 7}


def test_body_may_begin_with_spaces(client: httpx.Client) -> None:
    answer = client.post("/v1/events", content=b" \r\n" + msgspec.json.encode(update("d1")), headers=JSON)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "invalid_envelope"),
        (b" \n", 400, "invalid_envelope"),
        (b"7", 400, "invalid_envelope"),
        (b'{"type":"data:update","data":{}}{"type":"data:update","data":{}}', 400, "invalid_json"),
        (b'{"type":"data:update","x":"\xff"}', 400, "invalid_utf8"),
        (b'{"type":"data:update","x":' + b"[" * 65 + b"]" * 65 + b"}", 400, "too_deep"),
        (b'{"type":"data:update","data":{"url":"a","url":"b"}}', 400, "invalid_json"),
        (b'{"type":"data:update","data":{"x":1e999}}', 400, "invalid_json"),
        (b'{"type":"data:update","data":{"URL":"a"}}', 422, "invalid_payload"),
        (b'{"type":"no:such"}', 422, "unknown_type"),
        (b'{"type":"channel:subscribe","data":{}}', 422, "unknown_type"),
        (b'{"type":"auth:token","data":{}}', 422, "unknown_type"),
        (b'{"type":"license:expired","data":{}}', 403, "not_publishable"),
        (b'{"type":"operation:progress","data":{"operation_id":"o","progress":101}}', 422, "invalid_payload"),
        (b'{"type":"operation:progress","data":{"operation_id":"o","progress":NaN}}', 400, "invalid_json"),
        (b'{"type":"data:update","channel":"nope"}', 422, "unknown_channel"),
        (b'{"type":"data:update","channel":"system"}', 422, "wrong_channel"),
        (b'{"type":"data:update","timestamp":"yesterday"}', 422, "invalid_timestamp"),
        (b'{"type":"data:update","trace_id":"\\n"}', 422, "invalid_trace_id"),
        (b'{"type":"data:update","event_id":"short"}', 422, "invalid_event_id"),
        (b'{"type":"data:update","data":{"url":"' + b"x" * 65_536 + b'"}}', 413, "payload_too_large"),
        (b'{"type":"data:update","x":"' + b"x" * 300_000 + b'"}', 413, "payload_too_large"),
    ],
)
def test_invalid_envelope_is_refused_with_its_error(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/events", content=body, headers=JSON)
    assert_error(answer, status, code)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": "multipart/form-data; boundary=b"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_content_type_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/events", content=msgspec.json.encode(update("d1")), headers=headers)
    assert_error(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/cloudevents+json"]
)
def test_json_content_types_are_accepted(client: httpx.Client, media_type: str) -> None:
    answer = client.post("/v1/events", content=msgspec.json.encode(update("d1")), headers={"Content-Type": media_type})
    assert answer.status_code == 200


# Headers.


@pytest.mark.parametrize("written", [KEY, f'"{KEY}"'])
def test_idempotency_key_publishes_once(client: httpx.Client, written: str) -> None:
    first = post(client, update("once"), idempotency_key=written).json()
    again = post(client, update("once"), idempotency_key=KEY).json()
    assert again == {"position": first["position"], "duplicate": True}
    assert event_at(client, first["position"])["event_id"] == KEY
    assert_error(post(client, update("another"), idempotency_key=KEY), 422, "event_id_reused")


def test_repeated_post_of_an_operation_has_the_same_answer(client: httpx.Client) -> None:
    start = {"type": "operation:start", "data": {"operation_id": "once"}}
    end = {"type": "operation:complete", "data": {"operation_id": "once"}}
    keys = ["key-of-the-start", "key-of-the-end--"]
    first = [post(client, event, idempotency_key=key).json() for event, key in zip((start, end), keys, strict=True)]
    again = [post(client, event, idempotency_key=key).json() for event, key in zip((start, end), keys, strict=True)]
    assert again == [{**answer, "duplicate": True} for answer in first]
    batch = [post(client, [start, end], idempotency_key="key-of-the-batch").json()["results"] for _ in range(2)]
    assert batch[1] == [{**answer, "duplicate": True} for answer in batch[0]]


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b'{"type":"data:update"}', JSON), (b'[{"type":"data:update"}]', JSON), (b'{"type":"data:update"}\n', NDJSON)],
)
def test_byte_order_mark_is_ignored(client: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    answer = client.post("/v1/events", content=BYTE_ORDER_MARK + body, headers=headers)
    assert answer.status_code == 200
    assert '"position"' in answer.text


@pytest.mark.parametrize("name", ["Content-Encoding", "Content-Type", "Idempotency-Key", "Tidings-Producer"])
def test_error_about_a_header_quotes_it_as_text(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/events", json=update("d"), headers={name: "g zip", "Tidings-Lease": "soon"})
    assert answer.status_code >= 400
    assert "b'" not in answer.text
    assert "<class" not in answer.text


def test_post_with_a_query_is_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/events?channel=data", json=update("d"))
    assert_error(answer, 400, "invalid_parameter")
    assert "no parameters" in answer.json()["hint"]


def test_own_event_id_takes_precedence_over_the_key(client: httpx.Client) -> None:
    event = {**update("own id"), "event_id": KEY.replace("1", "2")}
    answer = post(client, event, idempotency_key=KEY.replace("1", "3")).json()
    assert event_at(client, answer["position"])["event_id"] == event["event_id"]


def test_key_does_not_hide_a_second_member(client: httpx.Client) -> None:
    body = b'{"type":"data:update","timestamp":"2026-01-01T00:00:00.5Z","data":{"dataset":"a"},"id":"1","id":"2"}'
    answer = client.post("/v1/events", content=body, headers={**JSON, "Idempotency-Key": f"{KEY}-twice"})
    assert_error(answer, 400, "invalid_json")
    batch = client.post("/v1/events", content=b"[%b]" % body, headers={**JSON, "Idempotency-Key": f"{KEY}-2"})
    assert [result["error"]["code"] for result in batch.json()["results"]] == ["invalid_json"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            b'{"type":"operation:progress","data":{"operation_id":"mine","Operation_ID":"x","progress":1}}',
            "invalid_payload",
        ),
        (b'{"Type":"operation:log","type":"data:update","data":{}}', "invalid_envelope"),
        (b'{"type":"data:update","data":{"dataset":"a"},"Event_id":"0123456789abcdef"}', "invalid_envelope"),
    ],
)
def test_name_that_differs_only_in_case_is_refused(client: httpx.Client, body: bytes, code: str) -> None:
    answer = client.post("/v1/events", content=body, headers=JSON)
    assert (answer.is_client_error, answer.json()["code"]) == (True, code)
    batch = client.post("/v1/events", content=b"[%b]" % body, headers=JSON)
    assert [result["error"]["code"] for result in batch.json()["results"]] == [code]


def test_short_key_is_refused(client: httpx.Client) -> None:
    assert (
        "16–64" in assert_error(post(client, update("d"), idempotency_key="short"), 422, "invalid_event_id")["message"]
    )


def test_batch_items_get_the_key_and_their_index(client: httpx.Client) -> None:
    key = "batch-key-0123456789"
    own = {**update("own"), "event_id": "an-id-of-its-own-1"}
    results = post(client, [update("a"), own, update("c")], idempotency_key=key).json()["results"]
    ids = [event_at(client, result["position"])["event_id"] for result in results]
    assert ids == [f"{key}#0", "an-id-of-its-own-1", f"{key}#2"]
    again = post(client, [update("a"), own, update("c")], idempotency_key=key).json()["results"]
    assert again == [{**result, "duplicate": True} for result in results]


@pytest.mark.parametrize(("key", "length"), [("k" * 15, "16–60"), ("k" * 61, "61")])
def test_batch_key_leaves_room_for_the_index(client: httpx.Client, key: str, length: str) -> None:
    error = assert_error(post(client, [update("a")], idempotency_key=key), 422, "invalid_event_id")
    assert length in error["message"]


def test_traceparent_sets_a_missing_trace_id(client: httpx.Client) -> None:
    header = f"00-{TRACE}-00f067aa0ba902b7-01"
    own = {**update("own"), "trace_id": "mine"}
    results = post(client, [update("none"), own], traceparent=header).json()["results"]
    assert [event_at(client, result["position"])["trace_id"] for result in results] == [TRACE, "mine"]


def test_trace_of_a_live_operation_takes_precedence_over_traceparent(client: httpx.Client) -> None:
    started = {**progress("traced", 1), "trace_id": "the-operation"}
    assert post(client, started).status_code == 200
    answer = post(client, progress("traced", 2), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01").json()
    assert event_at(client, answer["position"])["trace_id"] == "the-operation"


@pytest.mark.parametrize(
    "header", ["", "nonsense", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"]
)
def test_invalid_traceparent_is_ignored(client: httpx.Client, header: str) -> None:
    answer = post(client, update("d"), traceparent=header).json()
    trace_id = event_at(client, answer["position"])["trace_id"]
    assert len(trace_id) == 32
    assert trace_id not in (TRACE, "0" * 32)


def test_old_names_are_accepted_with_a_notice(client: httpx.Client) -> None:
    def old(operation_id: str) -> dict[str, Any]:
        data = {"operation_id": operation_id, "code": "c", "message": "m", "recoverable": True}
        return {"type": "operation:error", "data": data}

    for body in (old("a"), [update("d"), old("b"), old("c")]):
        answer = post(client, body)
        assert answer.status_code == 200
        assert answer.headers["deprecation"] == "@1753833600"
        assert answer.headers["tidings-notice"] == "operation:error is the old name of operation:failed"
    assert "deprecation" not in post(client, update("d")).headers


# Batches.


def test_array_items_are_accepted_or_refused_in_order(client: httpx.Client) -> None:
    body = b'[%b, {"type":"no:such"}, 7, {"type":"data:update","x":"\xff"}, "\xff", %b]' % (
        msgspec.json.encode(update("first")),
        msgspec.json.encode(update("last")),
    )
    answer = client.post("/v1/events", content=body, headers=JSON)
    results = answer.json()["results"]
    codes = [result.get("error", {}).get("code") for result in results]
    assert codes == [None, "unknown_type", "invalid_envelope", "invalid_utf8", "invalid_utf8", None]
    assert event_at(client, results[0]["position"])["data"]["dataset"] == "first"
    assert event_at(client, results[-1]["position"])["data"]["dataset"] == "last"


def test_bad_ndjson_line_is_refused_alone(client: httpx.Client) -> None:
    lines = [msgspec.json.encode(update("a")), b"", b"{broken", msgspec.json.encode(update("b")) + b"\r", b""]
    results = client.post("/v1/events", content=b"\n".join(lines), headers=NDJSON).json()["results"]
    assert [result.get("error", {}).get("code") for result in results] == [None, "invalid_json", None]


@pytest.mark.parametrize(("body", "headers"), [(b"[]", JSON), (b"", NDJSON), (b"\n\n", NDJSON)])
def test_empty_batch_has_no_results(client: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    answer = client.post("/v1/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"results": []})


@pytest.mark.parametrize(
    ("body", "code"), [(b"[{},", "invalid_json"), (b"[\xff]", "invalid_utf8"), (b"[" * 5000, "too_deep")]
)
def test_invalid_array_is_refused_as_a_whole(client: httpx.Client, body: bytes, code: str) -> None:
    assert_error(client.post("/v1/events", content=body, headers=JSON), 400, code)


def test_item_that_readers_understand_differently_is_refused_alone(client: httpx.Client) -> None:
    body = b'[{"type":"data:update","data":{"x":1,"x":2}},{"type":"data:update","data":{"records":3.0}}]'
    results = client.post("/v1/events", content=body, headers=JSON).json()["results"]
    assert results[0]["error"]["code"] == "invalid_json"
    assert event_at(client, results[1]["position"])["data"] == {"records": 3}


def test_too_deep_item_is_refused_alone(client: httpx.Client) -> None:
    deep = b'{"type":"data:update","x":' + b"[" * 70 + b"]" * 70 + b"}"
    body = b"[%b,%b]" % (deep, msgspec.json.encode(update("d")))
    results = client.post("/v1/events", content=body, headers=JSON).json()["results"]
    assert results[0]["error"]["code"] == "too_deep"
    assert "position" in results[1]


def test_batch_over_the_limit_is_refused_as_a_whole(client: httpx.Client) -> None:
    assert len(post(client, [update("d")] * MAX_BATCH_EVENTS).json()["results"]) == MAX_BATCH_EVENTS
    before = client.get("/v1/snapshot").json()["position"]
    error = assert_error(post(client, [update("d")] * (MAX_BATCH_EVENTS + 1)), 413, "payload_too_large")
    assert "1,000" in error["hint"]
    assert client.get("/v1/snapshot").json()["position"] == before


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "chunked"])
def test_oversized_body_is_refused_with_an_answer(client: httpx.Client, length: bool) -> None:
    body = b"[" + b" " * MAX_BODY_BYTES + b"]"

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    answer = client.post("/v1/events", content=body if length else chunks())
    assert "4 MiB" in assert_error(answer, 413, "payload_too_large")["hint"]
    assert post(client, update("d")).status_code == 200


# A log that fails, and a hub that drains.


def test_log_error_is_reported_for_one_and_for_each_item(client: httpx.Client, server: HubServer) -> None:
    server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
    answer = post(client, update("d"))
    assert_error(answer, 507, "log_full")
    assert answer.headers["retry-after"] == "1"
    server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
    results = post(client, [update("d")] * 3).json()["results"]
    assert [result["error"]["code"] for result in results] == ["log_full"] * 3
    assert post(client, update("d")).status_code == 200


def test_full_stage_makes_posts_wait_and_then_is_503() -> None:
    config = {"staged_events": 3, "room_wait_s": 0.2}
    with HubServer(config=config) as server, httpx.Client(base_url=server.http) as busy:
        results = post(busy, [update("d", n) for n in range(15)]).json()["results"]
        assert [result.get("error", {}).get("code") for result in results] == [None] * 15
        server.call(server.log.hold_appends)
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(httpx.post, f"{server.http}/v1/events", json=[update("d")]) for _ in range(3)]
            server.wait(lambda: server.app.hub.staged == 3)
            with httpx.Client(base_url=server.http) as other:
                for body in (update("d"), [update("d")] * 2):
                    answer = post(other, body)
                    assert_error(answer, 503, "log_busy")
                    assert int(answer.headers["retry-after"]) >= 1
            server.call(server.log.release_appends)
            assert [len(each.result().json()["results"]) for each in waiting] == [1, 1, 1]


def test_post_that_waited_for_room_is_published() -> None:
    with HubServer(config={"staged_events": 2}) as server, httpx.Client(base_url=server.http) as client:
        server.call(server.log.hold_appends)
        with ThreadPoolExecutor(3) as pool:
            posts = [pool.submit(httpx.post, f"{server.http}/v1/events", json=update("d", n)) for n in range(3)]
            server.wait(lambda: (server.app.hub.staged, server.app.hub.room.waiting) == (2, 1))
            server.call(server.log.release_appends)
            assert [each.result().status_code for each in posts] == [200] * 3
        assert post(client, update("d")).status_code == 200


def test_items_behind_a_failed_one_are_not_stored() -> None:
    with HubServer(config={"staged_events": 4}) as server, httpx.Client(base_url=server.http) as client:
        server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
        results = post(client, [update("d", n) for n in range(10)]).json()["results"]
        assert [result["error"]["code"] for result in results] == ["log_full"] * 10
        assert server.log.head == 0


def test_large_batch_is_staged_in_turns_of_the_loop_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, turn = dict[int, int](), 0
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        hub = server.hub
        publish = hub.publish

        def count_turns() -> None:
            nonlocal turn
            turn += 1
            asyncio.get_running_loop().call_soon(count_turns)

        def note(envelope: Envelope, *args: Any, body: bytes = b"", **options: Any) -> Event:
            turns[turn] = turns.get(turn, 0) + len(body)
            return publish(envelope, *args, body=body, **options)

        monkeypatch.setattr(hub, "publish", note)
        server.call(count_turns)
        items = [{**update("d", number), "trace_id": "t" * 64} for number in range(60)]
        for item in items:
            item["data"]["text"] = "x" * 60_000
        results = post(client, items).json()["results"]
        offsets = [int(result["position"].partition(":")[2]) for result in results]
    assert offsets == list(range(1, 61))
    assert len(turns) >= 7
    assert max(turns.values()) <= 512 << 10


def test_draining_hub_is_503() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        server.call(server.app.drain)
        for body in (update("d"), [update("d")] * 2):
            answer = post(client, body)
            assert_error(answer, 503, "draining")
            assert "retry-after" in answer.headers
        server.call(server.app.stop)
        assert_error(post(client, update("d")), 503, "draining")


# Lost clients.


def raw_post(port: int, body: bytes, *, length: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (length, body)
    )
    return client


def test_client_lost_during_its_body_publishes_nothing(server: HubServer) -> None:
    accepted = server.hub.counters.accepted
    body = msgspec.json.encode(update("half"))
    leaving = raw_post(server.port, body, length=len(body) + 1)
    server.wait(lambda: bool(server.server.server_state.tasks))
    leaving.close()
    server.wait(lambda: not server.server.server_state.tasks)
    assert server.hub.counters.accepted == accepted


def test_client_lost_before_the_answer_has_published(server: HubServer, client: httpx.Client) -> None:
    body = msgspec.json.encode(update("whole"))
    server.call(server.log.hold_appends)
    leaving = raw_post(server.port, body, length=len(body))
    server.wait(lambda: server.app.hub.staged == 1)
    leaving.close()
    server.call(server.log.release_appends)
    server.wait(lambda: not server.server.server_state.tasks)
    found = client.get("/v1/events", params={"channel": "data", "key": "whole"}).json()["events"]
    assert len(found) == 1


def test_posts_of_one_connection_keep_their_order(client: httpx.Client) -> None:
    positions = [post(client, update("ordered", n)).json()["position"] for n in range(50)]
    found = client.get("/v1/events", params={"key": "ordered"}).json()["events"]
    assert [event["position"] for event in found] == positions
    assert [event["data"]["version"] for event in found] == list(range(50))


def test_refusals_are_logged_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(responses, "monotonic", lambda: now)
    with capture_logs() as lines, HubServer() as server, httpx.Client(base_url=server.http) as client:
        for _ in range(MAX_LINES_PER_S + 50):
            assert client.post("/v1/events", content=b"{", headers=JSON).status_code == 400
        now += 1
        assert client.get("/v1/events", headers={"Host": "elsewhere.example"}).status_code == 403
    refused = [line for line in lines if line["event"] in ("post refused", "request refused")]
    assert len(refused) == MAX_LINES_PER_S + 1
    assert (refused[-1]["event"], refused[-1]["log_level"], refused[-1]["not_logged"]) == (
        "request refused",
        "warning",
        50,
    )
