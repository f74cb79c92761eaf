"""Producers over HTTP: they hold the operations that they begin, lose them when they stop posting, and receive
cancels."""

from collections.abc import Iterator
from threading import Thread
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from tests.server.hub_server import HubServer, update
from tests.server.operation_events import Post, complete, failed, line, progress, start

from tidings.exceptions import InvalidParameter
from tidings.server.http.publish import cancel_headers, read_post_options

MINE = {"Tidings-Producer": "importer-1", "Tidings-Lease": "60"}


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


def post(client: httpx.Client, body: Post | list[Post], headers: dict[str, str] | None = None) -> httpx.Response:
    return client.post("/v1/events", json=body, headers=headers or {})


def shown(client: httpx.Client, operation_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/operations/{operation_id}").json()
    return found


# Headers.


def test_no_header_means_no_producer() -> None:
    options = read_post_options({})
    assert (options.producer_id, options.lease_s, options.key, options.trace_id) == ("", None, None, "")


@pytest.mark.parametrize(("lease", "lease_s"), [("1", 1.0), ("30", 30.0), ("2.5", 2.5), ("86400", 86_400.0)])
def test_lease_header_is_seconds(lease: str, lease_s: float) -> None:
    options = read_post_options({b"tidings-producer": b"p", b"tidings-lease": lease.encode()})
    assert (options.producer_id, options.lease_s) == ("p", lease_s)


@pytest.mark.parametrize(
    "headers",
    [
        {b"tidings-lease": b"30"},
        {b"tidings-producer": b""},
        {b"tidings-producer": b"two words"},
        {b"tidings-producer": b"\xc3\xa4"},
        {b"tidings-producer": b"x" * 65},
        *(
            {b"tidings-producer": b"p", b"tidings-lease": lease}
            for lease in (b"", b"0", b"0.5", b"86401", b"-1", b"soon", b"nan", b"inf", b"1_0")
        ),
    ],
)
def test_invalid_producer_or_lease_is_refused_with_a_hint(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidParameter, match=r"Tidings-(Producer|Lease)") as caught:
        read_post_options(headers)
    assert caught.value.hint


def test_post_with_an_invalid_header_publishes_nothing(client: httpx.Client) -> None:
    answer = post(client, start("op"), {"Tidings-Lease": "30"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert client.get("/v1/operations").json()["operations"] == []


def test_cancel_header_encodes_ids_and_is_bounded() -> None:
    [(name, value)] = cancel_headers(["a,b", "c d", "ä/é"])
    assert name == b"tidings-cancel"
    assert [unquote(part) for part in value.decode().split(",")] == ["a,b", "c d", "ä/é"]
    assert cancel_headers([]) == ()
    [(_, value)] = cancel_headers("ä" * 100 + str(number) for number in range(100))
    assert len(value) <= 4_096
    assert len(value.split(b",")) > 3


# Attempts.


def test_answer_to_a_start_has_its_attempt(client: httpx.Client) -> None:
    assert post(client, start("op")).json()["attempt"] == 1
    assert "attempt" not in post(client, complete("op")).json()
    results = post(client, [start("op"), progress("op", 1), update("d"), failed("op"), start("op")]).json()["results"]
    assert [result.get("attempt") for result in results] == [2, None, None, None, 3]
    again = {**start("once"), "event_id": "an-event-id-0001"}
    for expected in ({"attempt": 1}, {"attempt": 1, "duplicate": True}):
        answer = post(client, again).json()
        assert {name: answer[name] for name in answer if name != "position"} == expected


# Leases.


def test_post_with_a_producer_holds_what_it_begins(client: httpx.Client) -> None:
    assert post(client, [start("a"), progress("b", 1)], MINE).status_code == 200
    for operation_id in "ab":
        found = shown(client, operation_id)
        assert (found["producer_id"], found["lease_s"], found["presence"]) == ("importer-1", 60.0, "attached")
    for event in (progress("a", 5), complete("a"), line("a", "x")):
        for headers in ({}, {"Tidings-Producer": "importer-2"}):
            refused = post(client, event, headers)
            assert (refused.status_code, refused.json()["code"]) == (409, "operation_fenced")
    [refused_item] = post(client, [complete("a")]).json()["results"]
    assert refused_item["error"]["code"] == "operation_fenced"
    assert post(client, complete("a"), {"Tidings-Producer": "importer-1"}).status_code == 200


def test_post_without_a_lease_gets_the_default(client: httpx.Client) -> None:
    post(client, start("op"), {"Tidings-Producer": "p"})
    assert shown(client, "op")["lease_s"] == 30.0


def test_event_ids_are_unique_per_producer(client: httpx.Client) -> None:
    event = {**update("d", 1), "event_id": "an-event-id-0001"}
    first = post(client, event, {"Tidings-Producer": "p"}).json()
    assert post(client, event, {"Tidings-Producer": "p"}).json() == {**first, "duplicate": True}
    assert post(client, event, {"Tidings-Producer": "q"}).json()["position"] != first["position"]
    batch = {**MINE, "Idempotency-Key": "a-key-of-a-batch"}
    results = post(client, [update("d"), update("e")], batch).json()["results"]
    again = post(client, [update("d"), update("e")], batch).json()["results"]
    assert [result["position"] for result in again] == [result["position"] for result in results]
    assert all(result["duplicate"] for result in again)


def test_post_renews_the_lease_and_silence_fails_the_operation() -> None:
    with HubServer() as server, httpx.Client(base_url=server.http) as client:
        headers = {"Tidings-Producer": "p", "Tidings-Lease": "1"}
        post(client, start("op"), headers)
        hub = server.app.hub
        began = hub.clock.monotonic()
        posted = began
        while posted - began < 1.5:
            posted = hub.clock.monotonic()
            post(client, [], headers)
            assert shown(client, "op")["state"] == "running"
        ended = client.get("/v1/operations/op", params={"wait": 60}).json()
        assert (ended["state"], ended["error"]["code"]) == ("failed", "producer_lost")
        assert hub.clock.monotonic() - posted >= 1.0
        refused = post(client, progress("op", 2), headers)
        assert (refused.status_code, refused.json()["code"]) == (409, "operation_finished")
        assert post(client, start("op", resumes="op"), headers).json()["attempt"] == 2


# Cancelling.


def test_cancel_is_in_every_answer_until_the_end(client: httpx.Client) -> None:
    post(client, [start("a b"), start("other")], MINE)
    answer = client.post("/v1/operations/a%20b/cancel", json={"timeout_s": 0, "reason": "r"})
    assert (answer.json()["outcome"], answer.json()["state"]) == ("unreachable", "running")
    for body in (progress("a b", 1), [line("a b", "x")], [], update("d")):
        assert post(client, body, MINE).headers["tidings-cancel"] == "a%20b"
    assert "tidings-cancel" not in post(client, update("d"), {"Tidings-Producer": "another"}).headers
    stopped = {"type": "operation:cancelled", "data": {"operation_id": "a b", "reason": "r"}}
    assert "tidings-cancel" not in post(client, stopped, MINE).headers
    assert "tidings-cancel" not in post(client, progress("other", 1), MINE).headers


def test_cancel_header_covers_operations_that_a_post_writes_to(client: httpx.Client) -> None:
    post(client, [start("a"), start("b")])
    client.post("/v1/operations/a/cancel", json={"timeout_s": 0})
    assert post(client, progress("a", 1)).headers["tidings-cancel"] == "a"
    assert post(client, [progress("b", 1), progress("a", 2)]).headers["tidings-cancel"] == "a"
    assert "tidings-cancel" not in post(client, progress("b", 2)).headers


def test_requester_gets_the_outcome(server: HubServer) -> None:
    """The cancel is in the answer to a post; the producer's next post ends the operation and the cancel request."""
    with httpx.Client(base_url=server.http) as producer:
        post(producer, start("op"), MINE)
        outcomes: list[dict[str, Any]] = []

        def cancel() -> None:
            outcomes.append(httpx.post(f"{server.http}/v1/operations/op/cancel", json={"timeout_s": 9}).json())

        asking = Thread(target=cancel)
        asking.start()
        while "tidings-cancel" not in post(producer, progress("op", 1), MINE).headers:
            pass
        post(producer, {"type": "operation:cancelled", "data": {"operation_id": "op"}}, MINE)
        asking.join(60)
    assert outcomes == [{"operation_id": "op", "attempt": 1, "outcome": "cancelled", "state": "cancelled"}]
